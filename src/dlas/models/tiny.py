"""The null member: one convolution and one dense layer, for tests that must be instant."""

from __future__ import annotations

from typing import ClassVar

from dlas.data import Data
from dlas.models.base import Model
from dlas.network import Network
from dlas.network.builder import Builder


class Tiny(Model, frozen=True, kw_only=True):
    """A 3×3 convolution to eight channels, average pooling and a dense layer."""

    name: ClassVar[str] = "tiny"
    has_weights: ClassVar[bool] = True  # random ones, but tests want an accuracy without training

    def build(self, data: Data) -> Network:
        b = Builder(data.shape, self.seed, self.name)
        x = b.relu(b.batch_norm(b.conv("input", "conv", 8, 3, stride=2), "bn"))
        return b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", len(data.classes)))
