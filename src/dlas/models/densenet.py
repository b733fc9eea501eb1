"""DenseNets (Huang et al. 2016, "Densely Connected Convolutional Networks")."""

from __future__ import annotations

from typing import ClassVar, Literal

from dlas.data import Data
from dlas.models.base import Model
from dlas.network import Network
from dlas.network.builder import Builder

#: Table 1 (161: the authors' wider network): layers per block, growth rate, first channels.
BLOCKS = {
    121: ((6, 12, 24, 16), 32, 64),
    161: ((6, 12, 36, 24), 48, 96),
    169: ((6, 12, 32, 32), 32, 64),
    201: ((6, 12, 48, 32), 32, 64),
}
#: A layer's 1×1 convolution has this many times the growth rate.
BOTTLENECK = 4


class DenseNet(Model, frozen=True, kw_only=True):
    """DenseNet-BC in its ImageNet form, for images of 32×32 and more: in a block, every layer
    reads all that the ones before it wrote; between blocks the channels and the resolution are
    halved. Parameters are named as in torchvision."""

    name: ClassVar[str] = "densenet"

    depth: Literal[121, 161, 169, 201]

    def build(self, data: Data) -> Network:
        blocks, growth, channels = BLOCKS[self.depth]
        b = Builder(data.shape, self.seed, f"densenet{self.depth}")
        x = b.conv("input", "features.conv0", channels, 7, stride=2)
        x = b.relu(b.batch_norm(x, "features.norm0"))
        x = b.max_pool(x, 3, 2, pad=1)
        for block, layers in enumerate(blocks, start=1):
            for layer in range(1, layers + 1):
                place = f"features.denseblock{block}.denselayer{layer}."
                x = b.concat([x, _dense_layer(b, x, place, growth)])
            if block < len(blocks):
                place = f"features.transition{block}."
                x = b.relu(b.batch_norm(x, place + "norm"))
                x = b.conv(x, place + "conv", b.shapes[x][0] // 2, 1)
                x = b.average_pool(x, 2, 2)
        x = b.relu(b.batch_norm(x, "features.norm5"))
        features = b.flatten(b.global_average_pool(x))
        return b.network(b.dense(features, "classifier", len(data.classes)))


def _dense_layer(b: Builder, x: str, place: str, growth: int) -> str:
    y = b.relu(b.batch_norm(x, place + "norm1"))
    y = b.conv(y, place + "conv1", BOTTLENECK * growth, 1)
    y = b.relu(b.batch_norm(y, place + "norm2"))
    return b.conv(y, place + "conv2", growth, 3)
