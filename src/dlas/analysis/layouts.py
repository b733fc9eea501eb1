"""Where a network's images change their layout on the way from layer to layer."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

from dlas.algorithms.layouts import CHANGED
from dlas.algorithms.sparse.cost import Machine
from dlas.layer import member
from dlas.network import LayerRow, Network
from dlas.network.fold import fold_batch_norm
from dlas.network.layers import tensor_shapes
from dlas.plan import Plan
from dlas.systems.tvm.order import CHANNELWISE


class Change(NamedTuple):
    """An image that an operator reads in the other layout: its float32 ``numbers`` are read and
    written once. ``to``: blocked or plain."""

    image: str
    reader: str
    to: str
    numbers: int

    @property
    def bytes(self) -> int:
        return 2 * 4 * self.numbers

    def slots(self, machine: Machine) -> float:
        return CHANGED * self.numbers / machine.lanes


def layout_changes(network: Network, plan: Plan, lanes: int) -> list[Change]:
    """Those of a plan whose layers take their template forms. Sparse layers and those of ``direct``
    read and write images as they lie, others blocks of ``lanes`` channels; what treats every
    channel alike keeps to blocks, everything else reads images as they lie."""
    return list(_changes(Network(fold_batch_norm(network.model)), plan, lanes))


def _changes(network: Network, plan: Plan, lanes: int) -> Iterator[Change]:
    shapes = tensor_shapes(network.model)
    rows = {row.name: row for row in network.layers}
    blocked: set[str] = set()
    for node in network.model.graph.node:
        images = [name for name in node.input if len(shapes.get(name, ())) == 4]
        row = rows.get(node.name)
        if row is None:
            in_blocks = _keeps_blocks(node, images, shapes, blocked, lanes)
        else:
            in_blocks = row.op == "conv" and _is_blocked(plan, row)
            if in_blocks and row.in_channels < lanes:
                images = [name for name in images if name in blocked]  # reads the others as well
        for name in images:
            if (name in blocked) != in_blocks:
                to = "blocked" if in_blocks else "plain"
                yield Change(name, node.name or node.op_type, to, prod(shapes[name]))
        if in_blocks:
            blocked.update(node.output)


def _is_blocked(plan: Plan, row: LayerRow) -> bool:
    step = plan.step(row.name)
    primitive: Any = member("algorithms", step.primitive)
    return not step.is_sparse and primitive.template == "blocked"


def _keeps_blocks(node: Any, images: list[str], shapes: Any, blocked: set[str], lanes: int) -> bool:
    """Whether an operator that is no layer computes on blocks."""
    if not any(name in blocked for name in images):
        return False
    if node.op_type == "Concat":
        return all(shapes[name][1] % lanes == 0 for name in images[:-1])
    return node.op_type in CHANNELWISE
