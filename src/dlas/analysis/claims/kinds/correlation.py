"""Do two quantities rise together?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.analysis.claims.cells import MATCHED, Cells
from dlas.analysis.claims.evidence import ALPHA
from dlas.analysis.claims.kinds.base import Test
from dlas.analysis.claims.quantity import Measures, measures
from dlas.analysis.claims.settings import why_none
from dlas.analysis.claims.verdict import NAN, Finding, Number, Word, word
from dlas.analysis.intervals import Z_95, fisher
from dlas.errors import SpecError
from dlas.layer import did_you_mean

_FEWEST = 3  # networks in a group, without which a rank correlation is nearly arbitrary
#: Pairs that share the chance. Of four networks each of six can mislead; of more, none alone does.
_MISLEADING = 6

Floats = NDArray[np.float64]


class Correlation(Test, frozen=True, kw_only=True):
    """Spearman's rank correlation of ``of`` lies above ``above`` and below ``below``.

    Computed within every group of equal ``within`` (accuracies of two data sets do not compare)
    and averaged over the groups with three networks or more, weighted by their number. About
    "these networks", what is unsure is the measurement: the ends are the least and the most with
    every pair of numbers that is not surely apart in either order. (Redrawing numbers would add
    noise to noise, which hides a correlation.) About "networks like these" the interval is
    Fisher's, and counts networks, not stacks, since those of one network hang together."""

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
        if "network" in self.within:
            raise SpecError(f"{path}.within", "it correlates over networks: leave 'network' out")
        if self.above >= self.below:
            raise SpecError(f"{path}.above", f"{self.above:g} is not below {self.below:g}")
        if (self.above, self.below) == (-1.0, 1.0):
            raise SpecError(path, "a correlation needs a bound: above, below or both")

    def run(self, cells: Cells, alpha: float = ALPHA) -> Finding:
        pair = [measures(cells, name) for name in self.of]
        asked_of = cells.mask(self.where)
        taken = asked_of & pair[0].known & pair[1].known
        if not taken.any():
            absent = [one for one in pair if not (asked_of & one.known).any()]
            missing = [s for one in absent for s in why_none(one, self.where, {"all": ()})]
            text = f"No stack has both {' and '.join(self.of)}: add networks to the study."
            return Finding.untestable(list(dict.fromkeys(missing)) or [text])
        rows = self._groups(cells, taken)
        weights = [len({cells.subjects[row] for row in group}) for group in rows]
        networks = {cells.subjects[row] for group in rows for row in group}
        if not rows:
            inside = f" of one {' and '.join(self.within)}" * bool(self.within)
            both = " and ".join(self.of)
            text = f"Fewer than {_FEWEST} networks{inside} were measured in both {both}."
            return Finding.untestable([f"{text} Add networks to the study."], text)
        few = self.too_few(networks)
        if few:
            return few
        groups = [_Group(pair, group) for group in rows]
        rho = _mean([group.rho for group in groups], weights)
        if math.isnan(rho):
            text = f"One of {' and '.join(self.of)} is the same for all of these stacks."
            return Finding.untestable([f"{text} Add networks that differ in it."], text)
        free = len(networks) - 3 * len(groups)  # a group of n has n − 3 degrees of freedom
        here, sure = (_ends(groups, weights, chance) for chance in (ALPHA, alpha))
        others = fisher(rho, free, ranks=True)
        if self.about == "networks like these":
            sure = fisher(rho, free, ranks=True, z=NormalDist().inv_cdf(1 - alpha))
        stacks = sum(len(group) for group in rows)
        counted = f"{stacks} stacks of {len(networks)} networks"
        keys = tuple(cells.keys[row] for group in rows for row in group)
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
            f"The rank correlation of {self.of[0]} and {self.of[1]} is {main.shown} over {counted}"
        )
        sentence = f"{text}; asked is {asked}."
        return Finding(self._word(*sure), sentence, numbers, settings=len(networks))

    def _word(self, low: float, high: float) -> Word:
        return word(
            (self.above == -1 or low > self.above) and (self.below == 1 or high < self.below),
            (self.above != -1 and high <= self.above) or (self.below != 1 and low >= self.below),
        )

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


@dataclass(frozen=True)
class _Numbers:
    """The different numbers of a quantity in a group of rows. What is the same for several stacks
    of a network, such as its accuracy where they compute alike, is one. ``which``: (rows,) numbers.
    ``times``: (n,) rows each has. ``apart``: (n, n) differences, on logarithms for ratios, and
    ``error``, theirs in standard errors."""

    which: NDArray[np.intp]
    times: NDArray[np.intp]
    apart: Floats
    error: Floats

    @classmethod
    def of(cls, one: Measures, group: NDArray[np.intp]) -> _Numbers:
        ends = np.stack([one.value, one.low, one.high])[:, group]
        if one.quantity.scale == "ratio":
            ends = np.log(ends)
        _, network = np.unique([one.cells.subjects[row] for row in group], return_inverse=True)
        (value, low, high, _), which, times = np.unique(
            np.vstack([ends, network]), axis=1, return_inverse=True, return_counts=True
        )
        apart = value[:, None] - value
        error = np.hypot((value - low)[:, None], high - value) / Z_95  # of a number over another
        return cls(which.ravel(), times, apart, np.where(apart > 0, error, error.T))

    def ranks(self, toward: Floats | None = None, z: float = 0.0) -> Floats:
        """(rows,) ranks about their mean; pairs less than ``z`` errors apart may be in either order
        and are in that of ``toward`` (rows,)."""
        order = np.sign(self.apart)
        if toward is not None:
            place = np.bincount(self.which, toward) / self.times
            free = np.abs(self.apart) < z * self.error
            order = np.where(free, np.sign(place[:, None] - place), order)
        return np.asarray((order @ self.times / 2)[self.which])


class _Group:
    def __init__(self, pair: Sequence[Measures], rows: NDArray[np.intp]) -> None:
        self._x, self._y = (_Numbers.of(one, rows) for one in pair)
        self._ranks = x, y = self._x.ranks(), self._y.ranks()
        self._norm = math.sqrt((x @ x) * (y @ y))
        self.unsure = any(np.isnan(one.error).any() for one in (self._x, self._y))
        self.rho = float(x @ y) / self._norm if self._norm > 0 else NAN

    def end(self, sign: int, z: float) -> float:
        """The most (for a sign of −1, the least) that the correlation can be."""
        if self.unsure or math.isnan(self.rho):
            return NAN
        y = self._y.ranks(sign * self._ranks[0], z)
        x = self._x.ranks(sign * y, z)
        return max(-1.0, min(1.0, float(x @ y) / self._norm))


def _ends(groups: Sequence[_Group], weights: Sequence[int], alpha: float) -> tuple[float, float]:
    """The least and the most that the mean correlation can be. Numbers without an interval make
    them unknown, so they decide nothing."""
    if any(group.unsure for group in groups):
        return NAN, NAN
    z = NormalDist().inv_cdf(1 - alpha / _MISLEADING)
    low, high = (_mean([group.end(sign, z) for group in groups], weights) for sign in (-1, 1))
    return low, high


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    """Of those that are known."""
    known = [(v, w) for v, w in zip(values, weights, strict=True) if not math.isnan(v)]
    return sum(v * w for v, w in known) / sum(w for _, w in known) if known else NAN
