"""Cross-layer equalization: the channels between two layers get ranges of the same order, while the
network computes the same (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization
and Bias Correction", section 4.1).

Where f(s · x) = s · f(x) for s > 0, dividing a channel behind one layer by s and multiplying the
next layer's weights for it by s changes nothing. The authors make the ranges of both layers'
weights alike, which they quantize with one scale each. Here weights have a scale per output
channel, which follows any division; what unequal channels hurt are activations, with one scale per
tensor. So r1 is the range of a channel's activation on calibration images, r2 that of the weights
that read it, and s = sqrt(r1 / r2), as in SmoothQuant (Xiao et al. 2023, equation 4). A depthwise
layer has a scale for every channel that it reads: there s = r1, which makes all channels alike.

ReLU6 is no such function, and is left alone: its bound holds all channels in one range already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.network import Network
from dlas.network.layers import attributes

#: One tensor in, f(s · x) = s · f(x), every channel for itself.
HOMOGENEOUS = frozenset({"AveragePool", "GlobalAveragePool", "MaxPool", "Relu"})
#: The most that two channels are brought nearer: one that was silent by chance may speak up later.
WIDEST = 2.0**12

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two convolutions of which nothing but the second reads what the first computes."""

    first: onnx.NodeProto
    second: onnx.NodeProto

    @property
    def activation(self) -> str:
        """The tensor that the second one reads."""
        return str(self.second.input[0])

    @property
    def depthwise(self) -> bool:
        return int(attributes(self.second).get("group", 1)) > 1


def pairs(network: Network, keep: Collection[str] = ()) -> list[Pair]:
    """Where equalization works, in graph order: Conv ▸ ReLU, pooling or nothing ▸ Conv, the
    second one depthwise or ungrouped, not both in ``keep``, and no constant of theirs read
    elsewhere."""
    found = []
    graph, constants = network.model.graph, network.initializers
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    for first in graph.node:
        if first.op_type != "Conv" or not _owns_constants(first, constants, readers):
            continue
        node = first
        while len(readers[node.output[0]]) == 1:
            (node,) = readers[node.output[0]]
            if node.op_type not in HOMOGENEOUS:
                break
        if node is first or node.op_type != "Conv" or not _owns_constants(node, constants, readers):
            continue
        groups = attributes(node).get("group", 1)
        if groups == 1 or constants[node.input[1]].shape[:2] == (groups, 1):
            found.append(Pair(first, node))
    return [p for p in found if p.first.name not in keep or p.second.name not in keep]


def equalized(network: Network, found: Sequence[Pair], peaks: Mapping[str, Array]) -> Network:
    """``network``: BatchNorm folded. ``found``: its pairs. ``peaks``: (C,) the largest absolute
    value of each channel, of every pair's activation, by its name."""
    changed: dict[str, Array] = {}

    def constant(name: str) -> Array:
        return changed.get(name, network.initializers[name])

    for pair in found:
        weight = constant(pair.second.input[1])
        if pair.depthwise:
            scale = _scale(peaks[pair.activation], np.any(weight, axis=(1, 2, 3)), power=1)
        else:
            scale = _scale(peaks[pair.activation], np.abs(weight).max(axis=(0, 2, 3)), power=0.5)
        for name in pair.first.input[1:]:
            changed[name] = constant(name) / _along(scale, 0, constant(name).ndim)
        changed[pair.second.input[1]] = weight * _along(scale, 0 if pair.depthwise else 1, 4)
    model = network.edited()
    for tensor in model.graph.initializer:
        if tensor.name in changed:
            tensor.CopyFrom(numpy_helper.from_array(changed[tensor.name], tensor.name))
    return Network(model)


def _scale(peaks: Array, read: NDArray[Any], power: float) -> Array:
    """(C,); channels that are never used, or never read, are taken for the widest."""
    known = (peaks > 0) & (read > 0)
    scale = (peaks / np.where(known, read, 1)) ** power
    widest = float(scale[known].max(initial=0)) or 1.0
    return np.where(known, scale, widest).clip(widest / WIDEST, widest).astype(np.float32)


def _owns_constants(
    layer: onnx.NodeProto, constants: Mapping[str, Any], readers: Mapping[str, list[onnx.NodeProto]]
) -> bool:
    return all(name in constants and len(readers[name]) == 1 for name in layer.input[1:])


def _along(scale: Array, axis: int, rank: int) -> Array:
    return scale.reshape([-1 if i == axis else 1 for i in range(rank)])
