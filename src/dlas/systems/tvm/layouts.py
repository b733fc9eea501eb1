"""A network as a graph of layouts: how images lie between its operators, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from tvm import te

from dlas.assignment import least
from dlas.layer import member
from dlas.network import LayerRow, Network
from dlas.network.fold import fold_batch_norm
from dlas.network.layers import tensor_shapes
from dlas.plan import DENSE, NARROW, Way
from dlas.systems.base import batch_of
from dlas.systems.tvm import layout
from dlas.systems.tvm.order import CHANNELWISE
from dlas.systems.tvm.questions import of_rule
from dlas.systems.tvm.rewrite import pool_first
from dlas.systems.tvm.tuning import Tuner

PLAIN, BLOCKED = "plain", "blocked"
#: Operators that take an image as it comes, and leave it so.
FREE = (*CHANNELWISE, "Concat")
#: The nodes that stand for a network's input and output.
INPUT, OUTPUT = "<input>", "<output>"

Costs = NDArray[np.float64]


@dataclass(frozen=True)
class Layouts:
    """``seconds``: of every way of the layers in ``rows``, where known."""

    network: Network
    rows: Mapping[str, LayerRow]
    tuner: Tuner
    seconds: Mapping[tuple[str, Way], float]

    def best(self) -> dict[str, Way]:
        """The way of every layer, the least together."""
        _, states = least(self.nodes, self.edges)
        return {
            name: self.fastest[name][self.states[name][state]]
            for name, state in states.items()
            if name in self.fastest
        }

    def changes_s(self, taken: Mapping[str, Way]) -> float:
        """Seconds of all changes between layouts where layers are computed so, and the rest as is
        best then. They may be ways that ``best`` never weighs."""
        given = {(name, way): 0.0 for name, way in taken.items() if name in self.fastest}
        fixed = replace(self, seconds=given)
        total, _ = least(fixed.nodes, fixed.edges)
        return total

    @cached_property
    def fastest(self) -> dict[str, dict[str, Way]]:
        """By layer and layout. Images as they lie are left out of a network in which no layer is
        faster on them: to change to them and back could not pay."""
        found: dict[str, dict[str, Way]] = {}
        for name, way in sorted(self.seconds, key=self.seconds.__getitem__):
            found.setdefault(name, {}).setdefault(layout_of(self.rows[name], way), way)
        if not any(self.prefers_plain(name, ways) for name, ways in found.items()):
            for ways in found.values():
                if BLOCKED in ways:
                    ways.pop(PLAIN, None)
        return found

    def prefers_plain(self, name: str, ways: Mapping[str, Way]) -> bool:
        if self.rows[name].op == "dense":
            return False
        if set(ways) != {PLAIN, BLOCKED}:
            return PLAIN in ways
        return self.seconds[name, ways[PLAIN]] < self.seconds[name, ways[BLOCKED]]

    @cached_property
    def states(self) -> dict[str, list[str]]:
        """The layouts that each node may leave its image in."""
        found = {INPUT: [PLAIN], OUTPUT: [PLAIN]}
        mixed = any(PLAIN in ways and self.is_image(n) for n, ways in self.fastest.items())
        for node in self.model.graph.node:
            name = name_of(node)
            if name in self.fastest:
                found[name] = list(self.fastest[name])
            elif name in self.free:
                found[name] = [PLAIN, BLOCKED] if mixed else [BLOCKED]
            else:
                found[name] = [PLAIN]
        return found

    @cached_property
    def free(self) -> set[str]:
        """The nodes that take images as they come, and leave them so."""
        return {name_of(node) for node in self.model.graph.node if self.is_free(node)}

    def is_free(self, node: onnx.NodeProto) -> bool:
        if node.op_type not in FREE or len(self.shapes.get(node.output[0], ())) != 4:
            return False
        # Blocks are put behind each other where they are whole.
        before = node.input[:-1] if node.op_type == "Concat" else []
        lanes = self.tuner.setting.target.lanes
        return not any(self.shapes[name][1] % lanes for name in before)

    def is_image(self, name: str) -> bool:
        return self.rows[name].op == "conv"

    @cached_property
    def nodes(self) -> dict[str, list[float]]:
        return {
            name: [
                self.seconds[name, self.fastest[name][state]] if name in self.fastest else 0.0
                for state in states
            ]
            for name, states in self.states.items()
        }

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The graph as it is translated: what a layer absorbs is no node."""
        return pool_first(fold_batch_norm(self.network.model))

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return tensor_shapes(self.model, batch_of(self.network))

    @cached_property
    def edges(self) -> dict[tuple[str, str], Costs]:
        """What it costs a reader that the writer left its image in another layout."""
        graph = self.model.graph
        writers = {output: name_of(node) for node in graph.node for output in node.output}
        writers[self.network.input_name] = INPUT
        found: dict[tuple[str, str], Costs] = {}
        readers = [(name_of(node), list(node.input)) for node in graph.node]
        for name, read in [*readers, (OUTPUT, [self.network.output_name])]:
            for tensor in read:
                if tensor not in writers:
                    continue
                costs = self.between(writers[tensor], name, self.shapes.get(tensor, ()))
                pair = (writers[tensor], name)
                found[pair] = found.get(pair, 0) + costs
        return found

    def between(self, writer: str, name: str, shape: tuple[int, ...]) -> Costs:
        before, after = self.states[writer], self.states[name]
        costs = np.zeros((len(before), len(after)))
        if len(shape) != 4:
            return costs
        for i, have in enumerate(before):
            for j, want in enumerate(after):
                if have == want or (have == PLAIN and self.takes_plain(name, want)):
                    continue
                if have == BLOCKED and name in self.free:
                    costs[i, j] = math.inf  # it takes what comes
                else:
                    costs[i, j] = self.change_s(shape, want)
        return costs

    def takes_plain(self, name: str, state: str) -> bool:
        """Whether a layer on blocks reads an image that is none: a network's first one."""
        if name not in self.fastest or not self.is_image(name):
            return name in self.rows or name == OUTPUT
        primitive: Any = member("algorithms", self.fastest[name][state].primitive)()
        few = self.rows[name].in_channels < self.tuner.setting.target.lanes
        return bool(few and getattr(primitive, "takes_plain", True))

    def change_s(self, shape: tuple[int, ...], to: str) -> float:
        """Seconds of bringing an image (N, C, H, W) into another layout."""
        channels, lanes = shape[1], self.tuner.setting.target.lanes
        plain = te.placeholder(shape, "float32", "image")
        blocks = layout.to_blocks(plain, lanes)
        if to == BLOCKED:
            kernel = te.create_prim_func([plain, blocks])
        else:
            given = te.placeholder(blocks.shape, "float32", "blocks")
            kernel = te.create_prim_func([given, layout.from_blocks(given, channels)])
        [answer] = self.tuner.answer([of_rule(kernel, self.tuner.setting)], fewest=1)
        return answer.seconds or 0.0


def layout_of(row: LayerRow, way: Way) -> str:
    """In which a layer reads and writes; the vectors of a dense layer lie as they are. Where
    numbers are narrow all images lie alike, channels last; a layer that is computed in float32
    pays for its own detour (``detour.py``)."""
    if row.dtype in NARROW:
        return PLAIN
    primitive: Any = member("algorithms", way.primitive)()
    if row.op == "dense" or way.format != DENSE or primitive.template == PLAIN:
        return PLAIN
    return BLOCKED


def name_of(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]
