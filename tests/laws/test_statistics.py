"""Laws of the statistics that every reported latency rests on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlas.measure.statistics import (
    drift,
    median,
    median_interval,
    outlier_share,
    paired_ratio,
    ratio_of_rounds,
    round_medians,
    rounds_interval,
    runs_missing,
    spread,
)

latencies = st.floats(1e-6, 1e3)
samples = st.lists(latencies, min_size=1, max_size=60)
many = st.lists(latencies, min_size=6, max_size=60)
powers = st.sampled_from([2.0**k for k in range(-8, 9)])


@settings(max_examples=50, deadline=None)
@given(samples.flatmap(lambda values: st.tuples(st.just(values), st.permutations(values))))
def test_order_does_not_matter(both: tuple[list[float], list[float]]) -> None:
    values, shuffled = both
    for function in (median, median_interval, spread, outlier_share):
        assert function(shuffled) == function(values)


@settings(max_examples=50, deadline=None)
@given(many, powers)
def test_units_do_not_matter(values: list[float], unit: float) -> None:
    scaled = [unit * value for value in values]
    before, after = median_interval(values), median_interval(scaled)
    assert before.low is not None
    assert before.high is not None
    assert after == (unit * before.value, unit * before.low, unit * before.high)
    assert spread(scaled) == spread(values)
    assert outlier_share(scaled) == outlier_share(values)
    assert drift(scaled) == drift(values)


@settings(max_examples=50, deadline=None)
@given(samples)
def test_the_interval_holds_the_median_and_is_made_of_samples(values: list[float]) -> None:
    value, low, high = median_interval(values)
    if len(values) < 6:
        assert (low, high) == (None, None)
        assert median_interval(values).half_width == math.inf
    else:
        assert low is not None
        assert high is not None
        assert low <= value <= high
        assert {low, high} <= set(values)


@settings(max_examples=50, deadline=None)
@given(many, st.integers(1, 5))
def test_more_confidence_is_wider(values: list[float], tenths: int) -> None:
    narrow, wide = median_interval(values, tenths / 10), median_interval(values)
    assert wide.half_width >= narrow.half_width


@pytest.mark.parametrize("n", [6, 7, 20, 50, 149, 150])
@pytest.mark.parametrize("shape", ["skewed", "two modes"])
def test_the_interval_covers_the_true_median(n: int, shape: str) -> None:
    random = np.random.default_rng(n)
    drawn = random.lognormal(size=(4000, n))
    truth = 1.0
    if shape == "two modes":
        drawn += 10 * (random.random(drawn.shape) < 0.3)
        # 0.7 F(x) = 1/2 below the upper mode: the lognormal's quantile 5/7.
        truth = math.exp(0.5659488219328631)
    ends = np.array([median_interval(row)[1:] for row in drawn])
    covered = np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
    assert covered >= 0.94


@pytest.mark.parametrize("rounds", [5, 10, 40])
def test_what_a_round_has_in_common_widens_the_interval(rounds: int) -> None:
    """150 samples whose rounds differ: as independent ones they would look surer than they are."""
    random = np.random.default_rng(rounds)
    blocks = [150 // rounds] * rounds
    covered = {"as if independent": 0, "in rounds": 0}
    for _ in range(1000):
        common = np.repeat(random.normal(0, 0.01, rounds), blocks)
        drawn = np.exp(common + random.normal(0, 0.01, len(common)))
        for name, found in (
            ("as if independent", median_interval(drawn)),
            ("in rounds", rounds_interval(drawn, blocks)),
        ):
            assert found.low is not None
            assert found.high is not None
            covered[name] += found.low <= 1.0 <= found.high
    assert covered["in rounds"] >= 935
    assert covered["as if independent"] < 0.9 * 1000 or rounds == 40


def test_rounds_pair_whatever_their_blocks() -> None:
    """Two equal executables that drift together, one in blocks of 30 and one in blocks of 4."""
    random, wrong = np.random.default_rng(0), 0
    for _ in range(1000):
        drift = np.cumsum(random.normal(0, 0.01, 40))
        medians = []
        for rounds, size in ((5, 30), (38, 4)):
            values = np.repeat(drift[:rounds], size) + random.normal(0, 0.01, rounds * size)
            medians.append(round_medians(np.exp(values), [size] * rounds))
        found = ratio_of_rounds(*medians)
        assert found.low is not None
        assert found.high is not None
        wrong += not found.low <= 1.0 <= found.high
    assert wrong <= 65


def test_rounds_of_one_kind_are_certain_and_one_round_tells_nothing() -> None:
    assert rounds_interval([2.0] * 12, [4, 4, 4]) == (2.0, 2.0, 2.0)
    assert rounds_interval([2.0] * 12, [12]) == (2.0, None, None)
    assert round_medians([1.0, 3.0, 5.0, 9.0], [3, 1]).tolist() == [3.0, 9.0]
    assert ratio_of_rounds([2.0], [1.0]) == (2.0, None, None)
    assert math.isnan(ratio_of_rounds([], [1.0]).value)


@pytest.mark.parametrize(
    "n, rank", [(6, 1), (9, 2), (10, 2), (20, 6), (25, 8), (50, 18), (100, 40)]
)
def test_ranks_are_the_tables(n: int, rank: int) -> None:
    """Ranks of the exact 95 % interval, as printed in Conover, Practical Nonparametric
    Statistics."""
    _, low, high = median_interval(list(range(1, n + 1)))
    assert (low, high) == (rank, n + 1 - rank)


def test_many_samples_are_no_trouble() -> None:
    _, low, high = median_interval(np.arange(20_000.0))
    assert low is not None
    assert high is not None
    assert 0.95 <= (high - low) / (1.96 * math.sqrt(20_000)) <= 1.05


def test_runs_missing_is_what_narrows_the_interval() -> None:
    random = np.random.default_rng(1)
    some = random.lognormal(sigma=0.2, size=40)
    missing = runs_missing(len(some), median_interval(some).half_width, 0.02)
    assert missing > 0
    enough = random.lognormal(sigma=0.2, size=40 + missing)
    assert median_interval(enough).half_width < 2 * 0.02
    assert runs_missing(6, 0.01, 0.01) == 0
    assert [runs_missing(n, math.inf, 0.01) for n in (1, 3, 5, 9)] == [5, 3, 1, 1]


def test_no_samples_have_no_median() -> None:
    with pytest.raises(ValueError, match="no samples"):
        median([])


@settings(max_examples=50, deadline=None)
@given(samples, powers)
def test_pairs_cancel_what_meets_both(values: list[float], speedup: float) -> None:
    fast = [value * speedup for value in values]  # however the machine drifted
    found = paired_ratio(fast, values)
    assert found.value == speedup
    if len(values) >= 6:
        assert found == (speedup, speedup, speedup)
    with pytest.raises(ValueError, match="no pairs"):
        paired_ratio(fast, [*values, 1.0])


def test_drift_is_told_from_noise() -> None:
    random = np.random.default_rng(0)
    noise = 1 + 0.05 * random.standard_normal(100)
    assert not drift(noise).certain
    moved = drift(noise * np.linspace(1, 1.5, 100))
    assert moved.certain
    assert moved.change == pytest.approx(0.22, abs=0.05)
    assert drift([1.0]) == (0.0, False)
    assert not drift([1.0, 2.0, 1.0, 2.0]).certain


def test_outliers_are_few_and_far() -> None:
    assert outlier_share([1.0] * 5) == 0
    assert outlier_share([*np.linspace(1, 2, 99), 50.0]) == pytest.approx(0.01)
