"""EfficientNets (Tan & Le 2019, "EfficientNet: Rethinking Model Scaling")."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from dlas.data import Data
from dlas.models.base import Model
from dlas.models.channels import divisible
from dlas.network import Network
from dlas.network.builder import Builder

#: Table 1: expansion, kernel, stride of the first, channels, repetitions.
STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip
#: The authors' width and depth multipliers.
VARIANTS = {"b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4)}


class EfficientNet(Model, frozen=True, kw_only=True):
    """B0 to B3 in the ImageNet form (B0 is meant for 224×224 images, the others for 240, 260 and
    300): inverted residuals with squeeze-and-excitation and SiLU. Without the dropout and
    stochastic depth that the authors train with. Parameters are named as in torchvision."""

    name: ClassVar[str] = "efficientnet"

    variant: Literal["b0", "b1", "b2", "b3"] = "b0"

    def build(self, data: Data) -> Network:
        width, depth = VARIANTS[self.variant]
        b = Builder(data.shape, self.seed, f"efficientnet-{self.variant}")
        x = _conv_bn_silu(b, "input", "features.0.", divisible(32, width), 3, stride=2)
        for stage, (expansion, kernel, first, channels, repetitions) in enumerate(STAGES, start=1):
            for block in range(math.ceil(repetitions * depth)):
                place = f"features.{stage}.{block}.block."
                stride = first if block == 0 else 1
                x = _mbconv(b, x, place, (expansion, kernel, stride), divisible(channels, width))
        x = _conv_bn_silu(b, x, f"features.{len(STAGES) + 1}.", 4 * b.shapes[x][0], 1)
        features = b.flatten(b.global_average_pool(x))
        return b.network(b.dense(features, "classifier.1", len(data.classes)))


def _mbconv(b: Builder, x: str, place: str, shape: tuple[int, int, int], channels: int) -> str:
    """Expand, filter each channel, gate the channels, project; ``shape`` is (expansion, kernel,
    stride)."""
    expansion, kernel, stride = shape
    inputs = b.shapes[x][0]
    hidden, index, y = expansion * inputs, 0, x
    if expansion != 1:
        y = _conv_bn_silu(b, y, f"{place}0.", hidden, 1)
        index = 1
    y = _conv_bn_silu(b, y, f"{place}{index}.", hidden, kernel, stride, groups=hidden)
    y = _squeeze_excite(b, y, f"{place}{index + 1}.", max(1, inputs // 4))
    y = b.conv(y, f"{place}{index + 2}.0", channels, 1)
    y = b.batch_norm(y, f"{place}{index + 2}.1")
    return b.add(x, y) if stride == 1 and inputs == channels else y


def _squeeze_excite(b: Builder, x: str, place: str, squeezed: int) -> str:
    y = b.silu(b.conv(b.global_average_pool(x), place + "fc1", squeezed, 1, bias=True))
    return b.mul(x, b.sigmoid(b.conv(y, place + "fc2", b.shapes[x][0], 1, bias=True)))


def _conv_bn_silu(
    b: Builder, x: str, place: str, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> str:
    x = b.conv(x, place + "0", channels, kernel, stride, groups=groups)
    return b.silu(b.batch_norm(x, place + "1"))
