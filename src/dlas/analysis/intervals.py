"""Intervals, and when two numbers cannot be told apart."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share in [0, 1] seen on ``count`` ≥ 1 images (Wilson 1927, score interval:
    honest near 0 and 1, where the normal approximation is not). NaN gives NaN."""
    spread = Z_95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def overlap(low: float, high: float, other_low: float, other_high: float) -> bool | None:
    """Whether two intervals share a point; None where an end is NaN, so nothing is known."""
    if any(math.isnan(end) for end in (low, high, other_low, other_high)):
        return None
    return bool(low <= other_high and other_low <= high)
