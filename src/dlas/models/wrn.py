"""Wide residual networks (Zagoruyko & Komodakis 2016, "Wide Residual Networks")."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from dlas.data import Data
from dlas.errors import SpecError
from dlas.models.base import Model
from dlas.models.channels import Width, scaled
from dlas.network import Network
from dlas.network.builder import Builder


class WideResNet(Model, frozen=True, kw_only=True):
    """WRN-depth-width for small images: pre-activation blocks of two 3×3 convolutions in three
    stages of 16, 32 and 64 channels times ``width``, 1×1 projections where shapes change. ``depth``
    is 6n + 4. Without the dropout that some of the authors' networks train with. Parameters are
    named as in xternalz/WideResNet-pytorch."""

    name: ClassVar[str] = "wrn"

    depth: Annotated[int, msgspec.Meta(ge=10)] = 40
    width: Width = 2.0

    def check(self, path: str) -> None:
        if self.depth % 6 != 4:
            near = self.depth - (self.depth - 4) % 6
            raise SpecError(
                f"{path}.depth", f"{self.depth} is not 6n + 4; near it are {near} and {near + 6}"
            )

    def build(self, data: Data) -> Network:
        b = Builder(data.shape, self.seed, f"wrn-{self.depth}-{self.width:g}")
        x = b.conv("input", "conv1", 16, 3)
        for stage, channels in enumerate((16, 32, 64)):
            for block in range((self.depth - 4) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                place = f"block{stage + 1}.layer.{block}."
                x = _pre_activation(b, x, place, scaled(channels, self.width), stride)
        x = b.relu(b.batch_norm(x, "bn1"))
        return b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", len(data.classes)))


def _pre_activation(b: Builder, x: str, place: str, channels: int, stride: int) -> str:
    activated = b.relu(b.batch_norm(x, place + "bn1"))
    y = b.conv(activated, place + "conv1", channels, 3, stride)
    y = b.relu(b.batch_norm(y, place + "bn2"))
    y = b.conv(y, place + "conv2", channels, 3)
    if stride == 1 and b.shapes[x][0] == channels:
        return b.add(x, y)
    return b.add(b.conv(activated, place + "convShortcut", channels, 1, stride), y)
