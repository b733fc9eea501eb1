"""``weight_pruning``: the weights of least magnitude become zero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.context import Context
from dlas.data import Data
from dlas.network import Network
from dlas.optimizations.gradual import GradualPruning
from dlas.training import Masks


class WeightPruning(GradualPruning, frozen=True, kw_only=True):
    """Sets the share ``sparsity`` of the weights to zero, those of least magnitude (Han et al.
    2015), in all convolutions and dense layers, the first and the classifier among them; biases and
    BatchNorm are neither pruned nor counted. What is zero already counts, and stays zero.

    ``scope``: least in the whole network, or in each layer. ``fine_tune`` trains the other weights
    after each of ``steps`` steps of growing sparsity (``dlas.optimizations.gradual``)."""

    name: ClassVar[str] = "weight_pruning"
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    modules: ClassVar[tuple[str, ...]] = ("torch",)
    extra: ClassVar[str] = "torch"

    scope: Literal["global", "layer"] = "global"

    def apply(self, network: Network, data: Data, context: Context) -> Network:
        return self.prune_gradually(network, data, context, self._prune)

    def _prune(self, network: Network, share: float) -> tuple[Network, Masks]:
        masks = magnitude_masks(network, share, self.scope)
        return zeroed(network, masks), masks


def magnitude_masks(
    network: Network, share: float, scope: Literal["global", "layer"]
) -> dict[str, NDArray[np.bool_]]:
    """Where weights stay, per initializer: all but the share of least magnitude, exact to rounding
    (of equal magnitudes the first go), and all that is zero."""
    weights = {row.weight: network.initializers[row.weight] for row in network.layers}
    pools = [list(weights)] if scope == "global" else [[name] for name in weights]
    return {name: mask for pool in pools for name, mask in _masks(weights, pool, share)}


def zeroed(network: Network, masks: Masks) -> Network:
    """The network with zeros where the masks are false."""
    model = network.edited()
    for tensor in model.graph.initializer:
        if tensor.name in masks:
            weight = network.initializers[tensor.name]
            pruned = np.where(masks[tensor.name], weight, np.zeros_like(weight))
            tensor.CopyFrom(numpy_helper.from_array(pruned, tensor.name))
    return Network(model)


def _masks(
    weights: dict[str, NDArray[Any]], names: list[str], share: float
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    magnitudes = np.concatenate([np.abs(weights[name]).ravel() for name in names])
    kept = magnitudes > 0
    count = round(share * len(magnitudes))
    if count:
        threshold = np.partition(magnitudes, count - 1)[count - 1]
        below = magnitudes < threshold
        kept &= ~below
        kept[np.flatnonzero(magnitudes == threshold)[: count - below.sum()]] = False
    ends = np.cumsum([weights[name].size for name in names])
    for name, mask in zip(names, np.split(kept, ends[:-1]), strict=True):
        yield name, mask.reshape(weights[name].shape)
