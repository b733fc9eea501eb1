"""Laws of the stratified splits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dlas.datasets.splits import draw, hold_out

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(np.array)
SEEDS = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 5))


@st.composite
def counted(data: st.DrawFn) -> tuple[NDArray[np.int64], int]:
    labels = data(LABELS)
    return labels, data(st.integers(0, len(labels)))


@given(counted(), SEEDS)
def test_so_many_and_none_twice(pool: tuple[NDArray[np.int64], int], seed: tuple[int, int]) -> None:
    labels, count = pool
    chosen = draw(labels, count, seed)
    assert len(chosen) == len(set(chosen.tolist())) == count
    assert set(chosen.tolist()) <= set(range(len(labels)))


@given(counted(), SEEDS)
def test_every_class_has_its_share_to_within_one(
    pool: tuple[NDArray[np.int64], int], seed: tuple[int, int]
) -> None:
    labels, count = pool
    chosen = draw(labels, count, seed)
    exact = np.bincount(labels, minlength=6) * count / len(labels)
    assert (np.abs(np.bincount(labels[chosen], minlength=6) - exact) < 1).all()


@given(counted(), SEEDS)
def test_held_and_kept_make_the_whole(
    pool: tuple[NDArray[np.int64], int], seed: tuple[int, int]
) -> None:
    labels, count = pool
    held, kept = hold_out(labels, count, seed)
    assert sorted([*held, *kept]) == list(range(len(labels)))


@given(counted(), SEEDS)
def test_the_seed_decides(pool: tuple[NDArray[np.int64], int], seed: tuple[int, int]) -> None:
    labels, count = pool
    assert np.array_equal(draw(labels, count, seed), draw(labels, count, seed))


@given(counted(), SEEDS, st.permutations(range(6)))
def test_the_classes_numbers_mean_nothing_but_ties(
    pool: tuple[NDArray[np.int64], int], seed: tuple[int, int], names: list[int]
) -> None:
    """Where every share is a whole number, renaming the classes changes nothing."""
    labels, _ = pool
    labels = np.tile(labels, 4)
    renamed = np.array(names)[labels]
    count = len(labels) // 4
    assert np.array_equal(draw(labels, count, seed), draw(renamed, count, seed))


def test_another_seed_decides_otherwise() -> None:
    labels = np.arange(200) % 10
    chosen = [tuple(draw(labels, 20, (seed, 0))) for seed in range(20)]
    assert len(set(chosen)) == 20


def test_fewer_images_than_classes_are_of_random_classes() -> None:
    labels = np.arange(100) % 10
    classes = {int(c) for seed in range(40) for c in labels[draw(labels, 3, (seed, 0))]}
    assert classes == set(range(10))


def test_a_split_never_changes_between_releases() -> None:
    """Artifacts are found again by the seed, so the seed may never mean another split."""
    labels = np.arange(12) % 3
    assert draw(labels, 6, (7, 1)).tolist() == [7, 5, 10, 0, 11, 6]
