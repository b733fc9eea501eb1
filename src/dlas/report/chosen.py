"""What a system chose where the algorithm left it the choice: the way each layer takes, and what
every other way would have cost. For a terminal of 80 columns, and for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dlas.choices import Choice, Choices, Costed
from dlas.report.quantities import QUANTITIES, times
from dlas.report.rows import name

LATENCY = QUANTITIES["latency_s"]
#: Stacks whose layers are on the page, the fastest; a line each has those of any number.
DETAILED = 12


@dataclass(frozen=True)
class Alike:
    """Layers with the same ways at the same cost, as those of one shape have."""

    layers: tuple[str, ...]
    choice: Choice

    @property
    def taken(self) -> Costed:
        return self.choice.ways[self.choice.taken]

    @property
    def others(self) -> list[Costed]:
        """The ways not taken, the fastest first, those that cannot be last."""
        ways = [way for i, way in enumerate(self.choice.ways) if i != self.choice.taken]
        return sorted(ways, key=lambda way: (way.seconds is None, way.seconds))


def alike(choices: Choices) -> list[Alike]:
    """The layers in order, those alike at the place of their first."""
    found: dict[tuple[tuple[Costed, ...], int], list[Choice]] = {}
    for choice in choices.layers:
        found.setdefault((choice.ways, choice.taken), []).append(choice)
    return [Alike(tuple(c.layer for c in same), same[0]) for same in found.values()]


def milliseconds(way: Costed) -> str:
    """With a tilde where it is predicted; a dash where it cannot be computed so."""
    sign = "" if way.measured or way.seconds is None else "~"
    return sign + LATENCY.number(way.seconds)


def counted(choices: Choices) -> str:
    """How many layers take each way, the most frequent first."""
    found = Counter(one.ways[one.taken].name for one in choices.layers)
    return ", ".join(f"{way} ×{many}" for way, many in found.most_common())


def deviation(choices: Choices, measured_s: float) -> str:
    """Of the measured latency from the predicted one, of which it is a share."""
    return f"{measured_s / choices.predicted_s - 1:+.0%}"


def best_uniform(choices: Choices) -> tuple[str, float] | None:
    """The algorithm that is predicted to be the fastest alone, and its seconds."""
    found = choices.uniform_s
    return min(found.items(), key=lambda pair: pair[1]) if found else None


# -- in a terminal -------------------------------------------------------------------------------


def choices_table(choices: Choices, measured_s: float | None) -> RenderableType:
    """Every layer; then the whole network as predicted and as measured, if it was."""
    table = Table(
        title="ways chosen, ms (~ predicted)", title_justify="left", title_style="bold",
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    table.add_column("layer", overflow="fold")
    table.add_column("way", overflow="fold")
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("others", overflow="fold")
    for same in alike(choices):
        more = f" and {len(same.layers) - 1} like it" if len(same.layers) > 1 else ""
        cells = same.layers[0] + more, same.taken.name, milliseconds(same.taken)
        table.add_row(*map(Text, cells), Text(", ".join(map(_said, same.others))))
    return Group(table, *map(Text, _sentences(choices, measured_s)))


def _said(way: Costed) -> str:
    if way.seconds is None:
        return f"{way.name} not at all ({way.note})" if way.note else f"{way.name} –"
    return f"{way.name} {milliseconds(way)}"


def _sentences(choices: Choices, measured_s: float | None) -> list[str]:
    layers_s = choices.predicted_s - choices.changes_s - choices.others_s
    parts = (
        (layers_s, "layers"), (choices.changes_s, "layout changes"), (choices.others_s, "all else"),
    )  # fmt: skip
    listed = ", ".join(f"{LATENCY.number(seconds)} {part}" for seconds, part in parts)
    said = [f"predicted {LATENCY.text(choices.predicted_s)}: {listed}", "not measured yet"]
    if measured_s is not None:
        apart = deviation(choices, measured_s)
        said[1] = f"measured {LATENCY.text(measured_s)}, {apart} from predicted"
    uniform = best_uniform(choices)
    if uniform:
        algorithm, seconds = uniform
        ratio = times(seconds / choices.predicted_s)
        said.append(
            f"the best single algorithm, {algorithm}: predicted {LATENCY.text(seconds)}, "
            f"{ratio} as long"
        )
    return said


# -- on the page ---------------------------------------------------------------------------------


def choice_tables(stacks: pd.DataFrame, choices: Mapping[str, Choices]) -> list[dict[str, Any]]:
    """A line for every stack that has choices (by its key), the fastest first; ``layers`` is None
    from the thirteenth on. A frame of ``rows.ready``."""
    chosen = stacks[stacks["key"].isin(list(choices))].sort_values("latency_s", kind="stable")
    several = stacks["task"].nunique() > 1
    return [
        _line(row, choices[row["key"]], several, at < DETAILED)
        for at, (_, row) in enumerate(chosen.iterrows())
    ]


def _line(row: pd.Series, choices: Choices, several: bool, detailed: bool) -> dict[str, Any]:
    measured_s, uniform = row["latency_s"], best_uniform(choices)
    timed = pd.notna(measured_s)
    return {
        "stack": name(row) + (f" ({row['task']})" if several else ""),
        "key": row["key"],
        "counted": counted(choices),
        "predicted": LATENCY.text(choices.predicted_s),
        "changes": LATENCY.text(choices.changes_s),
        "measured": LATENCY.text(measured_s),
        "deviation": deviation(choices, measured_s) if timed else "",
        "uniform": uniform[0] if uniform else "",
        "uniform_time": LATENCY.text(uniform[1]) if uniform else "",
        "layers": _layers(choices) if detailed else None,
    }


def _layers(choices: Choices) -> dict[str, Any]:
    """``ways``: the columns, in the order in which layers list them; a row for layers alike."""
    groups = alike(choices)
    ways = dict.fromkeys(way.name for same in groups for way in same.choice.ways)
    return {"ways": list(ways), "rows": [_row(same, list(ways)) for same in groups]}


def _row(same: Alike, ways: Sequence[str]) -> dict[str, Any]:
    own = {way.name: way for way in same.choice.ways}
    cells = []
    for way in ways:
        costed = own.get(way)
        text = milliseconds(costed) if costed else ""
        cells.append(
            {
                "text": text,
                "taken": costed is same.taken,
                "why": costed.note if costed else "",
            }
        )
    return {
        "layer": same.layers[0],
        "more": len(same.layers) - 1,
        "layers": ", ".join(same.layers),
        "cells": cells,
    }
