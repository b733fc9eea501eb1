"""VGG networks (Simonyan & Zisserman 2014, "Very Deep Convolutional Networks") for small images."""

from __future__ import annotations

from typing import ClassVar, Literal

from dlas.data import Data
from dlas.models.base import Model
from dlas.models.channels import Width, scaled
from dlas.network import Network
from dlas.network.builder import Builder

#: Table 1, columns A, B, D and E: 3×3 convolutions per stage; each stage ends with 2×2 pooling.
STAGES = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
CHANNELS = (64, 128, 256, 512, 512)


class Vgg(Model, frozen=True, kw_only=True):
    """The CIFAR form in common use: BatchNorm after every convolution, and one dense layer on the
    averaged last stage in place of three. ``width`` scales all channels.

    Five poolings suit 32×32 images. On smaller ones, a pooling that would leave less than 2×2 for
    the convolutions after it is left out; so every stage still sees a neighbourhood. Parameters
    are named as in kuangliu/pytorch-cifar: ``features.0.weight`` …, ``classifier.weight``."""

    name: ClassVar[str] = "vgg"

    depth: Literal[11, 13, 16, 19]
    width: Width = 1.0

    def build(self, data: Data) -> Network:
        b = Builder(data.shape, self.seed, f"vgg{self.depth}")
        x, index = "input", 0
        for stage, convolutions in enumerate(STAGES[self.depth]):
            for _ in range(convolutions):
                channels = scaled(CHANNELS[stage], self.width)
                x = b.conv(x, f"features.{index}", channels, 3, bias=True)
                x = b.relu(b.batch_norm(x, f"features.{index + 1}"))
                index += 3  # convolution, BatchNorm, ReLU
            if min(b.shapes[x][1:]) >= (2 if stage == len(CHANNELS) - 1 else 4):
                x = b.max_pool(x, 2, 2)
            index += 1
        features = b.flatten(b.global_average_pool(x))
        return b.network(b.dense(features, "classifier", len(data.classes)))
