"""Stratified splits, fixed by a seed: every class keeps its share, to within one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]


def draw(labels: NDArray[Any], count: int, seed: Sequence[int]) -> Indices:
    """``count`` ≤ len(labels) indices, each class in proportion (largest remainder; ties between
    classes and the choice within a class by ``seed``), in random order."""
    # RandomState, because its streams are frozen for ever (NEP 19): a newer numpy splits alike.
    random = np.random.RandomState(list(seed))
    order = random.permutation(len(labels))
    _, classes, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    shares, remainders = np.divmod(sizes * count, len(labels))
    ranked = np.lexsort((random.permutation(len(sizes)), -remainders))
    shares[ranked[: count - shares.sum()]] += 1
    by_class = np.argsort(classes, kind="stable")
    rank = np.empty(len(labels), np.intp)  # of each image within its class
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen: Indices = order[rank < shares[classes]]
    return chosen


def hold_out(labels: NDArray[Any], count: int, seed: Sequence[int]) -> tuple[Indices, Indices]:
    """(held, kept): ``count`` stratified indices and all others, both in random order."""
    held = draw(labels, count, seed)
    others = np.setdiff1d(np.arange(len(labels)), held)
    return held, others[draw(labels[others], len(others), seed)]
