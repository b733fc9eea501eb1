"""The settings that a test counts: stacks that agree in everything but what it compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlas.analysis.claims.cells import COUPLED, MATCHED, Cells
from dlas.analysis.claims.quantity import Measures
from dlas.analysis.claims.select import Selector, words

if TYPE_CHECKING:
    import pandas as pd

#: Columns that the name of the network implies.
_SAID = ("network", "dataset", "pixels")

Sides = Mapping[str, tuple[Selector, ...]]


@dataclass(frozen=True)
class Setting:
    """``network``: with its data set where that is needed. ``sides``: rows of the frame per side,
    the least of the measured quantity first."""

    labels: Mapping[str, Any]
    network: str
    sides: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Matching:
    """Which columns both sides must share, and by which else the first side is split."""

    best_over: tuple[str, ...] = ()
    for_each: tuple[str, ...] = ()

    def shared(self, named: Iterable[str]) -> list[str]:
        free = {*named, *self.best_over}
        free |= {other for column in free for other in COUPLED.get(column, ())}
        return [column for column in MATCHED if column not in free]


def settings(found: Measures, where: Selector, sides: Sides, matching: Matching) -> list[Setting]:
    """Every setting in which all ``sides`` were measured. A side is the rows that all its selectors
    take; sides called "choice…", which the claim is about, are also split by ``for_each``. What is
    among the stacks of "choice" is not its own rival."""
    cells = found.cells
    pool = cells.mask(where) & found.known
    named = {column for side in sides.values() for selector in side for column in selector}
    shared = matching.shared(named)
    taken = {name: pool & cells.mask(*side) for name, side in sides.items()}
    split = [*shared, *matching.for_each]
    own = {name for name in sides if name.startswith("choice")}
    groups = {
        name: _groups(cells, rows, split if name in own else shared) for name, rows in taken.items()
    }
    complete = []
    for labels in groups[next(iter(sides))]:
        rows = {
            name: group.get(labels if name in own else labels[: len(shared)], ())
            for name, group in groups.items()
        }
        mine = set(rows.get("choice", ()))
        for name in rows.keys() - own:
            rows[name] = tuple(row for row in rows[name] if row not in mine)
        if all(rows.values()):
            network = cells.subjects[next(iter(rows.values()))[0]]
            named_labels = dict(zip(split if own else shared, _plain(labels), strict=True))
            ordered = {name: _rising(found, some) for name, some in rows.items()}
            complete.append(Setting(named_labels, network, ordered))
    return complete


def _groups(
    cells: Cells, rows: NDArray[np.bool_], columns: Sequence[str]
) -> dict[tuple[Any, ...], tuple[int, ...]]:
    known = [cells.levels(column) for column in columns]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row in np.flatnonzero(rows).tolist():
        labels = tuple(levels[place[row]] for levels, place in known)
        groups.setdefault(labels, []).append(row)
    return {labels: tuple(group) for labels, group in groups.items()}


def _rising(found: Measures, rows: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(rows, key=lambda row: float(found.value[row])))


def _plain(labels: Sequence[Any]) -> list[Any]:
    return [int(x) if isinstance(x, float) and x.is_integer() else x for x in labels]


def names_of(found: Sequence[Setting]) -> list[str]:
    """What tells the settings from each other: "vgg16, threads 2"."""
    columns = [
        column
        for column in (found[0].labels if found else ())
        if column not in _SAID and len({str(setting.labels[column]) for setting in found}) > 1
    ]
    if "optimizations" in columns and "compression" in columns:
        columns.remove("compression")
    names = []
    for setting in found:
        levels = [(column, setting.labels[column]) for column in columns]
        parts = [str(x) if isinstance(x, str) else f"{column} {x}" for column, x in levels]
        names.append(", ".join([setting.network, *filter(None, parts)]))
    return names


def why_none(found: Measures, where: Selector, sides: Sides) -> tuple[str, ...]:
    """Why there is no setting: which cells are absent or were not measured, and what to add."""
    cells, frame = found.cells, found.cells.frame
    if frame.empty:
        return ("There are no stacks at all: run a study.",)
    for column in ("device", "processor", "machine"):
        for selector in (where, *(s for side in sides.values() for s in side)):
            if column in selector and not cells.mask({column: selector[column]}).any():
                return (_machine(column, words({column: selector[column]})),)
    sentences = []
    for side in sides.values():
        rows = frame[cells.mask(where, *side)]
        wanted = words(where, *side)
        if rows.empty:
            sentences.append(f"No stack has {wanted}: add such stacks to the study.")
        elif not found.known[rows.index.to_numpy()].any():
            of = f" with {wanted}" if len(rows) < len(frame) else ""
            sentences.append(f"{_ended(rows, found)}{of}".rstrip(",") + ".")
    if sentences:
        return tuple(dict.fromkeys(sentences))
    compared = " and ".join(words(*side) for side in sides.values())
    choice = cells.mask(*sides.get("choice", ()))
    for name, side in sides.items():
        if name != "choice" and "choice" in sides and choice[cells.mask(where, *side)].all():
            mine = words(*sides["choice"])
            return (f"Every stack with {words(*side)} has {mine} too: compare with others.",)
    return (
        f"No two measured stacks with {compared} agree in everything else: "
        "add the stacks that differ in nothing but this.",
    )


def _machine(column: str, wanted: str) -> str:
    if column == "device":
        kind = "a GPU" if "gpu" in wanted else "a CPU"
        return f"None of the machines is {kind}: run the study on {kind}."
    return f"None of the machines has {wanted}: run the study on one that has."


def _ended(rows: pd.DataFrame, found: Measures) -> str:
    if (rows["status"] == "ok").any():
        which = "the one stack" if len(rows) == 1 else f"all {len(rows)} stacks"
        return f"{found.quantity.name} is unknown for {which}"
    ways = ", ".join(
        f"{count} {str(status).replace('_', ' ') or 'without a status'}"
        for status, count in rows["status"].value_counts().items()
    )
    message = next((text for text in rows["message"] if text), "")
    said = f" ({message.rstrip('.')})" if message else ""
    none = "The one stack was not" if len(rows) == 1 else f"None of {len(rows)} stacks was"
    return f"{none} measured, {ways}{said},"
