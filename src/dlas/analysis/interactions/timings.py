"""Whether one stack is faster than another by more than a margin, for many pairs at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betainc, ndtr

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

#: Less does not matter in practice.
MARGIN = 0.02
#: The same for stacks that were not timed side by side: the machine drifts between sessions.
MARGIN_APART = 0.05
_FEWEST = 6  # pairs of samples for a test
_Z_95 = 1.959963984540054


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

    def __init__(self, stacks: pd.DataFrame, samples: Mapping[str, Floats] | None) -> None:
        middle, low, high = (
            np.log(stacks[name].to_numpy(np.float64, na_value=np.nan))
            for name in ("latency_s", "latency_low_s", "latency_high_s")
        )
        self.middle, self.low, self.high = middle, low, high
        self.error = (high - low) / (2 * _Z_95)
        self.keys = stacks["key"].to_numpy(object)
        groups = stacks["group"].astype(object).fillna("").astype(str)
        self._group = pd.factorize(groups)[0]
        self._group[groups.to_numpy() == ""] = -1
        found = [(samples or {}).get(key, ()) for key in self.keys]
        self._runs = np.array([len(values) for values in found], np.intp)
        self._samples = np.full((len(found), int(self._runs.max(initial=0))), np.nan, np.float32)
        for row, values in zip(self._samples, found, strict=True):
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
        paired = beside & (self._runs[fast] == self._runs[slow]) & (self._runs[fast] >= _FEWEST)
        at = np.flatnonzero(paired)
        if len(at):
            chance[at] = self._sign_test(fast[at], slow[at], margin[at])
        apart = (self.high[fast] < self.low[slow]) & (gap > margin)
        return Compared(gap, error, chance, apart)

    def _sign_test(self, fast: Ints, slow: Ints, margin: Floats) -> Floats:
        """Of samples taken in the same rounds, so that drift meets both: exact, whatever the
        distribution."""
        longer = self._samples[slow] - self._samples[fast] > margin[:, None].astype(np.float32)
        wins, runs = longer.sum(axis=1), self._runs[fast]
        tail: Floats = betainc(np.maximum(wins, 1), runs - wins + 1, 0.5)
        return np.where(wins == 0, 1.0, tail)


def adjusted(chances: Floats) -> Floats:
    """p-values that bound the share of false findings among all that are at most as large
    (Benjamini & Hochberg 1995)."""
    order = np.argsort(chances)
    scaled = chances[order] * len(chances) / np.arange(1, len(chances) + 1)
    found = np.empty_like(chances)
    found[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return found
