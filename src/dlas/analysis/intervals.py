"""Intervals, and when two numbers cannot be told apart."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
#: A latency ratio of stacks that were not timed side by side is no surer than this, whatever their
#: intervals: the machine drifts between sessions.
MARGIN_APART = 0.05


def wilson(share: float, count: float) -> tuple[float, float]:
    """95 % interval of a share in [0, 1] seen on ``count`` images (Wilson 1927, score interval:
    honest near 0 and 1, where the normal approximation is not). NaN where either is unknown."""
    if math.isnan(share) or not count >= 1:
        return math.nan, math.nan
    spread = Z_95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def fisher(value: float, free: int, ranks: bool, z: float = Z_95) -> tuple[float, float]:
    """95 % interval, or of ``z`` standard errors, of a correlation (Fisher's z), wider for one of
    ranks (Bonett & Wright, Psychometrika 65, 2000). ``free``: independent points, less 3 of every
    group; NaN where none are left. Ranks of n points tell no correlation from 1 that is within half
    of their last step, 6 / (n³ − n): order by chance is no certainty."""
    if free <= 0 or math.isnan(value):
        return math.nan, math.nan
    points = free + 3
    most = 1 - (6 / (points**3 - points) if ranks else 1e-12)
    middle = math.atanh(min(max(value, -most), most))
    half = z * math.sqrt((1 + value**2 / 2 if ranks else 1) / free)
    return min(math.tanh(middle - half), value), max(math.tanh(middle + half), value)


def overlap(low: float, high: float, other_low: float, other_high: float) -> bool | None:
    """Whether two intervals share a point; None where an end is NaN, so nothing is known."""
    if any(math.isnan(end) for end in (low, high, other_low, other_high)):
        return None
    return bool(low <= other_high and other_low <= high)
