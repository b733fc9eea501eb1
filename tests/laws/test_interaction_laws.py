"""Laws of explained variance, of distances from a front, and of adjusted p-values."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from dlas.analysis.interactions import Effect, Rest
from dlas.analysis.interactions.anova import contrasts, variances
from dlas.analysis.interactions.correlations import COLUMNS, correlations
from dlas.analysis.interactions.grid import Grid
from dlas.analysis.interactions.timings import adjusted
from dlas.analysis.intervals import fisher
from dlas.analysis.pareto import distances, front

SIZES = st.lists(st.integers(2, 4), min_size=3, max_size=4).map(tuple)
SEEDS = st.integers(0, 2**32 - 1)


def grid_of(codes: np.ndarray, sizes: tuple[int, ...]) -> Grid:
    factors = tuple(f"f{i}" for i in range(len(sizes)))
    levels = tuple(tuple(str(j) for j in range(size)) for size in sizes)
    return Grid("m", "", pd.DataFrame(index=range(len(codes))), factors, levels, codes, ())


def shares(
    tensor: np.ndarray, kept: np.ndarray | None = None, noise: float = 0.0
) -> tuple[dict[tuple[int, ...], Effect], Rest]:
    """Of a table of values, an axis per factor; ``kept``: which cells were measured."""
    codes = np.argwhere(np.ones(tensor.shape, bool) if kept is None else kept)
    values = tensor[tuple(codes.T)]
    grid = grid_of(codes, tensor.shape)
    found = variances(grid, "latency_s", values, np.full(len(values), noise))
    by_name = {tuple(int(f[1:]) for f in effect.factors): effect for effect in found.effects}
    return by_name, found.rest[0]


def mean(tensor: np.ndarray, kept: set[int]) -> np.ndarray:
    return tensor.mean(axis=tuple(set(range(tensor.ndim)) - kept), keepdims=True)


def additive(random: np.random.Generator, sizes: tuple[int, ...]) -> np.ndarray:
    found = np.zeros(sizes)
    for i, size in enumerate(sizes):
        shape = [size if j == i else 1 for j in range(len(sizes))]
        found = found + random.standard_normal(size).reshape(shape)
    return found


@pytest.mark.parametrize("levels", range(2, 12))
def test_contrasts_are_orthonormal_over_the_levels(levels: int) -> None:
    found = contrasts(levels)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.T @ found / levels, np.eye(levels - 1), atol=1e-12)


@given(SIZES, SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_full_grid_gives_the_classical_omega_squared(sizes: tuple[int, ...], seed: int) -> None:
    """Single choices and pairs from sums of squares, what is left as the error."""
    assume(np.prod(sizes) - 1 - sum(s - 1 for s in sizes) > 24)
    tensor = np.random.default_rng(seed).standard_normal(sizes)
    n, axes = tensor.size, range(tensor.ndim)
    mains = {(i,): mean(tensor, {i}) - tensor.mean() for i in axes}
    parts = dict(mains)
    for i, j in combinations(axes, 2):
        pair = mean(tensor, {i, j}) - mains[(i,)] - mains[(j,)] - tensor.mean()
        parts[(i, j)] = pair
    squares = {at: float((part**2).sum()) * n / part.size for at, part in parts.items()}
    freedom = {at: int(np.prod([sizes[i] - 1 for i in at])) for at in parts}
    left = n - 1 - sum(freedom.values())
    assume(left >= 12)
    total = float(((tensor - tensor.mean()) ** 2).sum())
    chance = (total - sum(squares.values())) / left
    raw = {at: max(0.0, squares[at] - freedom[at] * chance) / n for at in parts}
    whole = sum(raw.values()) + chance

    found, rest = shares(tensor)
    for at in parts:
        assert found[at].share == pytest.approx(raw[at] / whole, abs=1e-4)
    assert rest.share == pytest.approx(chance / whole, abs=1e-4)


@given(SIZES, SEEDS, st.floats(0, 0.3))
@settings(max_examples=25, deadline=None)
def test_shares_and_the_rest_sum_to_one(sizes: tuple[int, ...], seed: int, holes: float) -> None:
    random = np.random.default_rng(seed)
    tensor = additive(random, sizes) + random.standard_normal(sizes)
    kept = random.random(sizes) >= holes
    assume(kept.sum() > 2 + sum(size - 1 for size in sizes))
    found, rest = shares(tensor, kept)
    known = [effect for effect in found.values() if np.isfinite(effect.share)]
    assert sum(effect.share for effect in known) + rest.share == pytest.approx(1)
    for effect in known:
        assert 0 <= effect.low <= effect.share <= effect.high <= 1 + 1e-9


@given(SIZES, SEEDS, st.floats(0, 0.3))
@settings(max_examples=25, deadline=None)
def test_what_adds_up_does_not_interact(sizes: tuple[int, ...], seed: int, holes: float) -> None:
    random = np.random.default_rng(seed)
    tensor = 7 + additive(random, sizes)  # far from 0, as log latencies are
    kept = random.random(sizes) >= holes
    found, rest = shares(tensor, kept)
    for at, effect in found.items():
        if len(at) == 1:
            alone = mean(tensor, set(at)).var() / tensor.var()
            assert not effect.share >= 0 or effect.share == pytest.approx(alone, abs=1e-3)
        else:
            assert not effect.share > 1e-4
            assert not effect.present
    assert rest.share < 1e-4


@given(SEEDS, st.floats(-5, 5), st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_units_and_names_do_not_matter(seed: int, shift: float, scale: float) -> None:
    """Another unit shifts log latency; other names permute the levels."""
    random = np.random.default_rng(seed)
    tensor = additive(random, (4, 3, 3)) + random.standard_normal((4, 3, 3))
    plain, _ = shares(tensor)
    other, _ = shares(shift + scale * tensor)
    named, _ = shares(tensor[random.permutation(4)][:, random.permutation(3)])
    for at, effect in plain.items():
        assert other[at].share == pytest.approx(effect.share, abs=1e-6)
        assert (other[at].low, other[at].high) == pytest.approx((effect.low, effect.high), abs=1e-6)
        assert named[at].share == pytest.approx(effect.share, abs=1e-6)


def test_holes_do_not_bias_an_interaction() -> None:
    random = np.random.default_rng(3)
    pair = random.standard_normal((5, 4))
    pair -= pair.mean(axis=0) + pair.mean(axis=1, keepdims=True) - pair.mean()
    found = []
    for _ in range(40):
        tensor = additive(random, (5, 4, 5)) + pair[:, :, None]
        truth = float((pair**2).mean()) / (tensor.var())
        tensor = tensor + 0.1 * random.standard_normal(tensor.shape)
        effects, _ = shares(tensor, random.random(tensor.shape) >= 0.3)
        found.append(effects[(0, 1)].share / truth)
    assert np.mean(found) == pytest.approx(1, abs=0.05)


def test_chance_alone_explains_nothing_on_average_and_is_hardly_ever_called_present() -> None:
    random = np.random.default_rng(1)
    effects = [
        effect
        for _ in range(60)
        for effect in shares(random.standard_normal((5, 4, 3)))[0].values()
    ]
    assert sum(effect.present for effect in effects) / len(effects) <= 0.05


def test_intervals_hold_the_truth_on_small_grids_with_holes() -> None:
    """Of a table with all pairs and what is peculiar to a stack."""
    random = np.random.default_rng(0)
    sizes, peculiar = (3, 4, 3), 0.5
    held = []
    for _ in range(200):
        tensor = additive(random, sizes)
        for i in range(3):
            tensor = tensor + 0.6 * random.standard_normal(
                [1 if j == i else sizes[j] for j in range(3)]
            )
        alone = {(i,): mean(tensor, {i}) - tensor.mean() for i in range(3)}
        parts = dict(alone)
        for i, j in combinations(range(3), 2):
            parts[i, j] = mean(tensor, {i, j}) - alone[(i,)] - alone[(j,)] - tensor.mean()
        variance = {at: float((part**2).mean()) for at, part in parts.items()}
        total = sum(variance.values()) + peculiar**2
        noisy = tensor + peculiar * random.standard_normal(sizes)
        found, _ = shares(noisy, random.random(sizes) >= 0.25)
        known = [(at, effect) for at, effect in found.items() if np.isfinite(effect.low)]
        held += [effect.low <= variance[at] / total <= effect.high for at, effect in known]
    assert np.mean(held) >= 0.91


def test_noise_of_measuring_is_no_variance_of_the_choices() -> None:
    random = np.random.default_rng(2)
    tensor = additive(random, (5, 5, 4))
    _, rest = shares(tensor + 0.3 * random.standard_normal(tensor.shape), noise=0.3)
    assert rest.share < 0.02
    assert rest.noise == pytest.approx(0.09 / tensor.var(), rel=0.2)


@pytest.mark.parametrize("networks", [4, 5, 8])
def test_networks_without_a_correlation_are_hardly_ever_given_one(networks: int) -> None:
    """However often each was compressed."""
    random = np.random.default_rng(networks)
    names = np.repeat([f"n{i}" for i in range(networks)], 5)
    outside = []
    for _ in range(200):
        x, y = np.exp(random.standard_normal((2, networks)).repeat(5, axis=1))
        frame = pd.DataFrame(dict.fromkeys(COLUMNS, np.nan), index=range(len(names))).assign(
            dataset="d", model=names, optimizations=[*"abcde"] * networks, threads=1, batch=1,
            macs=x, latency_s=y,
        )  # fmt: skip
        one = next(c for c in correlations("m", frame) if (c.a, c.b) == ("macs", "latency_s"))
        outside.append(one.low > 0 or one.high < 0)
    assert np.mean(outside) <= 0.05


@pytest.mark.parametrize("points", [5, 7, 20])
@pytest.mark.parametrize("truth", [0.0, 0.6, 0.95])
def test_the_interval_of_a_rank_correlation_holds_the_truth(points: int, truth: float) -> None:
    random = np.random.default_rng(points)
    x, noise = random.standard_normal((2, 300, points))
    y = truth * x + np.sqrt(1 - truth**2) * noise
    ends = [
        fisher(float(spearmanr(*xy).statistic), points - 3, True) for xy in zip(x, y, strict=True)
    ]
    of_ranks = 6 / np.pi * np.arcsin(truth / 2)
    assert np.mean([low <= of_ranks <= high for low, high in ends]) >= 0.93


@given(st.floats(-1, 1), st.integers(-3, 50), st.booleans())
def test_a_correlations_interval_holds_it_and_more_points_narrow_it(
    value: float, free: int, ranks: bool
) -> None:
    low, high = fisher(value, free, ranks)
    if free <= 0:
        assert np.isnan([low, high]).all()
        return
    assert -1 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1
    narrower = fisher(value, free + 1, ranks)
    assert low <= narrower[0]
    assert narrower[1] <= high


POINTS = st.lists(
    st.tuples(st.sampled_from([1.0, 1.5, 2.0, 4.0]), st.sampled_from([0.5, 0.7, 0.9])), min_size=1
)


@given(POINTS)
def test_distances_from_the_front_are_the_least_that_reach_it(
    points: list[tuple[float, float]],
) -> None:
    latency, accuracy = np.array(points).T
    shrink, gain, by = distances(latency, accuracy)
    on = front(np.stack([latency, -accuracy], axis=1))
    for i in range(len(points)):
        better, faster = accuracy >= accuracy[i], latency <= latency[i]
        assert shrink[i] == latency[i] / latency[better].min()
        assert gain[i] == accuracy[faster].max() - accuracy[i]
        assert accuracy[by[i]] >= accuracy[i]
        assert latency[by[i]] == latency[better].min()
        assert on[i] == (shrink[i] == 1 and gain[i] == 0)


@given(arrays(float, st.integers(1, 20), elements=st.floats(0, 1)))
def test_adjusted_chances_are_benjamini_and_hochbergs(chances: np.ndarray) -> None:
    found = adjusted(chances)
    m = len(chances)
    for rate in (0.01, 0.05, 0.3):
        ordered = np.sort(chances)
        passing = np.flatnonzero(ordered <= rate * np.arange(1, m + 1) / m)
        bound = ordered[passing[-1]] if len(passing) else -1.0
        near = np.isclose(found, rate, rtol=1e-9)
        np.testing.assert_array_equal((found <= rate)[~near], (chances <= bound)[~near])
