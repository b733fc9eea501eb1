"""The order in which the channels of each image lie (``target/blocks.py``), chosen beforehand.

A grouped convolution may want the lanes of its vectors to be groups. Any order is as good for what
treats every channel alike (elementwise operators, pooling, depthwise convolution), and costs
nothing in a convolution of one group, whose weights are put in it while compiling. So images that
such operators connect are in one *class*, and every class has one order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from dlas.layer import member
from dlas.network import LayerRow, Network
from dlas.plan import Plan

#: Operators on each element by itself, finite where their input is.
ELEMENTWISE = (
    "Add", "Sub", "Mul", "Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh",
    "Identity",
)  # fmt: skip
CHANNELWISE = (*ELEMENTWISE, "MaxPool", "AveragePool", "GlobalAveragePool")


def channel_orders(network: Network, plan: Plan, lanes: int) -> dict[str, int]:
    """The order of every layer's output, by the layer's name: what most of those want that read
    or write an image of its class; 1, the natural one, where none does.

    A recommendation: the importer reorders an image where a reader needs another order."""
    rows = {row.name: row for row in network.layers}
    constants = {tensor.name for tensor in network.model.graph.initializer}
    classes: dict[str, set[str]] = {}
    wishes: list[tuple[str, int]] = []
    outputs: dict[str, str] = {}
    for node in network.model.graph.node:
        images = [name for name in (*node.input, *node.output) if name and name not in constants]
        row = rows.get(node.name)
        if row is not None:
            outputs[row.name] = node.output[0]
            wanted = wanted_orders(row, plan, lanes)
            if wanted is not None:
                wishes += zip((node.input[0], node.output[0]), wanted, strict=True)
            elif row.groups > 1:
                join(classes, images)
        elif node.op_type in CHANNELWISE:
            join(classes, images)
        elif node.op_type == "Concat":
            wishes += [(image, 1) for image in images]
    orders = {}
    for name, output in outputs.items():
        members = classes.get(output, {output})
        wanted_there = Counter(order for image, order in wishes if image in members)
        orders[name] = chosen(wanted_there, rows[name].out_channels, lanes)
    return orders


def wanted_orders(row: LayerRow, plan: Plan, lanes: int) -> tuple[int, int] | None:
    """Those of the image that the layer reads and of the one that it writes; None: any."""
    primitive: Any = member("algorithms", plan.primitive(row.name))()
    if primitive.template != "blocked":
        return None
    found: tuple[int, int] | None = primitive.orders(row, lanes)
    return found


def join(classes: dict[str, set[str]], names: Sequence[str]) -> None:
    """Make one class of those that the names are in."""
    joined = set(names).union(*(classes.get(name, ()) for name in names))
    classes.update(dict.fromkeys(joined, joined))


def chosen(wishes: Counter[int], channels: int, lanes: int) -> int:
    """The most frequent wish that fills whole blocks with so many channels."""
    filling = (o for o, _ in wishes.most_common() if channels % (lanes * o) == 0)
    return next(filling, 1)
