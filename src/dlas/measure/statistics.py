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
_DRAWS = 2000
#: A sample of a normal distribution: standard deviation / median absolute deviation.
_MAD_TO_SIGMA = 1.4826


class Interval(NamedTuple):
    low: float
    high: float


class Drift(NamedTuple):
    """``change``: median of the last half / median of the first half − 1. ``certain``: the two
    halves' intervals do not touch."""

    change: float
    certain: bool


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the two middle ones. ValueError for no samples."""
    if len(samples) == 0:
        raise ValueError("the median of no samples")
    return float(np.median(np.asarray(samples, float)))


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The interval between two order statistics that covers the true median with at least this
    probability, whatever the distribution (David & Nagaraja, Order Statistics, 7.1): the count of
    samples below the median is binomial(n, 1/2). None where n is too small (n < 6 for 95 %).

    Exact for independent samples; dependent ones make it too narrow, so sample over time."""
    rank = _rank(len(samples), confidence)
    if rank is None:
        return None
    ordered = np.sort(np.asarray(samples, float))
    return Interval(float(ordered[rank - 1]), float(ordered[len(samples) - rank]))


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


def half_width(samples: Sequence[float], confidence: float = CONFIDENCE) -> float:
    """The farther end of the median's interval, relative to the median; infinity where there is
    no interval."""
    interval = median_interval(samples, confidence)
    if interval is None:
        return math.inf
    middle = median(samples)
    return max(interval.high - middle, middle - interval.low) / middle


def runs_missing(samples: Sequence[float], within: float) -> int:
    """About how many more samples would bring ``half_width`` to ``within``: it shrinks with the
    square root of their number. At least 1 while it is wider, 0 when it is not."""
    width, n = half_width(samples), len(samples)
    if width <= within:
        return 0
    smallest = next(k for k in range(1, 100) if _rank(k, CONFIDENCE))
    if math.isinf(width):
        return max(1, smallest - n)
    return max(1, math.ceil(n * (width / within) ** 2) - n)


def spread(samples: Sequence[float]) -> float:
    """The robust relative standard deviation: 1.4826 · median absolute deviation / median."""
    values = np.asarray(samples, float)
    middle = median(samples)
    return _MAD_TO_SIGMA * float(np.median(np.abs(values - middle))) / middle


def outlier_share(samples: Sequence[float]) -> float:
    """The share of samples farther than 3 interquartile ranges outside the quartiles (Tukey's
    outer fences)."""
    values = np.asarray(samples, float)
    first, third = np.quantile(values, [0.25, 0.75])
    reach = 3 * (third - first)
    return float(np.mean((values < first - reach) | (values > third + reach)))


def drift(samples: Sequence[float]) -> Drift:
    """The last half of the samples, in order of time, against the first half."""
    half = len(samples) // 2
    if half == 0:
        return Drift(0.0, False)
    first, last = samples[:half], samples[-half:]
    change = median(last) / median(first) - 1
    a, b = median_interval(first), median_interval(last)
    return Drift(change, bool(a and b and (a.high < b.low or b.high < a.low)))


def ratio(
    numerator: Sequence[float],
    denominator: Sequence[float],
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> tuple[float, Interval | None]:
    """Ratio of two medians, with the percentile bootstrap's interval (Efron 1979), the two sides
    resampled apart. No interval below 6 samples on either side."""
    value = median(numerator) / median(denominator)
    if not (_rank(len(numerator), confidence) and _rank(len(denominator), confidence)):
        return value, None
    generator = np.random.default_rng(seed)
    above, below = (_medians(side, generator) for side in (numerator, denominator))
    tail = (1 - confidence) / 2
    low, high = np.quantile(above / below, [tail, 1 - tail])
    return value, Interval(float(low), float(high))


def paired_ratio(
    numerator: Sequence[float], denominator: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, Interval | None]:
    """Median of the ratios of samples taken side by side (one pair per round of interleaved
    contenders), with its exact interval: drift that meets both sides cancels. ValueError for
    lengths that differ."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    return median(ratios), median_interval(ratios, confidence)


def _medians(samples: Sequence[float], generator: np.random.Generator) -> NDArray[np.float64]:
    values = np.asarray(samples, float)
    drawn = generator.choice(values, size=(_DRAWS, len(values)))
    medians: NDArray[np.float64] = np.median(drawn, axis=1)
    return medians
