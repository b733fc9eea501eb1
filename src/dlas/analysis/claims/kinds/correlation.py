"""Do two quantities rise together?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.analysis.claims.cells import MATCHED, Cells
from dlas.analysis.claims.evidence import ALPHA
from dlas.analysis.claims.kinds.base import Test
from dlas.analysis.claims.kinds.counted import shown
from dlas.analysis.claims.quantity import Measures, measures
from dlas.analysis.claims.settings import why_none
from dlas.analysis.claims.verdict import (
    CONTRADICTED,
    HOLDS,
    NAN,
    NOT_TESTABLE,
    UNDECIDED,
    Finding,
    Number,
    Word,
)
from dlas.analysis.intervals import Z_95
from dlas.errors import SpecError
from dlas.layer import did_you_mean

_DRAWS = 400
_FEWEST = 3  # networks in a group, without which a rank correlation is nearly arbitrary
_PAIR = 2


class Correlation(Test, frozen=True, kw_only=True):
    """Spearman's rank correlation of ``of`` lies above ``above`` and below ``below``.

    Computed within every group of equal ``within`` (accuracies of two data sets do not compare)
    and averaged over the groups with three networks or more, weighted by their number. About
    "these networks", what is unsure is the measurement: every number is redrawn within its
    interval. About "networks like these" the interval is Fisher's, with Bonett and Wright's
    standard error (Psychometrika 65, 2000), and counts networks, not stacks, since those of one
    network hang together."""

    kind = "correlation"

    of: tuple[str, str]
    above: Annotated[float, msgspec.Meta(ge=-1, lt=1)] = -1.0
    below: Annotated[float, msgspec.Meta(gt=-1, le=1)] = 1.0
    within: tuple[str, ...] = ("dataset",)
    networks: Annotated[int, msgspec.Meta(ge=_FEWEST)] = _FEWEST
    about: Literal["these networks", "networks like these"] = "these networks"

    def columns(self) -> Iterator[tuple[str, str]]:
        yield "of[0]", self.of[0]
        yield "of[1]", self.of[1]

    def check(self, path: str) -> None:
        super().check(path)
        for column in self.within:
            if column not in MATCHED:
                hint = did_you_mean(column, MATCHED)
                raise SpecError(f"{path}.within", f"{column!r} is not a column{hint}")
        if self.above >= self.below:
            raise SpecError(f"{path}.above", f"{self.above:g} is not below {self.below:g}")
        if (self.above, self.below) == (-1.0, 1.0):
            raise SpecError(path, "a correlation needs a bound: above, below or both")

    def run(self, cells: Cells, alpha: float = ALPHA) -> Finding:
        pair = [measures(cells, name) for name in self.of]
        taken = cells.mask(self.where) & pair[0].known & pair[1].known
        if not taken.any():
            missing = [s for one in pair for s in why_none(one, self.where, {"all": ()})]
            return Finding(NOT_TESTABLE, missing[0], missing=tuple(dict.fromkeys(missing)))
        groups = self._groups(cells, taken)
        weights = [len({cells.subjects[row] for row in group}) for group in groups]
        networks = {cells.subjects[row] for group in groups for row in group}
        if not groups:
            inside = f" of one {' and '.join(self.within)}" * bool(self.within)
            text = f"No {_FEWEST} networks{inside} were measured in both {' and '.join(self.of)}."
            return Finding(NOT_TESTABLE, text, missing=(f"{text} Add networks to the study.",))
        few = self.too_few(networks)
        if few:
            return few
        rho = float(_correlation(pair[0].value[None], pair[1].value[None], groups, weights)[0])
        if math.isnan(rho):
            text = f"One of {' and '.join(self.of)} is the same for all of these stacks."
            return Finding(NOT_TESTABLE, text, missing=(f"{text} Add networks that differ in it.",))
        here = _redrawn(pair, groups, weights, rho)
        others = _fisher(rho, len(networks), len(groups))
        low, high = here if self.about == "these networks" else others
        stacks = sum(len(group) for group in groups)
        counted = f"{stacks} stacks of {len(networks)} networks"
        keys = tuple(cells.keys[row] for group in groups for row in group)
        names = f"rank correlation of {self.of[0]} and {self.of[1]}"
        numbers = (
            Number(names, rho, *here, "", keys),
            Number(f"{names}, among networks like these", rho, *others),
        )
        main = numbers[0] if self.about == "these networks" else numbers[1]
        asked = " and ".join(
            f"{word} {bound:g}"
            for word, bound, none in (("above", self.above, -1), ("below", self.below, 1))
            if bound != none
        )
        text = (
            f"The rank correlation of {self.of[0]} and {self.of[1]} is {shown(main)} over {counted}"
        )
        return Finding(self._word(low, high), f"{text}; asked is {asked}.", numbers)

    def _word(self, low: float, high: float) -> Word:
        over = -1.0 if self.above == -1 else self.above
        if (self.above == -1 or low > over) and (self.below == 1 or high < self.below):
            return HOLDS
        if (self.above != -1 and high <= over) or (self.below != 1 and low >= self.below):
            return CONTRADICTED
        return UNDECIDED

    def _groups(self, cells: Cells, taken: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
        known = [cells.levels(column) for column in self.within]
        groups: dict[tuple[str, ...], list[int]] = {}
        for row in np.flatnonzero(taken).tolist():
            labels = tuple(str(levels[place[row]]) for levels, place in known)
            groups.setdefault(labels, []).append(row)
        return [
            np.asarray(rows, dtype=np.intp)
            for rows in groups.values()
            if len({cells.subjects[row] for row in rows}) >= _FEWEST
        ]


def _redrawn(
    pair: Sequence[Measures], groups: Sequence[NDArray[np.intp]], weights: Sequence[int], rho: float
) -> tuple[float, float]:
    """Ends for these networks: every number redrawn, normal within its interval, on logarithms for
    ratios. Numbers without an interval make the ends unknown, so they decide nothing."""
    used = np.concatenate(groups)
    if any(np.isnan(one.low[used]).any() or np.isnan(one.high[used]).any() for one in pair):
        return NAN, NAN
    generator = np.random.default_rng(0)
    x, y = (_draw(one, generator) for one in pair)
    drawn = _correlation(x, y, groups, weights)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return min(float(low), rho), max(float(high), rho)


def _draw(one: Measures, generator: np.random.Generator) -> NDArray[np.float64]:
    """(draws, rows). Equal numbers with equal intervals are one number, such as the accuracy of a
    network in stacks that compute alike: they are redrawn together."""
    together = np.column_stack([one.value, one.low, one.high])
    _, which = np.unique(together, axis=0, return_inverse=True)
    errors = generator.standard_normal((_DRAWS, len(which)))[:, which.ravel()]
    if one.quantity.scale == "difference":
        return np.asarray(one.value + errors * (one.high - one.low) / (_PAIR * Z_95))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.log(one.high / one.low) / (_PAIR * Z_95)
    return np.asarray(one.value * np.exp(errors * spread))


def _correlation(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    groups: Sequence[NDArray[np.intp]],
    weights: Sequence[int],
) -> NDArray[np.float64]:
    """(draws,) of (draws, rows) each: the groups' mean rank correlation, NaN where none varies."""
    import pandas as pd

    total, weight = np.zeros(len(x)), np.zeros(len(x))
    for group, networks in zip(groups, weights, strict=True):
        ranks = [pd.DataFrame(one[:, group]).rank(axis=1).to_numpy() for one in (x, y)]
        a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
        norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
        varies = norm > 0
        rho = np.divide((a * b).sum(axis=1), norm, out=np.zeros(len(x)), where=varies)
        total += networks * rho
        weight += networks * varies
    return np.where(weight > 0, total / np.maximum(weight, 1), NAN)


def _fisher(rho: float, networks: int, groups: int) -> tuple[float, float]:
    """A group of n networks has n − 3 degrees of freedom; there are none for three."""
    free = networks - 3 * groups
    if free <= 0:
        return NAN, NAN
    half = Z_95 * math.sqrt((1 + rho**2 / 2) / free)
    z = math.atanh(min(max(rho, -1 + 1e-12), 1 - 1e-12))
    return math.tanh(z - half), math.tanh(z + half)
