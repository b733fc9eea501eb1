"""Sparse speedups in a terminal of 80 columns: where the time of a measured one went, and what
zeros would bring."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dlas.analysis.sparse_cost import LayerCost, PlanCost
from dlas.analysis.sparse_prediction import Predicted
from dlas.analysis.sparse_speedup import LOSSES, Explanation

#: Layers that are named in a sentence, at most.
_NAMED = 4


def explanation_table(found: Explanation, cost: PlanCost) -> RenderableType:
    """From the expected time to the measured one, loss by loss; shares are of the latter."""
    table = _table("where the time went", "part")
    for heading in ("ms", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    rows = [("expected", found.expected_s, "dense time / expected speedup")]
    rows += [(name, found.losses[name], meaning) for name, meaning in LOSSES.items()]
    for name, seconds, meaning in rows:
        share = f"{seconds / found.stack_s:.1%}"
        table.add_row(name.replace("_", " "), _ms(seconds), share, meaning)
    table.add_section()
    table.add_row("measured", _ms(found.stack_s), "100.0%", "")
    moved = sum(change.bytes for change in cost.changes)
    lines = [
        f"expected {found.expected_speedup:.2f}×, measured {found.measured_speedup:.2f}× "
        f"({_ms(found.dense_s)} → {_ms(found.stack_s)} ms)",
        f"the same estimate says {_ms(found.estimate_s)} ms of the dense stack's layers",
        f"layers in the format: {sum(layer.sparse is not None for layer in cost.layers)} of "
        f"{len(cost.layers)}; changes of layout: {len(cost.changes)}, {moved / 2**20:.3g} MiB",
    ]
    notes = dict.fromkeys(layer.step.note for layer in cost.layers if layer.sparse is None)
    said = [*filter(None, notes)]
    more = [f"… and {len(said) - _NAMED} more (--layers)"] if len(said) > _NAMED else []
    return Group(*map(Text, lines), table, *map(Text, [*said[:_NAMED], *more]))


def layer_table(cost: PlanCost, slot_s: float) -> Table:
    """Every layer by estimate, with the two largest parts of what is not multiplying."""
    table = _table("layers, by estimate", "layer")
    for heading in ("form", "zeros", "dense ms", "ms", "mostly"):
        justify = "right" if heading in ("zeros", "dense ms", "ms") else "left"
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for layer in cost.layers:
        form = layer.step.primitive + (f" {layer.step.format}" if layer.sparse else "")
        times = (_ms(slot_s * slots) for slots in (layer.dense, layer.total))
        zeros = f"{1 - layer.left:.0%}"
        table.add_row(Text(layer.row.name), form, zeros, *times, Text(_mostly(layer)))
    return table


def prediction_table(found: Sequence[Predicted], slot_s: float) -> RenderableType:
    """A row per level; then which layers would stay dense."""
    table = _table("predicted, convolutions and dense layers", "zeros")
    for heading in ("ms", "speedup", "expected", "in the format", "layout changes"):
        table.add_column(heading, justify="right")
    sentences = []
    for one in found:
        cost, level = one.cost, f"{one.level:.0%}"
        dense = [layer.row.name for layer in cost.layers if layer.sparse is None]
        table.add_row(
            level,
            _ms(slot_s * cost.total),
            f"{found[0].cost.total / cost.total:.2f}×",
            f"{cost.expected_speedup:.2f}×",
            f"{len(cost.layers) - len(dense)} of {len(cost.layers)}",
            str(len(cost.changes)),
        )
        if dense and one.level:
            sentences.append(f"{level} zeros, would stay dense: {_some(dense, len(cost.layers))}")
    return Group(table, *map(Text, sentences))


def predicted_layers(found: Sequence[Predicted], slot_s: float) -> Table:
    """Every layer's ms at every level; in brackets where it would stay dense."""
    table = _table("layers, predicted ms; (dense)", "layer")
    for one in found:
        table.add_column(f"{one.level:.0%}", justify="right", no_wrap=True)
    for layers in zip(*(one.cost.layers for one in found), strict=True):
        cells = (_ms(slot_s * layer.total) for layer in layers)
        marked = (
            cell if layer.sparse else f"({cell})" for cell, layer in zip(cells, layers, strict=True)
        )
        table.add_row(Text(layers[0].row.name), *marked)
    return table


def _mostly(layer: LayerCost) -> str:
    if layer.sparse is None:
        return "stays dense"
    parts = msgspec.structs.asdict(layer.sparse)
    largest = sorted(parts, key=lambda name: -parts[name])[:2]
    named = (f"{name.replace('_', ' ')} {parts[name] / layer.total:.0%}" for name in largest)
    return ", ".join(named)


def _some(names: Sequence[str], of: int) -> str:
    if len(names) == of:
        return "all"
    more = f" … and {len(names) - _NAMED} more (--layers)" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _table(title: str, first: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD,
        show_edge=False, pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    table.add_column(first, overflow="fold")
    return table


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"
