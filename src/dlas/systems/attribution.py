"""Which layer of a network an operator computes that a library made of it, fused and renamed.

While compiling, ``names.json`` keeps what each layer and what follows it is called in the graph: a
fused operator bears one of these names. Where folding has left none, shapes decide, and order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dlas.measure.protocol import LayerTime

if TYPE_CHECKING:
    from dlas.network import Network

FILE = "names.json"


class Named(msgspec.Struct, frozen=True):
    """A layer: its own names in the graph, those of what may be fused to it, the height and width
    of its output, how many weights it has."""

    layer: str
    own: tuple[str, ...]
    behind: tuple[str, ...]
    output_hw: tuple[int, int]
    weights: int


@dataclass(frozen=True)
class Ran:
    """An operator as a library ran it. ``names``: its own and of what is fused to it. ``layout``:
    it only moves an image. ``multiplies``: it is a convolution or a matrix product, its output's
    height and width and its weights given where known."""

    name: str
    op: str
    seconds: float
    names: tuple[str, ...]
    multiplies: bool
    layout: bool = False
    output_hw: tuple[int, int] | None = None
    weights: int | None = None


def save_names(network: Network, folder: Path) -> None:
    (folder / FILE).write_bytes(msgspec.json.encode(named(network)))


def open_names(folder: Path) -> list[Named]:
    """What ``save_names`` wrote; none where an earlier version compiled."""
    file = folder / FILE
    return msgspec.json.decode(file.read_bytes(), type=list[Named]) if file.exists() else []


def named(network: Network) -> list[Named]:
    rows = {row.name: row for row in network.layers}
    #: The layers that a tensor may be fused to: those it depends on with no other in between.
    above: dict[str, frozenset[str]] = {}
    own: dict[str, tuple[str, ...]] = {}
    behind: dict[str, list[str]] = {name: [] for name in rows}
    for node in network.model.graph.node:
        names = (node.name, *node.output)
        if node.name in rows:
            own[node.name] = names
            found = frozenset([node.name])
        else:
            found = frozenset().union(*(above.get(name, frozenset()) for name in node.input))
            for layer in found:
                behind[layer] += names
        above |= dict.fromkeys(node.output, found)
    return [
        Named(name, own[name], tuple(behind[name]), row.output_hw, row.weights)
        for name, row in rows.items()
    ]


def attributed(ran: Sequence[Ran], layers: Sequence[Named]) -> tuple[LayerTime, ...]:
    """Every layer to one operator at most: by its own name; else by a name behind it, and shapes;
    else by shapes alone. What is left of equals is taken in order."""
    left = {layer.layer: layer for layer in layers}
    taken: dict[int, str] = {}

    def by_own_name(layer: Named, operator: Ran) -> bool:
        return bool({*layer.own} & {*operator.names})

    def by_a_name_behind(layer: Named, operator: Ran) -> bool:
        return fits(layer, operator) and bool({*layer.behind} & {*operator.names})

    for matches in (by_own_name, by_a_name_behind, fits):
        for index, operator in enumerate(ran):
            if not operator.multiplies or index in taken:
                continue
            found = next((each for each in left.values() if matches(each, operator)), None)
            if found is not None:
                taken[index] = left.pop(found.layer).layer
    return tuple(
        LayerTime(
            name=each.name,
            op=each.op,
            seconds=each.seconds,
            kind="layer" if i in taken else "layout" if each.layout else "other",
            layers=(taken[i],) if i in taken else (),
        )
        for i, each in enumerate(ran)
    )


def fits(layer: Named, operator: Ran) -> bool:
    return operator.output_hw in (None, layer.output_hw) and (
        operator.weights in (None, layer.weights)
    )
