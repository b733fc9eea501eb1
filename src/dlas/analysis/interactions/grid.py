"""A study as crossed choices: which columns are factors, and among which stacks they are crossed.

A choice that exists only under another one is no factor beside it: the tuning exists only in
systems that are tuned, a sparse format only for pruned weights. So systems whose stacks have the
same inner choices (algorithm, format, tuning) make a *family*, each a grid of its own; and one
more grid compares all systems, each at its fastest inner choices. What follows from another
choice is left out and named; what is crossed in part only becomes one factor with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlas.analysis.words import level_word, listed, word

#: Choices, and the labels that tell apart what one choice does not.
CHOICES = {
    "dataset": "dataset",
    "network": "model",
    "compression": "optimizations",
    "primitive": "algorithm",
    "format": "algorithm",
    "software": "system",
    "tuning": "system",
    "threads": "threads",
    "batch": "batch",
}
INNER = ("primitive", "format", "tuning")
#: Labels that tell stacks apart but for their inner choices.
_OUTER = ["dataset", "model", "optimizations", "software", "threads", "batch"]
#: What others are compared with comes first.
_FIRST = ("none", "dense", "untuned", "float32")


@dataclass(frozen=True)
class Grid:
    """``stacks``: the measured rows, n. ``factors``: columns of ``values``, all with two levels or
    more. ``codes``: (n, factors) indices into ``levels``. ``scope``: which stacks these are, ""
    for all of a machine. ``said``: what was left out and why."""

    machine: str
    scope: str
    stacks: pd.DataFrame
    factors: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    codes: NDArray[np.intp]
    said: tuple[str, ...]

    def where(self, known: NDArray[np.bool_]) -> Grid:
        """The same of some rows; levels that none of them has, and factors of one level, go."""
        return _grid(self.machine, self.scope, self.stacks[known], self._values()[known], self.said)

    def _values(self) -> pd.DataFrame:
        columns = {
            factor: np.asarray(levels, object)[self.codes[:, i]]
            for i, (factor, levels) in enumerate(zip(self.factors, self.levels, strict=True))
        }
        return pd.DataFrame(columns, index=self.stacks.index)


def grids(machine: str, stacks: pd.DataFrame) -> Iterator[Grid]:
    """``stacks``: the measured ones of a machine, under a unique index."""
    families = _families(stacks)
    if len(families) == 1:
        yield _crossed(machine, "", stacks)
        return
    for names in families:
        own = stacks[stacks["software"].isin(names)]
        if any(own[column].nunique() > 1 for column in INNER):
            yield _crossed(machine, f"stacks of {listed(names)}", own)
    fastest = stacks.sort_values("latency_s", kind="stable").drop_duplicates(_OUTER)
    scope = "systems" if len(fastest) == len(stacks) else "systems, each at its fastest choices"
    yield _crossed(machine, scope, stacks.loc[fastest.index.sort_values()], INNER)


def _families(stacks: pd.DataFrame) -> list[list[str]]:
    found: dict[tuple[frozenset[str], ...], list[str]] = {}
    for name, own in stacks.groupby("software", sort=False):
        inner = tuple(frozenset(own[column].astype(str)) for column in INNER)
        found.setdefault(inner, []).append(str(name))
    return list(found.values())


def _crossed(machine: str, scope: str, stacks: pd.DataFrame, collapsed: Sequence[str] = ()) -> Grid:
    names = [name for name in CHOICES if name not in collapsed]
    values = stacks[names].apply(lambda column: column.map(_text))
    values = _told_apart(values, stacks)
    values, said = _independent(values, scope)
    return _grid(machine, scope, stacks, values, said)


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _told_apart(values: pd.DataFrame, stacks: pd.DataFrame) -> pd.DataFrame:
    """With labels in place of choices that do not tell all stacks apart (two levels of pruning)."""
    for name in ("compression", "network", "primitive", "software"):
        label = CHOICES[name]
        if name not in values or not values.duplicated(keep=False).any():
            continue
        finer = values.rename(columns={name: label})
        finer[label] = stacks[label].astype(str)
        if finer.duplicated().sum() < values.duplicated().sum():
            values = finer
    return values


def _independent(values: pd.DataFrame, scope: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    values = values.loc[:, [name for name in values if values[name].nunique() > 1]]
    values = _joined(values, "dataset", ["network", "model"])
    values = _joined(values, "format", ["compression", "optimizations", "primitive", "algorithm"])
    said = []
    first = [name for name in ("dataset", "format") if name in values]
    for coarse in [*first, *(str(name) for name in list(values)[::-1] if name not in first)]:
        for fine in map(str, list(values)):
            if fine == coarse or values[fine].nunique() < values[coarse].nunique():
                continue
            if values.groupby(fine)[coarse].nunique().max() == 1:
                values = values.drop(columns=coarse)
                if (coarse, fine) not in _EXPECTED:
                    place = f"Among {scope}, the" if scope else "The"
                    said.append(
                        f"{place} {word(coarse)} follows from the {word(fine)}: "
                        "the two cannot be told apart."
                    )
                break
    return values, tuple(said)


#: What follows from another choice by its nature.
_EXPECTED = {("dataset", "network"), ("dataset", "model"), ("format", "primitive")} | {
    ("format", name) for name in ("compression", "optimizations", "algorithm")
}


def _joined(values: pd.DataFrame, name: str, others: Sequence[str]) -> pd.DataFrame:
    """``name`` made one factor with the first of ``others`` that it is crossed with in part."""
    if name not in values:
        return values
    known = [other for other in others if other in values]
    if any(values.groupby(other)[name].nunique().max() == 1 for other in known):
        return values
    for other in known:
        pairs = len(values[[name, other]].drop_duplicates())
        if pairs < values[name].nunique() * values[other].nunique():
            plain = values[name].isin(_FIRST)
            both = values[other] + " (" + values[name] + ")"
            return values.assign(**{other: values[other].where(plain, both)}).drop(columns=name)
    return values


def _grid(
    machine: str, scope: str, stacks: pd.DataFrame, values: pd.DataFrame, said: tuple[str, ...]
) -> Grid:
    factors, levels, codes = [], [], []
    for name in values:
        own = _in_order(str(name), list(dict.fromkeys(values[name])))
        if len(own) > 1:
            factors.append(str(name))
            levels.append(tuple(own))
            at = {level: i for i, level in enumerate(own)}
            codes.append([at[value] for value in values[name]])
    array = np.array(codes, np.intp).reshape(len(factors), len(stacks)).T
    return Grid(machine, scope, stacks, tuple(factors), tuple(levels), array, said)


def _in_order(name: str, levels: list[str]) -> list[str]:
    if name in ("threads", "batch"):
        return sorted(levels, key=lambda level: (len(level), level))
    return sorted(levels, key=lambda level: level not in _FIRST)


def context_words(grid: Grid, row: int, fixed: Sequence[int]) -> tuple[str, ...]:
    """What is fixed in a row, as words."""
    return tuple(level_word(grid.factors[i], grid.levels[i][grid.codes[row, i]]) for i in fixed)
