"""``fold_batch_norm``: at inference BatchNorm is an affine map that the layer before can carry."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dlas.network.cleanup import drop_unused
from dlas.network.layers import attributes, tensor_shapes

Float64 = NDArray[np.float64]


def fold_batch_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function without BatchNormalization; the given model is not changed.

    After a Conv or Gemm that nothing else reads, it goes into weight and bias: W' = W · s and
    b' = (b - mean) · s + beta with s = gamma / sqrt(var + epsilon), in float64, then rounded once.
    Zeros of W stay zeros. Elsewhere, as in pre-activation networks, it becomes Mul and Add with
    constants of shape (C, 1, 1). Its statistics must be constants; where they are not, it stays."""
    folding = _Folding(model)
    nodes: list[onnx.NodeProto] = []
    for node in folding.model.graph.node:
        nodes.extend(folding.replacement(node))
    return folding.finished(nodes)


class _Folding:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.given = model
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        graph = self.model.graph
        self.constants = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer
        }
        self.changed: dict[str, NDArray[Any]] = {}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.readers = Counter(name for node in graph.node for name in node.input)
        self.readers.update(value.name for value in graph.output)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def replacement(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """What stands in the node's place."""
        constant = all(name in self.constants for name in node.input[1:])
        if node.op_type != "BatchNormalization" or len(node.output) > 1 or not constant:
            return [node]
        gamma, beta, mean, variance = (
            np.asarray(self.constants[name], np.float64) for name in node.input[1:]
        )
        scale = gamma / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
        layer = self.producers.get(node.input[0])
        if layer is not None and self._absorb(layer, scale, beta, mean):
            layer.output[0] = node.output[0]
            return []
        return self._affine(node, scale, beta - mean * scale)

    def _absorb(self, layer: onnx.NodeProto, scale: Float64, beta: Float64, mean: Float64) -> bool:
        """Put the affine map into the layer's weight and bias; False where that cannot be."""
        bias_name = layer.input[2] if len(layer.input) > 2 else ""
        constants = {name for name in (layer.input[1:]) if name}
        if self.readers[layer.output[0]] != 1 or not constants <= self.constants.keys():
            return False
        given = attributes(layer)
        if layer.op_type == "Conv":
            axis = 0
        elif layer.op_type == "Gemm" and given.get("alpha", 1) == given.get("beta", 1) == 1:
            axis = 0 if given.get("transB", 0) else 1
        else:
            return False
        weight = self.constants[layer.input[1]]
        bias = self.constants[bias_name] if bias_name else np.zeros(len(scale))
        if weight.shape[axis] != len(scale) or bias.size not in (1, len(scale)):
            return False
        spread = [1] * weight.ndim
        spread[axis] = len(scale)
        shifted = (np.asarray(bias, np.float64).reshape(-1) - mean) * scale + beta
        layer.input[1] = self._store(layer.input[1], weight * scale.reshape(spread), weight.dtype)
        bias_name = self._store(bias_name or _bias_name(layer.input[1]), shifted, weight.dtype)
        del layer.input[2:]
        layer.input.append(bias_name)
        return True

    def _affine(self, node: onnx.NodeProto, scale: Float64, shift: Float64) -> list[onnx.NodeProto]:
        if not self.shapes:
            self.shapes = tensor_shapes(self.given)
        spread = (-1, *[1] * (len(self.shapes[node.input[0]]) - 2))
        dtype = self.constants[node.input[1]].dtype
        name = node.name or node.output[0]
        factor = self._store(f"{name}.scale", scale.reshape(spread), dtype)
        summand = self._store(f"{name}.shift", shift.reshape(spread), dtype)
        product = f"{name}.scaled"
        return [
            helper.make_node("Mul", [node.input[0], factor], [product], f"{name}.mul"),
            helper.make_node("Add", [product, summand], [node.output[0]], f"{name}.add"),
        ]

    def _store(self, name: str, value: Float64, dtype: Any) -> str:
        """Keep a constant, under this name if nothing else reads it."""
        if name in self.constants and self.readers[name] > 1:
            name += ".folded"
        while name in self.changed:
            name += "_"
        self.changed[name] = value.astype(dtype)
        return name

    def finished(self, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
        graph = self.model.graph
        known = {tensor.name: tensor for tensor in graph.initializer}
        for name, value in self.changed.items():
            (known[name] if name in known else graph.initializer.add()).CopyFrom(
                numpy_helper.from_array(value, name)
            )
        del graph.node[:]
        graph.node.extend(nodes)
        drop_unused(self.model)
        return self.model


def _bias_name(weight: str) -> str:
    return f"{weight.removesuffix('.weight')}.bias"
