"""The cheapest ways through the stages: shortest paths whose places are (stage, system), and the
rule for when a mixture has won.

A stage's time includes what brings its image from NumPy and back. Where a system goes on into the
next stage this is saved, as the two are compiled as one.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from dlas.measure.statistics import Estimate


class Way(NamedTuple):
    """A system for every stage. ``rank``: the systems' places in their list."""

    seconds: float
    crossings: int
    rank: tuple[int, ...]


def ways(
    stages: Sequence[Mapping[int, float]], saved: Mapping[tuple[int, int], float], count: int
) -> list[Way]:
    """The ``count`` cheapest ways, or all where there are fewer, cheapest first; of equals the one
    with fewer crossings, then the one whose systems come first.

    ``stages``: the seconds of each by system. ``saved``: the seconds that a system saves when it
    goes on, by system and the stage that it goes on from; nothing where it is not there."""
    best = {system: [Way(took, 0, (system,))] for system, took in stages[0].items()}
    for index, stage in enumerate(stages[1:]):
        best = {
            system: heapq.nsmallest(
                count,
                (
                    _longer(way, system, took, saved.get((system, index), 0.0))
                    for known in best.values()
                    for way in known
                ),
            )
            for system, took in stage.items()
        }
    return heapq.nsmallest(count, (way for known in best.values() for way in known))


def spans(rank: Sequence[int]) -> list[tuple[int, int, int]]:
    """(system, first stage, end) of every run of equal systems."""
    edges = [0, *(i for i, (a, b) in enumerate(pairwise(rank), 1) if a != b), len(rank)]
    return [(rank[first], first, end) for first, end in pairwise(edges)]


def winner(measured: Sequence[Estimate], mixed: Sequence[bool], margin: float) -> int:
    """The index of the fastest single system, or of the fastest mixture where its median is smaller
    by ``margin`` and the intervals do not overlap."""

    def fastest(wanted: bool) -> int | None:
        chosen = [index for index, is_mixed in enumerate(mixed) if is_mixed == wanted]
        return min(chosen, key=lambda index: measured[index].value, default=None)

    single, mixture = fastest(False), fastest(True)
    if single is None or mixture is None:
        found = single if mixture is None else mixture
        assert found is not None, "there is a candidate"
        return found
    one, many = measured[single], measured[mixture]
    apart = many.high is not None and one.low is not None and many.high < one.low
    return mixture if apart and many.value <= (1 - margin) * one.value else single


def _longer(way: Way, system: int, took: float, saved: float) -> Way:
    if system == way.rank[-1]:
        return Way(way.seconds + took - saved, way.crossings, (*way.rank, system))
    return Way(way.seconds + took, way.crossings + 1, (*way.rank, system))
