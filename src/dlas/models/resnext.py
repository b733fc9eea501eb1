"""ResNeXt (Xie et al. 2017, "Aggregated Residual Transformations for Deep Neural Networks",
arXiv:1611.05431)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from dlas.data import Data
from dlas.models.base import Model
from dlas.models.resnet import STAGES, bottleneck, classify, option_b
from dlas.network import Network
from dlas.network.builder import Builder

Count = Annotated[int, msgspec.Meta(ge=1)]


class ResNeXt(Model, frozen=True, kw_only=True):
    """ResNeXt-``depth``, ``cardinality`` × ``base_width`` d: bottlenecks whose 3×3 convolution has
    ``cardinality`` groups of ``base_width`` channels each in the first stage, twice as many in each
    further one; the blocks' outputs have 256 channels in the first stage, whatever the groups.

    Depth 29 is the CIFAR network of section 5.3: a 3×3 stem of stride 1 and three stages. Depths 50
    and 101 are the ImageNet networks of table 1. Shortcuts are 1×1 projections where shapes change.
    Parameters are named as in torchvision."""

    name: ClassVar[str] = "resnext"

    depth: Literal[29, 50, 101]
    cardinality: Count = 32
    base_width: Count = 4

    def build(self, data: Data) -> Network:
        name = f"resnext{self.depth}-{self.cardinality}x{self.base_width}d"
        b = Builder(data.shape, self.seed, name)
        small = self.depth == 29
        kernel, stride = (3, 1) if small else (7, 2)
        x = b.relu(b.batch_norm(b.conv("input", "conv1", 64, kernel, stride), "bn1"))
        if not small:
            x = b.max_pool(x, 3, 2, pad=1)
        for stage, blocks in enumerate((3, 3, 3) if small else STAGES[self.depth]):
            channels = self.cardinality * self.base_width * 2**stage, 256 * 2**stage
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                place = f"layer{stage + 1}.{block}."
                y = bottleneck(b, x, place, channels, stride, self.cardinality)
                x = b.relu(b.add(y, option_b(b, x, place, channels[1], stride)))
        return classify(b, x, "fc", len(data.classes))
