"""Where to cut a tensor's values off: the ends of the range that 8 bits are spread over.

A wider range clips fewer values, a narrower one rounds all others finer. ONNX Runtime's own
calibrators cut both sides at the same distance from zero, and its ``Entropy`` has as many bins as
levels, so that there is nothing to choose: these are here for asymmetric ranges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Calibration = Literal["min_max", "percentile", "mse", "entropy"]
Range = tuple[float, float]
Loss = Callable[["Histogram", float, float], float]

#: Levels of an 8-bit tensor, beside the one of zero.
STEPS = 255
BINS = 16 * (STEPS + 1)
#: Ends that are tried, as shares of the farthest value: the lowest leaves a bin for every level.
SHARES = tuple(np.geomspace(1, 1 / 16, 48).tolist())


@dataclass(frozen=True)
class Histogram:
    """How many values lie where, from ``low`` ≤ 0 to ``high`` ≥ 0, in ``BINS`` equal bins.
    ``counts`` holds the values other than zero: zero, often half of them, has a level of its own in
    every range. ``zeros`` counts those."""

    low: float
    high: float
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    zeros: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    @property
    def centres(self) -> NDArray[np.float64]:
        return self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS

    def add(self, values: NDArray[np.float32]) -> None:
        """Count values that lie between ``low`` and ``high``."""
        nonzero = values[values != 0]
        per_bin = np.float32(BINS / (self.high - self.low))
        bins = (nonzero * per_bin - np.float32(self.low) * per_bin).astype(np.int64)
        self.counts[:] += np.bincount(bins.clip(0, BINS - 1), minlength=BINS)
        self.zeros[:] += values.size - nonzero.size


def clipped(histogram: Histogram, method: Calibration, percentile: float) -> Range:
    """The ends of the range, (≤ 0, ≥ 0), by one of the methods:

    ``percentile``: holds that share of the values, in %; as many are cut off at both ends.
    ``mse``: the squared error of clipping and rounding is least.
    ``entropy``: rounding loses least information (Migacz 2017, "8-bit Inference with TensorRT").
    """
    if method == "min_max":
        return histogram.low, histogram.high
    if method == "percentile":
        return _quantiles(histogram, percentile / 100)
    return _least(histogram, squared_error if method == "mse" else divergence)


def squared_error(histogram: Histogram, low: float, high: float) -> float:
    """The sum over all values of the squared distance to the level they are rounded to."""
    centres = histogram.centres
    step = (high - low) / STEPS
    errors = _levels(centres, low, high) * step - centres
    return float(histogram.counts @ errors**2)


def divergence(histogram: Histogram, low: float, high: float) -> float:
    """The Kullback-Leibler divergence, in nats, of the values after rounding from the values, both
    as distributions over the bins. Rounding spreads what a level holds evenly over its bins; what
    is clipped belongs to the outermost bins of the values, and to none after rounding."""
    centres = histogram.centres
    first, end = np.searchsorted(centres, (low, high))
    counts = histogram.counts[first:end]
    levels = _levels(centres[first:end], low, high)
    levels -= levels[0]
    filled = counts > 0
    means = np.bincount(levels, counts) / np.maximum(np.bincount(levels, filled), 1)
    rounded = means[levels] * filled
    given = counts.astype(np.float64)
    given[0] += histogram.counts[:first].sum()
    given[-1] += histogram.counts[end:].sum()
    if not rounded.any():
        return np.inf
    p, q = given / given.sum(), rounded / rounded.sum()
    known = p > 0
    return float(p[known] @ np.log(p[known] / np.maximum(q[known], 1e-10)))


def _levels(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.int64]:
    """The whole number of steps from zero that each value is rounded to."""
    step = (high - low) / STEPS
    lowest = int(np.rint(low / step))
    levels: NDArray[Any] = np.rint(values / step).clip(lowest, lowest + STEPS)
    return levels.astype(np.int64)


def _quantiles(histogram: Histogram, share: float) -> Range:
    counts = histogram.counts.copy()
    width = (histogram.high - histogram.low) / BINS
    counts[min(int(-histogram.low / width), BINS - 1)] += histogram.zeros[0]
    held, cut = np.cumsum(counts) / counts.sum(), (1 - share) / 2
    first, last = int(np.searchsorted(held, cut, "right")), int(np.searchsorted(held, 1 - cut))
    low, high = histogram.low + first * width, histogram.low + min(last + 1, BINS) * width
    return min(low, 0.0), max(high, 0.0)


def _least(histogram: Histogram, loss: Loss) -> Range:
    """One end after the other, twice: the step is what both share."""
    low, high = histogram.low, histogram.high
    for _ in range(2):
        losses = [loss(histogram, low, end) for end in _ends(histogram.high)]
        high = _ends(histogram.high)[np.argmin(losses)]
        losses = [loss(histogram, end, high) for end in _ends(histogram.low)]
        low = _ends(histogram.low)[np.argmin(losses)]
    return low, high


def _ends(farthest: float) -> list[float]:
    return [farthest * share for share in SHARES] if farthest else [0.0]
