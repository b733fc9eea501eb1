"""What becomes of a tensor of a quantized network next: known before its layer is written, its
sums can be counted in the steps that they are rounded to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from dlas.network import Network
from dlas.systems.tvm.order import ELEMENTWISE

Array = NDArray[np.generic]

#: Operators that a sum with a shortcut passes on its way to be rounded.
SUMS = frozenset({"Add"})


@dataclass(frozen=True)
class Lookahead:
    """``steps``: by the name of a node, a layer or a sum, the step that its output is rounded to,
    at once or after a ReLU, where nothing else reads it. ``clipped``: ReLUs after which rounding
    leaves nothing below 0 anyway. ``inside``: the QuantizeLinear nodes whose result is only read by
    one sum, in the kernel of the layer before: it need not be stored. ``tables``: by the name of a
    QuantizeLinear, the integers that an earlier one gave, and what becomes of each of the 256 by
    elementwise operators between, ``skipped``."""

    steps: dict[str, float]
    clipped: frozenset[str]
    inside: frozenset[str]
    tables: dict[str, tuple[str, Array]]
    skipped: frozenset[str]

    @classmethod
    def of(cls, network: Network) -> Lookahead:
        graph = Graph(network)
        steps, clipped = {}, set()
        layers = {row.name for row in network.layers}
        for node in network.model.graph.node:
            if node.name not in layers and node.op_type not in SUMS:
                continue
            after = graph.only_reader(node)
            relu = after if after is not None and after.op_type == "Relu" else None
            rounding = graph.only_reader(relu) if relu is not None else after
            if rounding is None or rounding.op_type != "QuantizeLinear":
                continue
            step = graph.number(rounding.input[1])
            if step is not None:
                steps[node.name] = step
        for node in network.model.graph.node:
            after = graph.only_reader(node)
            if node.op_type == "Relu" and after is not None and graph.clips(after):
                clipped.add(node.name)
        tables, skipped = found_tables(graph)
        inside = graph.inside(layers) - skipped
        return cls(steps, frozenset(clipped), frozenset(inside), tables, skipped)


class Graph:
    def __init__(self, network: Network) -> None:
        self.network, self.graph = network, network.model.graph
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        self.producers = {name: node for node in self.graph.node for name in node.output}
        self.places = {node.name: place for place, node in enumerate(self.graph.node)}
        self.outputs = {output.name for output in self.graph.output}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def only_reader(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        readers = self.readers.get(node.output[0], [])
        alone = len(readers) == 1 and node.output[0] not in self.outputs
        return readers[0] if alone and len(node.output) == 1 else None

    def number(self, name: str) -> float | None:
        value = self.network.initializers.get(name)
        return float(value.item()) if value is not None and value.size == 1 else None

    def clips(self, node: onnx.NodeProto) -> bool:
        """Whether it rounds to integers of which the lowest stands for 0."""
        if node.op_type != "QuantizeLinear" or self.number(node.input[2]) is None:
            return False
        zero = self.network.initializers[node.input[2]]
        return int(zero.item()) == np.iinfo(str(zero.dtype)).min

    def inside(self, layers: set[str]) -> set[str]:
        """Of the operands of every sum the one whose layer comes last is computed with it."""
        found = set()
        for node in self.graph.node:
            if node.op_type not in SUMS:
                continue
            roundings = {}
            for name in node.input:
                rounding = self.rounding_before(name)
                layer = rounding and self.layer_before(rounding, layers)
                if rounding is not None and layer is not None:
                    roundings[self.places[layer.name]] = rounding.name
            if roundings:
                found.add(roundings[max(roundings)])
        return found

    def rounding_before(self, name: str) -> onnx.NodeProto | None:
        """The QuantizeLinear of a pair that only one node reads the result of."""
        back = self.producers.get(name)
        if back is None or back.op_type != "DequantizeLinear" or self.only_reader(back) is None:
            return None
        there = self.producers.get(back.input[0])
        if there is None or there.op_type != "QuantizeLinear" or self.only_reader(there) is None:
            return None
        same = all(
            self.number(a) == self.number(b)
            for a, b in zip(back.input[1:], there.input[1:], strict=False)
        )
        return there if same else None

    def ends(self, path: list[onnx.NodeProto], result: str) -> bool:
        """Whether nothing else reads what lies on the path to ``result``."""
        inside = {id(node) for node in path}
        return all(
            name == result
            or (
                name not in self.outputs
                and all(id(reader) in inside for reader in self.readers.get(name, []))
            )
            for node in path
            for name in node.output
        )

    def layer_before(self, node: onnx.NodeProto, layers: set[str]) -> onnx.NodeProto | None:
        """The layer that a node follows, with nothing but elementwise operators between."""
        before = self.producers.get(node.input[0])
        while before is not None and before.name not in layers:
            if before.op_type not in ELEMENTWISE or self.only_reader(before) is None:
                return None
            before = self.producers.get(before.input[0])
        return before if before is not None and self.only_reader(before) is not None else None


def found_tables(graph: Graph) -> tuple[dict[str, tuple[str, Array]], frozenset[str]]:
    """``Lookahead.tables`` and ``skipped``."""
    source: dict[str, str] = {}  # of a tensor that is a function of another's integers alone
    paths: dict[str, list[onnx.NodeProto]] = {}  # the nodes that lead there
    tables: dict[str, tuple[str, Array]] = {}
    skipped: set[str] = set()
    for node in graph.graph.node:
        given = [name for name in node.input if name and graph.number(name) is None]
        begins = {source.get(name) for name in given}
        follows = node.op_type in (*ELEMENTWISE, "QuantizeLinear", "DequantizeLinear")
        begin = begins.pop() if len(begins) == 1 and follows else None
        result = node.output[0]
        path = [*{id(n): n for name in given for n in paths.get(name, [])}.values(), node]
        if begin is not None:
            source[result], paths[result] = begin, path
        if node.op_type != "QuantizeLinear":
            continue
        changes = any(n.op_type not in ("QuantizeLinear", "DequantizeLinear") for n in path)
        if begin is not None and changes and graph.ends(path, result):
            tables[node.name] = begin, table_of(graph, path, begin)
            skipped.update(n.name for n in path[:-1])
            begin = None
        if begin is None and graph.number(node.input[1]) is not None:
            source[result], paths[result] = result, []
    kept = {name: value for name, value in tables.items() if name not in skipped}
    return kept, frozenset(skipped)


def table_of(graph: Graph, path: list[onnx.NodeProto], begin: str) -> Array:
    """What the nodes make of every 8-bit integer."""
    from onnx.reference import ReferenceEvaluator

    (producer,) = (node for node in graph.graph.node if begin in node.output)
    zero = graph.network.initializers[producer.input[2]]
    limits = np.iinfo(str(zero.dtype))
    every = np.arange(limits.min, limits.max + 1).astype(zero.dtype)
    last = path[-1].output[0]
    needed = {name for node in path for name in node.input}
    constants = [tensor for tensor in graph.graph.initializer if tensor.name in needed]
    result = graph.network.initializers[path[-1].input[2]]
    begins, ends = (
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), [len(every)]
        )
        for name, array in ((begin, every), (last, result))
    )
    piece = onnx.helper.make_graph(path, "table", [begins], [ends], initializer=constants)
    model = onnx.helper.make_model(piece, opset_imports=graph.network.model.opset_import)
    (found,) = ReferenceEvaluator(model).run(None, {begin: every})
    return np.asarray(found)
