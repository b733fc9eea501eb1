"""Whether the runs of one stack fall into several groups, which a median and its interval hide."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Fewer samples show groups by chance; a smaller group is outliers.
FEWEST = 80
SMALLEST_SHARE = 0.1
#: Between two groups the density falls below this share of the lower one's peak.
VALLEY = 0.5
#: Of the logarithm: what lies nearer than about a hundredth is one group, such as ticks of a clock.
NARROWEST = 0.005
_GRID = 200
#: Of more samples, so many evenly spaced quantiles stand for all: they bound memory and time.
_MOST = 1_000
_HALF_OF_NORMAL = 1.349  # standard deviations that hold half of a normal distribution
_REACH = 3.0  # bandwidths, beyond the extremes


class Mode(NamedTuple):
    """A group of runs: where it is densest, in seconds, and its share of all runs."""

    seconds: float
    share: float


def modes(samples_s: NDArray[np.float64]) -> list[Mode]:
    """The groups in samples (positive, in seconds), the fastest first; one where there are fewer
    than ``FEWEST`` samples or no spread, and none for no samples.

    Peaks of a Gaussian kernel estimate over log latency, bandwidth by Silverman's rule (Density
    Estimation, 1986, eq. 3.28); neighbours without a clear valley between them, and groups smaller
    than ``SMALLEST_SHARE``, are joined to the next."""
    if len(samples_s) == 0:
        return []
    values = np.sort(np.log(samples_s))
    if len(values) > _MOST:
        values = values[np.linspace(0, len(values) - 1, _MOST).round().astype(np.intp)]
    if len(values) < FEWEST or values[0] == values[-1]:
        return [Mode(float(np.median(samples_s)), 1.0)]
    width = max(_bandwidth(values), NARROWEST)
    reach = _REACH * width
    grid = np.linspace(values[0] - reach, values[-1] + reach, _points(values, width))
    density = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2).sum(axis=1)
    cuts = _cuts(density, grid, values)
    ends = [0, *np.searchsorted(values, grid[cuts]), len(values)]
    parts = [0, *cuts, len(grid)]
    return [
        Mode(
            float(np.exp(grid[first + int(np.argmax(density[first:last]))])),
            float(end - start) / len(values),
        )
        for (first, last), (start, end) in zip(pairwise(parts), pairwise(ends), strict=True)
    ]


def _bandwidth(values: NDArray[np.float64]) -> float:
    """Silverman's, with the shortest half of the samples for their spread: of several groups it
    lies within one, while a standard deviation or quartiles would span them."""
    half = len(values) // 2
    shortest = float((values[half:] - values[: len(values) - half]).min())
    scale = shortest / _HALF_OF_NORMAL or float(values.std())
    return float(1.06 * scale * len(values) ** -0.2)


def _points(values: NDArray[np.float64], width: float) -> int:
    """Enough for two per bandwidth, as far as memory allows."""
    return int(np.clip(2 * (values[-1] - values[0]) / width, _GRID, 10 * _GRID))


def _cuts(
    density: NDArray[np.float64], grid: NDArray[np.float64], values: NDArray[np.float64]
) -> list[int]:
    """Places on the grid that part groups: the deepest valleys first."""
    inner = density[1:-1]
    valleys = 1 + np.flatnonzero((inner <= density[:-2]) & (inner < density[2:]))
    cuts: list[int] = []
    for valley in sorted(valleys, key=lambda at: density[at]):
        tried = sorted([*cuts, int(valley)])
        parts = [0, *tried, len(grid)]
        peaks = [density[a:b].max() for a, b in pairwise(parts)]
        ends = [0, *np.searchsorted(values, grid[tried]), len(values)]
        shares = np.diff(ends) / len(values)
        at = tried.index(int(valley))
        clear = density[valley] <= VALLEY * min(peaks[at], peaks[at + 1])
        if clear and min(shares[at], shares[at + 1]) >= SMALLEST_SHARE:
            cuts = tried
    return cuts
