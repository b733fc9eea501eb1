"""``float16``: weights and arithmetic in half precision; scores and images stay float32."""

from __future__ import annotations

import heapq
from graphlib import TopologicalSorter
from typing import ClassVar

from onnx import GraphProto

from dlas.context import Context
from dlas.data import Data
from dlas.network import Network
from dlas.network.fold import fold_batch_norm
from dlas.optimizations.base import Optimization


class Float16(Optimization, frozen=True, kw_only=True):
    """Rounds every constant to float16, casts the input to it and the scores back to float32.

    BatchNorm is folded first, in float32: a running variance below 6e-8 or above 65504 has no
    float16. Constants smaller than that become the smallest float16 of their sign, larger ones the
    largest, so no weight turns into zero or infinity; zeros stay zeros."""

    name: ClassVar[str] = "float16"
    distributions: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def refuses(self, network: Network) -> str | None:
        if network.dtype == "float32":
            return None
        return f"float16 takes a float32 network; this one's layers are {network.dtype}"

    def apply(self, network: Network, data: Data, context: Context) -> Network:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model = convert_float_to_float16(fold_batch_norm(network.model), keep_io_types=True)
        _sort_nodes(model.graph)
        del model.graph.value_info[:]
        return Network(model)


def _sort_nodes(graph: GraphProto) -> None:
    """Put every node behind its inputs, else in the order found: the converter leaves its casts at
    the end."""
    producer = {name: index for index, node in enumerate(graph.node) for name in node.output}
    sorter = TopologicalSorter(
        {i: [producer[x] for x in node.input if x in producer] for i, node in enumerate(graph.node)}
    )
    sorter.prepare()
    ready: list[int] = []
    order = []
    while sorter.is_active():
        for index in sorter.get_ready():
            heapq.heappush(ready, index)
        order.append(heapq.heappop(ready))
        sorter.done(order[-1])
    nodes = [graph.node[index] for index in order]
    del graph.node[:]
    graph.node.extend(nodes)
