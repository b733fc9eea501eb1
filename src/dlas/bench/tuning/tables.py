"""The rows in the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from math import isfinite

from rich.box import SIMPLE_HEAD
from rich.table import Table

from dlas.bench.rows import geometric_mean
from dlas.bench.tuning.rows import (
    OF_THE_PAPER,
    AutoRow,
    FaultRow,
    LayerRow,
    NetworkRow,
    TuningRow,
    prediction_error,
    singles,
)

ABSENT = "–"
#: Of the best time ever measured: what is good enough.
GOOD = 0.95


def tables(rows: Sequence[TuningRow]) -> list[Table]:
    layers = [row for row in rows if isinstance(row, LayerRow)]
    autos = [row for row in rows if isinstance(row, AutoRow)]
    networks = [row for row in rows if isinstance(row, NetworkRow)]
    found = [
        (quality_table, layers), (auto_table, autos), (network_table, networks),
        (summary_table, networks),
    ]  # fmt: skip
    return [make(some) for make, some in found if some]  # type: ignore[operator]  # each its own


def quality_table(rows: Sequence[LayerRow]) -> Table:
    """By method and number of measured candidates, over all layers."""
    table = new(f"best time / time found, {len(rows)} layers", "method")
    columns = ("measured", "mean", "worst", f"≥ {GOOD:.0%}", "s a layer")
    for heading in columns:
        table.add_column(heading, justify="right")
    for method in rows[0].quality:
        table.add_section()
        for trials in rows[0].quality[method]:
            values = [row.quality[method][trials] for row in rows]
            good = sum(value >= GOOD for value in values) / len(values)
            mean = geometric_mean([max(value, 1e-9) for value in values]) or 0.0
            wall = statistics.mean(trials * row.wall_s for row in rows)
            table.add_row(
                method,
                str(trials),
                f"{mean:.3f}",
                f"{min(values):.3f}",
                f"{good:.0%}",
                f"{wall:.2f}",
            )
    return table


def auto_table(rows: Sequence[AutoRow]) -> Table:
    table = new(f"MetaSchedule, {rows[0].trials} trials", "layer")
    for heading in ("auto µs", "ours µs", "auto s", "ours as fast after s", "×"):
        table.add_column(heading, justify="right")
    for row in rows:
        times = row.wall_s / row.reached_s if row.reached_s else None
        cells = (micro(row.seconds), micro(row.template_s), f"{row.wall_s:.1f}")
        reached = f"{row.reached_s:.2f}" if row.reached_s else ABSENT
        table.add_row(row.layer, *cells, reached, f"{times:.0f}" if times else ABSENT)
    return table


def network_table(rows: Sequence[NetworkRow]) -> Table:
    table = new("networks", "network, algorithm")
    for heading in ("ms", "predicted", "error", "/ best", "tuning s", "measured", "compile s"):
        table.add_column(heading, justify="right")
    for name in dict.fromkeys(row.network for row in rows):
        table.add_section()
        for row in (row for row in rows if row.network == name):
            error, over = prediction_error(row), row.over_best
            table.add_row(
                f"{name} {row.algorithm}",
                milli(row.median_s),
                milli(row.predicted_s),
                ABSENT if error is None else f"{error:.1%}",
                ABSENT if over is None else f"{over:.2f}",
                f"{row.tuning_s:.1f}",
                str(row.measured),
                f"{row.compile_s:.1f}",
            )
    return table


def summary_table(rows: Sequence[NetworkRow]) -> Table:
    """What single algorithms take over ``best``, and how far predictions are off."""
    table = new("all networks", "")
    table.add_column("", justify="right")
    names = list(dict.fromkeys(row.network for row in rows))
    for title, allowed in (("of the paper's three", OF_THE_PAPER), ("of all", None)):
        ratios = []
        for name in names:
            some = [
                row.over_best
                for row in singles(rows, name)
                if row.over_best and (allowed is None or row.algorithm in allowed)
            ]
            ratios += [min(some)] if some else []
        mean = geometric_mean(ratios)
        if mean is not None:
            text = f"{mean:.3f}, least {min(ratios):.3f} ({len(ratios)} networks)"
            table.add_row(f"best single algorithm {title} / best", text)
    errors = [e for row in rows if (e := prediction_error(row)) is not None and isfinite(e)]
    if errors:
        text = (
            f"{statistics.median(errors):.1%}, worst {max(errors):.1%} ({len(errors)} executables)"
        )
        table.add_row("prediction error, median", text)
    return table


def fault_lines(rows: Sequence[TuningRow]) -> list[str]:
    return [f"{row.case}: {row.error}" for row in rows if isinstance(row, FaultRow)]


def new(title: str, first: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False,
        pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    table.add_column(first, overflow="fold")
    return table


def micro(seconds: float | None) -> str:
    return ABSENT if seconds is None else f"{1e6 * seconds:.1f}"


def milli(seconds: float | None) -> str:
    return ABSENT if seconds is None else f"{1e3 * seconds:.4g}"
