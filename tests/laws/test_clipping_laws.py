"""Laws of the ranges that activations are clipped to."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dlas.optimizations.clipping import (
    BINS,
    Calibration,
    Histogram,
    clipped,
    divergence,
    squared_error,
)

Values = NDArray[np.float32]
METHODS = st.sampled_from(get_args(Calibration))
SEEDS = st.integers(0, 2**16)
SHAPES = st.sampled_from(["normal", "relu", "uniform", "outlier", "negative", "constant", "few"])


def drawn(shape: str, seed: int, scale: float = 1.0) -> Values:
    random = np.random.default_rng(seed)
    values = random.normal(size=4000)
    if shape == "relu":
        values = values.clip(0)
    elif shape == "uniform":
        values = random.uniform(-1, 3, 4000)
    elif shape == "outlier":
        values[0] = 40
    elif shape == "negative":
        values = -np.abs(values)
    elif shape == "constant":
        values = np.full(10, -0.7)
    elif shape == "few":
        values = random.choice([0, 0, 1, 5], 100)
        values[0] = 5
    return (values * scale).astype(np.float32)


def counted(values: Values) -> Histogram:
    histogram = Histogram(float(values.min(initial=0)), float(values.max(initial=0)))
    for part in np.array_split(values, 3):
        histogram.add(part)
    return histogram


def rounded(values: Values, low: float, high: float) -> NDArray[np.float64]:
    """As QuantizeLinear and DequantizeLinear do."""
    step = (high - low) / 255
    zero = np.rint(-low / step)
    levels = (np.rint(values.astype(np.float64) / step) + zero).clip(0, 255)
    return np.asarray((levels - zero) * step)


@settings(max_examples=60, deadline=None)
@given(SHAPES, SEEDS, METHODS, st.sampled_from([1e-20, 1e-3, 1.0, 1e30]))
def test_ranges_hold_zero_and_lie_between_the_extremes(
    shape: str, seed: int, method: Calibration, scale: float
) -> None:
    values = drawn(shape, seed, scale)
    low, high = clipped(counted(values), method, 99.9)
    slack = 1e-6 * float(np.abs(values).max())
    assert low <= 0 <= high
    assert low < high
    assert min(values.min(), 0) - slack <= low
    assert high <= max(values.max(), 0) + slack
    if method == "min_max":
        assert (low, high) == (min(values.min(), 0), max(values.max(), 0))


@settings(max_examples=60, deadline=None)
@given(SHAPES, SEEDS, st.floats(60, 99.99))
def test_percentile_holds_its_share(shape: str, seed: int, percentile: float) -> None:
    values = drawn(shape, seed)
    low, high = clipped(counted(values), "percentile", percentile)
    slack = float(np.ptp(values)) / BINS
    held = (values >= low - slack) & (values <= high + slack)
    assert held.mean() >= percentile / 100 - 1e-9


@settings(max_examples=40, deadline=None)
@given(SHAPES, SEEDS)
def test_mse_errs_least(shape: str, seed: int) -> None:
    """Less than the whole range, than percentiles, and than any narrower one of a grid, but for
    what the bins of the histogram blur."""
    values = drawn(shape, seed)
    histogram = counted(values)
    error = squared_error(histogram, *clipped(histogram, "mse", 0))
    low, high = histogram.low, histogram.high
    others = [clipped(histogram, "percentile", p) for p in (99, 99.9)]
    others += [(low * share, high * share) for share in (1, 0.9, 0.7, 0.5, 0.2)]
    assert all(error <= 1.05 * squared_error(histogram, *other) for other in others)


@settings(max_examples=40, deadline=None)
@given(SHAPES, SEEDS, st.floats(0.3, 1))
def test_the_error_is_that_of_rounding_the_values(shape: str, seed: int, share: float) -> None:
    """Up to the width of a bin, a sixteenth of a step."""
    values = drawn(shape, seed)
    histogram = counted(values)
    low, high = share * histogram.low, share * histogram.high
    width = (histogram.high - histogram.low) / BINS
    actual = np.sqrt(np.square(rounded(values, low, high) - values).sum())
    assert np.sqrt(squared_error(histogram, low, high)) == pytest.approx(
        actual, abs=width * np.sqrt(len(values))
    )


@settings(max_examples=30, deadline=None)
@given(SHAPES, SEEDS, METHODS)
def test_scaling_the_values_scales_the_range(shape: str, seed: int, method: Calibration) -> None:
    values = drawn(shape, seed)
    small, large = (clipped(counted(values * k), method, 99.9) for k in (1, np.float32(1024)))
    assert large == pytest.approx((1024 * small[0], 1024 * small[1]))


def test_an_outlier_is_clipped_where_that_costs_less_than_it_brings() -> None:
    values = np.random.default_rng(0).normal(size=300_000).astype(np.float32)
    values[0] = 8
    assert clipped(counted(values), "min_max", 0)[1] == 8
    for method in ("percentile", "mse", "entropy"):
        assert 2 < clipped(counted(values), method, 99)[1] < 7, method
    values[0] = 1000
    assert clipped(counted(values), "mse", 0)[1] > 800, "this one costs more than all others"


def test_nothing_is_lost_where_nothing_is_merged() -> None:
    """Values that lie on 256 levels, one bin each, survive rounding: the divergence is zero."""
    values = np.repeat(np.arange(256), 3).astype(np.float32)
    assert divergence(counted(values), 0, 255) == pytest.approx(0, abs=1e-9)
    assert divergence(counted(values), 0, 100) > 0.1
