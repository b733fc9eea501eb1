"""What a quantized layer sums up, its bias among it, fits into 32 bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.errors import Refused
from dlas.network import Network
from dlas.network.layers import attributes
from dlas.optimizations.clipping import STEPS

LARGEST = 2**31 - 1
#: Steps that the bias may take of them, where the scale can be chosen for it.
BIAS = 2**30
TINY = float(np.finfo(np.float32).tiny)


def with_room_for_biases(network: Network, original: Network) -> Network:
    """A bias is counted in steps of the input's scale times the weights'. Where the weights of a
    channel are so small that it would take more than half of the 32 bits, or that these steps would
    be zero in float32, the weights get a larger scale. Where they are all zero, any scale would do
    for them: they get the one that rounds the bias least.

    ``network``: the quantized form of ``original``, whose layers have the same names."""
    model, constants = network.edited(), network.initializers
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    scales: dict[str, NDArray[np.float64]] = {}
    layers = list(_layers(network, original))
    for layer in layers:
        found = layer.scale_with_room()
        scales[layer.scale] = np.maximum(found, scales.get(layer.scale, found))
    for layer in layers:
        if (scales[layer.scale] != constants[layer.scale]).any():
            for name, value in layer.rounded(scales[layer.scale]).items():
                value = value.astype(constants[name].dtype)
                tensors[name].CopyFrom(numpy_helper.from_array(value, name))
    return Network(model)


@dataclass(frozen=True)
class _Layer:
    """``weights`` and ``biases`` before rounding, output channels first; ``step``: the scale of the
    input; the others name constants of the quantized network. ``current`` is that of ``scale``."""

    weights: NDArray[np.float64]
    biases: NDArray[np.float64]
    axis: int
    step: float
    current: NDArray[np.float64]
    weight: str
    scale: str
    bias: str
    bias_scale: str

    def scale_with_room(self) -> NDArray[np.float64]:
        least = np.maximum(np.abs(self.biases) / BIAS, TINY) / self.step
        silent = ~self.weights.any(axis=tuple(range(1, self.weights.ndim)))
        any_will_do = np.where(self.biases != 0, least, 1)
        found = np.where(silent, any_will_do, np.maximum(self.current, least))
        return found.astype(np.float32).astype(np.float64)

    def rounded(self, scale: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        steps = self.weights / scale.reshape(-1, *[1] * (self.weights.ndim - 1))
        return {
            self.weight: np.moveaxis(np.rint(steps).clip(-127, 127), 0, self.axis),
            self.scale: scale,
            self.bias: np.rint(self.biases / (scale * self.step)),
            self.bias_scale: scale * self.step,
        }


def _layers(network: Network, original: Network) -> Iterator[_Layer]:
    """The quantized layers with a bias."""
    constants = network.initializers
    producers = {name: node for node in network.model.graph.node for name in node.output}
    before = {node.name: node for node in original.model.graph.node}
    for node in network.model.graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
            continue
        data, weight, bias = (producers.get(name) for name in node.input)
        if data is None or weight is None or bias is None:
            continue
        weights, biases = (original.initializers[name] for name in before[node.name].input[1:])
        axis = attributes(weight)["axis"]
        yield _Layer(
            np.moveaxis(weights.astype(np.float64), axis, 0), biases.astype(np.float64), axis,
            float(constants[data.input[1]]), constants[weight.input[1]].astype(np.float64),
            weight.input[0], weight.input[1], bias.input[0], bias.input[1],
        )  # fmt: skip


def check_accumulators(network: Network) -> None:
    """Raises Refused for a layer of which some output could leave 32 bits. An activation is at most
    255 steps from its zero point, and so are its 8 bits from zero, so that Σ|w| · 255 + |bias| is a
    bound for every partial sum, whether or not the zero point is already subtracted."""
    graph, constants = network.model.graph, network.initializers
    producers = {name: node for node in graph.node for name in node.output}
    weights = {row.name: network.weight(row) for row in network.layers if row.dtype == "int8"}
    for node in graph.node:
        if node.name not in weights:
            continue
        weight = weights[node.name].astype(np.int64)
        sums = np.abs(weight).sum(axis=(1, 2, 3)) * STEPS
        bias = producers.get(node.input[2]) if len(node.input) > 2 else None
        if bias is not None:
            sums = sums + np.abs(constants[bias.input[0]].astype(np.int64))
        if sums.max() > LARGEST:
            raise Refused(
                f"int8: the sum of layer {node.name!r} could reach {sums.max()}, more than the "
                f"{LARGEST} of 32 bits: keep = ({node.name!r},) leaves it in float32"
            )
