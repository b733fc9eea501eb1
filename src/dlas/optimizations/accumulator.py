"""What a quantized layer sums up, its bias among it, fits into 32 bits."""

from __future__ import annotations

from typing import Any

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
    producers = {name: node for node in model.graph.node for name in node.output}
    layers = {node.name: node for node in original.model.graph.node}

    def store(name: str, value: NDArray[Any]) -> None:
        value = value.astype(constants[name].dtype)
        tensors[name].CopyFrom(numpy_helper.from_array(value, name))

    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
            continue
        data, weight, bias = (producers.get(name) for name in node.input)
        if data is None or weight is None or bias is None:
            continue
        given = [original.initializers[name] for name in layers[node.name].input[1:]]
        axis = attributes(weight)["axis"]
        values, biases = np.moveaxis(given[0].astype(np.float64), axis, 0), given[1]
        step, old = (constants[n.input[1]].astype(np.float64) for n in (data, weight))
        least = np.maximum(np.abs(biases) / BIAS, TINY) / step
        silent = ~values.any(axis=tuple(range(1, values.ndim)))
        scale = np.where(silent, np.where(biases != 0, least, 1), np.maximum(old, least))
        if (scale == old).all():
            continue
        scale = scale.astype(np.float32).astype(np.float64)
        spread = scale.reshape(-1, *[1] * (values.ndim - 1))
        store(weight.input[0], np.moveaxis(np.rint(values / spread).clip(-127, 127), 0, axis))
        store(weight.input[1], scale)
        store(bias.input[1], scale * step)
        store(bias.input[0], np.rint(biases / (scale * step)))
    return Network(model)


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
