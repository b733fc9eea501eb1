"""Cutting a network where one tensor is alive: what lies between two such places is a network too.

A cut costs least where the tensor is smallest, and most where it parts what systems compute as one:
a convolution and its activation, or a tensor and its rounding to fewer bits. So between two layers
there is one cut at most, through the smallest float32 image, the last of equals, and none behind a
DequantizeLinear or Cast: the part that computes with the rounded values is the one that rounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import onnx
from onnx import TensorProto, helper

from dlas.network import Network
from dlas.network.layers import skeleton
from dlas.plan import Plan

#: A stage of fewer multiply-accumulates takes less time than a crossing, tens of microseconds.
LEAST_MACS = 1_000_000
#: How far a cut may be from where stages would be even, in stages.
UNEVEN = 0.3
#: What rounds on the way into the operator that reads it.
ROUNDING = ("DequantizeLinear", "Cast")


class Cut(NamedTuple):
    """``macs``: multiply-accumulates of the layers before it. ``size``: numbers in its tensor."""

    tensor: str
    macs: int
    size: int


@dataclass(frozen=True)
class Line:
    """A network as stages one after the other. ``cuts``: names of the tensors between them."""

    network: Network
    cuts: tuple[str, ...]

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the tensors that stages read and the scores, of one image."""
        network, found = self.network, _images(self.network.model)
        ends = {network.input_name: network.input_shape, network.output_name: (network.classes,)}
        return {name: (1, *shape) for name, shape in (found | ends).items()}

    @property
    def tensors(self) -> tuple[str, ...]:
        """The image, those between the stages, the scores."""
        return (self.network.input_name, *self.cuts, self.network.output_name)

    def __len__(self) -> int:
        return len(self.cuts) + 1

    def piece(self, first: int, end: int) -> Network:
        """The stages from ``first`` to ``end`` (not included) as a network, whose output may be an
        image; all of them are the network itself."""
        if (first, end) == (0, len(self)):
            return self.network
        return Network(self._between(self.tensors[first], self.tensors[end]))

    def _between(self, start: str, end: str) -> onnx.ModelProto:
        """The graph of what ``end`` depends on, up to ``start``. What is computed of constants
        alone, as integer weights are, comes along into every part that reads it."""
        model = self.network.model
        wanted, nodes = {end}, []
        for node in reversed(model.graph.node):
            if wanted.intersection(node.output) and start not in node.output:
                nodes.append(node)
                wanted.update(node.input)
        batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
        given, result = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *self.shapes[name][1:]])
            for name in (start, end)
        )
        weights = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
        graph = helper.make_graph(nodes[::-1], model.graph.name, [given], [result], weights)
        return helper.make_model(
            graph, opset_imports=model.opset_import, ir_version=model.ir_version
        )


def cut(network: Network, stages: int, least_macs: int = LEAST_MACS) -> Line:
    """The network in at most so many stages, each of at least ``least_macs``, as even in multiply-
    accumulates as its cuts allow, or less by up to ``UNEVEN`` of a stage for a smaller tensor."""
    candidates, total = cuts(network), network.macs
    taken = [Cut(network.input_name, 0, 0)]
    for index in range(1, stages):
        places = [(abs(each.macs * stages / total - index), each) for each in candidates]
        close = [(each.size, off, each) for off, each in places if off <= UNEVEN]
        near = min(close)[-1] if close else min(places, default=(0.0, taken[0]))[-1]
        apart = min(near.macs - taken[-1].macs, total - near.macs)
        if near != taken[-1] and apart >= least_macs:
            taken.append(near)
    return Line(network, tuple(each.tensor for each in taken[1:]))


def cuts(network: Network) -> list[Cut]:
    """Where the network can be cut, in graph order, with layers on either side."""
    graph, images = network.model.graph, _images(network.model)
    rounded = {node.output[0] for node in graph.node if node.op_type in ROUNDING}
    macs = {row.name: row.macs for row in network.layers}
    best: dict[int, Cut] = {}  # by the number of layers before it
    for tensor, before in _alone(graph, macs):
        if tensor not in images or tensor in rounded or not 0 < len(before) < len(macs):
            continue
        found = Cut(tensor, sum(before), math.prod(images[tensor]))
        if found.size <= best.get(len(before), found).size:
            best[len(before)] = found
    return list(best.values())


def split(plan: Plan, piece: Network) -> Plan:
    """The plan's steps for the layers of a piece."""
    names = {row.name for row in piece.layers}
    return Plan(plan.algorithm, tuple(step for step in plan.steps if step.layer in names))


def _alone(graph: onnx.GraphProto, macs: dict[str, int]) -> Iterator[tuple[str, Sequence[int]]]:
    """Every tensor that is the only one alive when it has been computed, and the multiply-
    accumulates of each layer before it. Constants, and what is computed of them, do not count."""
    readers: dict[str, int] = {value.name: 1 for value in graph.output}
    for node in graph.node:
        for name in set(node.input):
            readers[name] = readers.get(name, 0) + 1
    moving, alive, before = {graph.input[0].name}, {graph.input[0].name}, list[int]()
    for node in graph.node:
        read = moving.intersection(node.input)
        if not read:
            continue
        if node.name in macs:
            before.append(macs[node.name])
        for name in read:
            readers[name] -= 1
        moving.update(node.output)
        alive = {name for name in alive.union(node.output) if readers.get(name)}
        if len(alive) == 1:
            yield next(iter(alive)), before


def _images(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """(C, H, W) of every tensor that is float32 and an image of each of the batch."""
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    inferred = onnx.shape_inference.infer_shapes(skeleton(model), data_prop=True).graph
    found = {}
    for value in inferred.value_info:
        kind, dims = value.type.tensor_type, value.type.tensor_type.shape.dim
        if kind.elem_type != TensorProto.FLOAT or len(dims) != 4 or dims[0].dim_param != batch:
            continue
        shape = tuple(int(dim.dim_value) for dim in dims[1:])
        if batch and all(shape):
            found[value.name] = shape
    return found
