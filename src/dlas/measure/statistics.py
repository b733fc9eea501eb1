"""Statistics of latency samples: functions of the samples alone, free of assumptions on their
distribution, which for latencies is skewed and has several modes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
#: Samples that give an interval.
_FEWEST = 6
#: For a normal distribution: standard deviation / median absolute deviation.
_MAD_TO_SIGMA = 1.4826

#: One-dimensional, finite; latencies are positive.
Samples = Sequence[float] | NDArray[np.float64]


class Estimate(NamedTuple):
    """A median, or a ratio of medians, with its interval; both ends are None where there are too
    few samples for one."""

    value: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float:
        """The farther end, relative to the value; infinity where there is no interval."""
        if self.low is None or self.high is None:
            return math.inf
        return max(self.high - self.value, self.value - self.low) / abs(self.value)


class Drift(NamedTuple):
    """``change``: median of the last half / median of the first half − 1. ``certain``: the two
    halves' intervals do not touch."""

    change: float
    certain: bool


def median(samples: Samples) -> float:
    """The middle sample, or the mean of the two middle ones. ValueError for no samples."""
    if len(samples) == 0:
        raise ValueError("the median of no samples")
    return float(np.median(np.asarray(samples, float)))


def median_interval(samples: Samples, confidence: float = CONFIDENCE) -> Estimate:
    """The median, and the two order statistics that enclose the true median with at least this
    probability, whatever the distribution (David & Nagaraja, Order Statistics, 7.1): the count of
    samples below the true median is binomial(n, 1/2). There are none for n < 6 at 95 %.

    Exact for independent samples; ``rounds_interval`` is for those that were taken in blocks."""
    rank = _rank(len(samples), confidence)
    if rank is None:
        return Estimate(median(samples), None, None)
    ordered = np.sort(np.asarray(samples, float))
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return Estimate(float(middle), float(ordered[rank - 1]), float(ordered[-rank]))


@cache
def _rank(n: int, confidence: float) -> int | None:
    """The largest k with P(binomial(n, 1/2) < k) ≤ (1 − confidence) / 2; None where that is 0."""
    allowed = Fraction(1 - confidence) / 2 * 2**n
    k, chosen = 0, 1  # chosen = n over k
    below = chosen
    while below <= allowed:
        chosen = chosen * (n - k) // (k + 1)
        k += 1
        below += chosen
    return k or None


def round_medians(samples: Samples, blocks: Sequence[int]) -> NDArray[np.float64]:
    """(rounds,) The median of each block of consecutive samples."""
    ends = np.cumsum(np.asarray(blocks, int))
    parts = np.split(np.asarray(samples, float), ends[:-1])
    return np.array([np.median(part) for part in parts if len(part)])


def rounds_interval(samples: Samples, blocks: Sequence[int]) -> Estimate:
    """The median with its 95 % interval, of samples taken in rounds, ``blocks`` samples each.

    Samples of a block were taken within moments and have much in common: a busy neighbour, the
    clock, where memory lies. So the interval is at least as wide as the rounds differ: that of
    Student's t over the logarithms of their medians. There is none for fewer than two rounds."""
    within = median_interval(samples)
    across = _t_interval(np.log(round_medians(samples, blocks)))
    if within.low is None or within.high is None or across is None:
        return Estimate(within.value, None, None)
    reach = math.exp(across.half)
    return Estimate(
        within.value, min(within.low, within.value / reach), max(within.high, within.value * reach)
    )


def ratio_of_rounds(numerator: Samples, denominator: Samples) -> Estimate:
    """Geometric mean of the ratios of latencies taken side by side, one pair per round, with
    Student's interval over the rounds: drift that meets both sides cancels. Only the rounds that
    both took count; there is no interval for fewer than two."""
    shared = min(len(numerator), len(denominator))
    gaps = np.log(np.asarray(numerator, float)[:shared] / np.asarray(denominator, float)[:shared])
    found = _t_interval(gaps)
    if found is None:
        return Estimate(float(np.exp(gaps.mean())) if shared else math.nan, None, None)
    ends = found.mean - found.half, found.mean + found.half
    return Estimate(math.exp(found.mean), math.exp(ends[0]), math.exp(ends[1]))


class _Mean(NamedTuple):
    mean: float
    half: float


def _t_interval(values: NDArray[np.float64]) -> _Mean | None:
    n = len(values)
    if n < 2:
        return None
    deviation = float(values.std(ddof=1)) if np.ptp(values) else 0.0
    return _Mean(float(values.mean()), t_factor(n - 1) * deviation / math.sqrt(n))


@cache
def t_factor(degrees: int) -> float:
    """Half of the 95 % interval of Student's t, in standard errors."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def runs_missing(runs: int, width: float, within: float) -> int:
    """About how many more runs would bring a median's interval, ``width`` on its farther side, to
    ``within``: it shrinks with the square root of their number. 0 when it is that narrow already;
    an unknown one needs six at least."""
    if width <= within:
        return 0
    if math.isinf(width):
        return max(1, _FEWEST - runs)
    return max(1, math.ceil(runs * (width / within) ** 2) - runs)


def spread(samples: Samples) -> float:
    """The robust relative standard deviation: 1.4826 · median absolute deviation / median."""
    middle = median(samples)
    return _MAD_TO_SIGMA * median(np.abs(np.asarray(samples, float) - middle)) / middle


def outlier_share(samples: Samples) -> float:
    """The share of samples farther than 3 interquartile ranges outside the quartiles (Tukey's
    outer fences)."""
    values = np.asarray(samples, float)
    first, third = np.quantile(values, [0.25, 0.75])
    reach = 3 * (third - first)
    return float(np.mean((values < first - reach) | (values > third + reach)))


def drift(samples: Samples) -> Drift:
    """The last half of the samples, in order of time, against the first half."""
    half = len(samples) // 2
    if half == 0:
        return Drift(0.0, False)
    first, last = median_interval(samples[:half]), median_interval(samples[-half:])
    change = last.value / first.value - 1
    if first.low is None or first.high is None or last.low is None or last.high is None:
        return Drift(change, False)
    return Drift(change, first.high < last.low or last.high < first.low)


def paired_ratio(
    numerator: Samples, denominator: Samples, confidence: float = CONFIDENCE
) -> Estimate:
    """Median of the ratios of samples taken side by side (one pair per round of interleaved
    contenders), with its exact interval: drift that meets both sides cancels. ValueError where
    the lengths differ."""
    if len(numerator) != len(denominator):
        raise ValueError(f"{len(numerator)} and {len(denominator)} samples make no pairs")
    ratios = np.asarray(numerator, float) / np.asarray(denominator, float)
    return median_interval(ratios, confidence)
