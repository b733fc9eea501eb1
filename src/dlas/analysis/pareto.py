"""Pareto fronts: the stacks that no other stack beats in everything at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def front(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n, k) costs, each to be small → (n,) True where no other row dominates.

    A row dominates another when it is nowhere larger and somewhere smaller, so equal rows stay or
    go together. A row with a NaN is not comparable: it neither dominates nor is on the front.
    """
    known = np.asarray(~np.isnan(costs).any(axis=1))
    on_front = known.copy()
    for row in np.flatnonzero(known):
        if on_front[row]:  # what a dominated row dominates, its dominator does too
            nowhere_larger = (costs[row] <= costs).all(axis=1)
            somewhere_smaller = (costs[row] < costs).any(axis=1)
            on_front &= ~(nowhere_larger & somewhere_smaller)
    return on_front


def front_of(
    frame: pd.DataFrame, minimize: Sequence[str], maximize: Sequence[str] = ()
) -> pd.DataFrame:
    """The rows of ``frame`` on the front of these columns, sorted by them."""
    small = frame[list(minimize)].to_numpy(dtype=np.float64)
    large = frame[list(maximize)].to_numpy(dtype=np.float64)
    found = frame[front(np.hstack([small, -large]))]
    return found.sort_values([*minimize, *maximize], kind="stable")


def distances(
    latency: NDArray[np.float64], accuracy: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """How far each of n ≥ 1 stacks is from the front, all numbers known, latencies positive.

    ``shrink``: the factor by which its latency would have to shrink to reach that of the fastest
    stack at least as accurate, ≥ 1. ``gain``: by how much the most accurate stack at least as fast
    is above it, ≥ 0. ``by``: the row of the former. These are the two radial distances of the free
    disposal hull (Deprins, Simar & Tulkens 1984; Farrell 1957): what was measured bounds what is
    possible, without interpolation. Both are at rest, 1 and 0, on the front.
    """
    order = np.lexsort((latency, -accuracy))  # the most accurate first, then the fastest
    fastest = np.empty(len(order), np.intp)  # of what is at least as accurate
    leader = order[0]
    for place, row in enumerate(order):
        if latency[row] < latency[leader]:
            leader = row
        fastest[place] = leader
    by = np.empty(len(order), np.intp)
    by[order] = fastest
    rising = np.lexsort((-accuracy, latency))
    top = np.empty(len(order))
    top[rising] = np.maximum.accumulate(accuracy[rising])
    return latency / latency[by], top - accuracy, by
