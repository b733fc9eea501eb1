"""Which layers may lose output channels: those whose channels can be followed through the graph."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.network.layers import attributes, tensor_shapes

Shapes = Mapping[str, tuple[int, ...]]
Constants = Mapping[str, NDArray[Any]]

LAYERS = ("Conv", "Gemm", "MatMul")

#: Operators that leave every channel in its place.
CHANNELWISE = frozenset({
    "AveragePool", "BatchNormalization", "Cast", "Clip", "Dropout", "GlobalAveragePool",
    "HardSigmoid", "HardSwish", "Identity", "MaxPool", "Relu", "Sigmoid", "Tanh",
})  # fmt: skip


def fixed_layers(model: onnx.ModelProto) -> dict[str, str]:
    """The convolutions and dense layers whose output channels must stay: node's name → why, as a
    sentence.

    Tensors joined by operators that keep channels in place (activations, pooling, sums,
    concatenation, depthwise convolution) share a fate: one that meets the class scores, the image
    or an operator whose effect on channels is not followed (zero-padded channels, reordering,
    constants per channel) fixes them all. Only a layer's weight separates its input from its
    output."""
    shapes = tensor_shapes(model)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    biases = {add.output[0] for _, add in dense_with_bias(model, constants)}
    joined: dict[str, list[str]] = defaultdict(list)
    reasons = {value.name: "its outputs are the class scores" for value in model.graph.output}
    reasons |= {value.name: "its channels meet the image's" for value in model.graph.input}
    for node in model.graph.node:
        if _mixes_channels(node, constants):
            continue
        tensors = [name for name in (*node.input, *node.output) if name and name not in constants]
        if node.output[0] in biases or _keeps_channels(node, shapes, constants):
            for name in tensors:
                joined[name] += tensors
        else:
            grouped = " in groups" if attributes(node).get("group", 1) > 1 else ""
            sentence = f"its channels meet {node.op_type}{grouped}, through which none are followed"
            reasons |= {name: sentence for name in tensors if name not in reasons}
    frontier = list(reasons)
    while frontier:
        name = frontier.pop()
        for other in joined[name]:
            if other not in reasons:
                reasons[other] = reasons[name]
                frontier.append(other)
    layers = [node for node in model.graph.node if node.op_type in LAYERS]
    return {n.name: reasons[n.output[0]] for n in layers if n.output[0] in reasons}


def is_flatten(node: onnx.NodeProto, shapes: Shapes) -> bool:
    """Whether the node makes (N, C · H · W) of (N, C, H, W)."""
    if node.op_type == "Flatten":
        return int(attributes(node).get("axis", 1)) == 1
    before, after = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
    return node.op_type == "Reshape" and len(after) == 2 and after == (1, math.prod(before[1:]))


def dense_with_bias(
    model: onnx.ModelProto, constants: Constants
) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Pairs of a MatMul and the Add of a constant vector that alone reads it."""
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.output[0] in outputs:
            continue
        weight, next_nodes = constants.get(node.input[1]), readers[node.output[0]]
        if weight is None or weight.ndim != 2 or [n.op_type for n in next_nodes] != ["Add"]:
            continue
        vectors = [constants[name] for name in next_nodes[0].input if name in constants]
        if [vector.shape for vector in vectors] == [weight.shape[1:]]:
            yield node, next_nodes[0]


def _mixes_channels(node: onnx.NodeProto, constants: Constants) -> bool:
    """Whether it is a layer of which every output reads every input channel by its own weight."""
    if node.op_type not in LAYERS or node.input[1] not in constants:
        return False
    given = attributes(node)
    rank = 4 if node.op_type == "Conv" else 2
    straight = given.get("group", 1) == 1 and not given.get("transA", 0)
    return straight and constants[node.input[1]].ndim == rank


def _keeps_channels(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> bool:
    if node.op_type in CHANNELWISE or is_flatten(node, shapes):
        return True
    rule = _RULES.get(node.op_type)
    return rule is not None and rule(node, shapes, constants)


def _depthwise(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> bool:
    weight = constants.get(node.input[1])
    groups = int(attributes(node).get("group", 1))
    return weight is not None and groups > 1 and weight.shape[:2] == (groups, 1)


def _same_channels(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> bool:
    """Operands have the same rank and channels; a constant among them is one number."""
    tensors = [shapes[name] for name in node.input if name not in constants]
    numbers = [constants[name] for name in node.input if name in constants]
    same = len({(len(shape), shape[1:2]) for shape in tensors}) == 1
    return same and all(number.size == 1 for number in numbers)


def along_channels(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> bool:
    return int(attributes(node)["axis"]) in (1, 1 - len(shapes[node.output[0]]))


def spatial_axes(position: int) -> Callable[[onnx.NodeProto, Shapes, Constants], bool]:
    """The axes, given as that input, are rows or columns."""

    def rule(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> bool:
        if len(node.input) <= position or node.input[position] not in constants:
            return False
        rank = max(len(shapes[node.input[0]]), len(shapes[node.output[0]]))
        axes = constants[node.input[position]].reshape(-1) % rank
        return axes.size > 0 and bool((axes >= 2).all())

    return rule


def _spatial_pads(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> bool:
    pads = constants.get(node.input[1])
    if pads is None or len(node.input) > 3:
        return False
    before, after = np.split(pads, 2)
    return not before[:2].any() and not after[:2].any()


_RULES: dict[str, Callable[[onnx.NodeProto, Shapes, Constants], bool]] = {
    "Conv": _depthwise,
    "Add": _same_channels,
    "Sub": _same_channels,
    "Mul": _same_channels,
    "Div": _same_channels,
    "Concat": along_channels,
    "ReduceMean": spatial_axes(1),
    "Squeeze": spatial_axes(1),
    "Unsqueeze": spatial_axes(1),
    "Slice": spatial_axes(3),
    "Pad": _spatial_pads,
}
