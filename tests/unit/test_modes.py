"""Groups of runs: planted ones are found, skew and outliers are none."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dlas.analysis.modes import FEWEST, SMALLEST_SHARE, modes

RUNS, DRAWS = 150, 100
Draw = Callable[[np.random.Generator], NDArray[np.float64]]


def two(share: float, apart: float, noise: float = 0.02) -> Draw:
    """A share of the runs is slower by a factor."""
    return lambda random: (
        1e-3
        * np.where(random.random(RUNS) < share, apart, 1.0)
        * (1 + noise * random.standard_normal(RUNS))
    )


ONE: dict[str, Draw] = {
    "normal": lambda random: 1e-3 * (1 + 0.02 * random.standard_normal(RUNS)),
    "skewed": lambda random: 1e-3 * random.lognormal(0, 0.5, RUNS),
    "a sharp edge": lambda random: 1e-3 * (1 + random.exponential(0.1, RUNS)),
    "heavy tails": lambda random: 1e-3 * np.exp(0.02 * random.standard_t(2, RUNS)),
    "even": lambda random: 1e-3 * (1 + 0.1 * random.random(RUNS)),
}
TWO: dict[str, Draw] = {
    "halves": two(0.5, 1.2),
    "a fifth": two(0.2, 1.2),
    "with an outlier": lambda random: np.append(two(0.4, 1.15, 0.01)(random), 1e-2),
}


def found(draw: Draw) -> list[int]:
    return [len(modes(draw(np.random.default_rng(seed)))) for seed in range(DRAWS)]


@pytest.mark.parametrize("name", ONE)
def test_one_group_is_one(name: str) -> None:
    assert sum(many > 1 for many in found(ONE[name])) <= 0.05 * DRAWS


@pytest.mark.parametrize("name", TWO)
def test_two_groups_are_two(name: str) -> None:
    assert sum(many == 2 for many in found(TWO[name])) >= 0.95 * DRAWS


def test_groups_are_told_by_where_and_how_many() -> None:
    fast, slow = modes(two(0.3, 1.5)(np.random.default_rng(0)))
    assert fast.seconds == pytest.approx(1e-3, rel=0.02)
    assert slow.seconds == pytest.approx(1.5e-3, rel=0.02)
    assert slow.share == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_a_hundred_thousand_runs_take_little_memory(share: float) -> None:
    random = np.random.default_rng(0)
    runs = 1e-3 * np.where(random.random(100_000) < share, 1.2, 1.0)
    runs *= 1 + 0.02 * random.standard_normal(100_000)
    tracemalloc.start()
    fast, slow = modes(runs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
    assert (fast.seconds, slow.seconds) == pytest.approx((1e-3, 1.2e-3), rel=0.02)
    assert slow.share == pytest.approx(share, abs=0.01)


@given(st.lists(st.floats(1e-7, 1e3), max_size=2 * FEWEST))
def test_shares_add_up_and_groups_are_in_order(samples: list[float]) -> None:
    values = np.array(samples)
    own = modes(values)
    assert bool(own) == bool(samples)
    if samples:
        assert sum(mode.share for mode in own) == pytest.approx(1)
        assert all(mode.share >= SMALLEST_SHARE for mode in own)
        assert [mode.seconds for mode in own] == sorted(mode.seconds for mode in own)


@pytest.mark.parametrize("samples", [[], [1e-3], [1e-3] * RUNS, [1e-3, 2e-3] * 3])
def test_too_little_to_tell_is_one_group_at_most(samples: list[float]) -> None:
    assert len(modes(np.array(samples))) == min(1, len(samples))
