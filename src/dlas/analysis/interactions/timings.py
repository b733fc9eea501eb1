"""Whether one stack is faster than another by more than a margin, for many pairs at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr

from dlas.analysis.intervals import MARGIN_APART, Z_95

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

#: Less does not matter in practice.
MARGIN = 0.02
_FEWEST = 3  # rounds for a test


class Compared(NamedTuple):
    """``gap``: log(slow / fast), (k,); ``error``: its standard deviation; ``chance``: the p-value
    of a gap no larger than the margin; ``apart``: whether the two medians' intervals do not touch
    and the gap is larger than the margin."""

    gap: Floats
    error: Floats
    chance: Floats
    apart: Bools


class Timings:
    """Latencies of n stacks as logarithms. ``middle``: medians; ``error``: the standard deviation
    of each median, from its interval; NaN where unknown. ``keys``: of the stacks."""

    def __init__(self, stacks: pd.DataFrame, rounds: Mapping[str, Floats] | None) -> None:
        middle, low, high = (
            np.log(stacks[name].to_numpy(np.float64, na_value=np.nan))
            for name in ("latency_s", "latency_low_s", "latency_high_s")
        )
        self.middle, self.low, self.high = middle, low, high
        self.error = (high - low) / (2 * Z_95)
        self.keys = stacks["key"].to_numpy(object)
        groups = stacks["group"].astype(object).fillna("").astype(str)
        self._group = pd.factorize(groups)[0]
        self._group[groups.to_numpy() == ""] = -1
        found = [(rounds or {}).get(key, ()) for key in self.keys]
        self._count = np.array([len(values) for values in found], np.intp)
        self._rounds = np.full((len(found), int(self._count.max(initial=0))), np.nan)
        for row, values in zip(self._rounds, found, strict=True):
            row[: len(values)] = np.log(values)

    def compare(self, fast: Ints, slow: Ints) -> Compared:
        """(k,) rows each."""
        gap = self.middle[slow] - self.middle[fast]
        error = np.hypot(self.error[slow], self.error[fast])
        beside = (self._group[fast] == self._group[slow]) & (self._group[fast] >= 0)
        margin = np.log1p(np.where(beside, MARGIN, MARGIN_APART))
        with np.errstate(divide="ignore", invalid="ignore"):
            chance = ndtr((margin - gap) / error)
        chance = np.where(np.isfinite(chance), chance, 1.0)
        shared = np.minimum(self._count[fast], self._count[slow])
        at = np.flatnonzero(beside & (shared >= _FEWEST))
        if len(at):
            chance[at] = self._t_test(fast[at], slow[at], margin[at])
        apart = (self.high[fast] < self.low[slow]) & (gap > margin)
        return Compared(gap, error, chance, apart)

    def _t_test(self, fast: Ints, slow: Ints, margin: Floats) -> Floats:
        """Student's, over the rounds that both took, so that drift meets both."""
        gaps = self._rounds[slow] - self._rounds[fast]
        n = np.isfinite(gaps).sum(axis=1)
        mean, deviation = np.nanmean(gaps, axis=1), np.nanstd(gaps, axis=1, ddof=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            chance: Floats = stdtr(n - 1, (margin - mean) / (deviation / np.sqrt(n)))
        return np.where(deviation > 0, chance, np.where(mean > margin, 0.0, 1.0))


def adjusted(chances: Floats) -> Floats:
    """p-values that bound the share of false findings among all that are at most as large
    (Benjamini & Hochberg 1995)."""
    order = np.argsort(chances)
    scaled = chances[order] * len(chances) / np.arange(1, len(chances) + 1)
    found = np.empty_like(chances)
    found[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return found
