"""Flips: changing one choice changes which other choice is the fastest.

For a sought choice B, all else fixed, the best is *clear* where it is faster than every rival by
more than a margin and no intervals touch. A flip of B by A are two clear and different bests, in
contexts that differ in A alone, where both bests were measured in both. Its p-value is the
largest of all the comparisons (an intersection-union test, Berger 1982); Benjamini and Hochberg's
procedure over every pair of contexts that was looked at keeps the share of false flips at
``RATE``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from dlas.analysis.interactions.grid import Grid, context_words
from dlas.analysis.interactions.records import Flip, Steady
from dlas.analysis.interactions.sentences import flip_sentence, steady_sentence
from dlas.analysis.interactions.timings import Bools, Floats, Ints, Timings, adjusted
from dlas.analysis.intervals import Z_95

RATE = 0.05
#: What somebody chooses; a network or a data set is given.
SOUGHT = (
    "compression", "optimizations", "primitive", "algorithm", "format", "software", "system",
    "tuning", "threads",
)  # fmt: skip
#: Fewer clear comparisons are no finding of steadiness.
_STEADY = 3


class Found(NamedTuple):
    flips: tuple[Flip, ...]
    steady: tuple[Steady, ...]


@dataclass(frozen=True)
class _Bests:
    """Of one sought factor. ``contexts``: (c, factors) codes, the sought one 0. ``rows``: (c, B)
    stacks, −1 where not measured. ``best``: (c,) the fastest, −1 where fewer than two were
    measured. ``chance``, ``clear``: (c,) against all its rivals."""

    contexts: Ints
    rows: Ints
    best: Ints
    chance: Floats
    clear: Bools


class _Pairs(NamedTuple):
    """Contexts that differ in ``changed`` alone, with both bests measured in both: (k,) each."""

    changed: int
    sought: int
    first: Ints
    second: Ints
    chance: Floats
    clear: Bools


def find_flips(grids: list[Grid], rounds: Mapping[str, Floats] | None) -> Found:
    """Of all grids of a machine."""
    looked: list[tuple[Grid, Timings, _Bests, _Pairs]] = []
    for grid in grids:
        timings = Timings(grid.stacks, rounds)
        for sought, factor in enumerate(grid.factors):
            if factor in SOUGHT:
                bests = _bests(grid, timings, sought)
                for changed in range(len(grid.factors)):
                    if changed != sought:
                        pairs = _pairs(grid, bests, changed, sought)
                        looked.append((grid, timings, bests, pairs))
    chances = np.concatenate([np.ones(0), *(pairs.chance for *_, pairs in looked)])
    corrected = adjusted(chances)
    flips: list[Flip] = []
    steady: list[Steady] = []
    start = 0
    for grid, timings, bests, pairs in looked:
        own = corrected[start : start + len(pairs.chance)]
        start += len(pairs.chance)
        differ = bests.best[pairs.first] != bests.best[pairs.second]
        flipped = differ & pairs.clear & (own <= RATE)
        flips += _grouped(grid, timings, bests, pairs, own, flipped)
        steady += _steady(grid, bests, pairs, differ)
    flips.sort(key=lambda flip: -flip.margin * len(flip.contexts) ** 0.5)
    return Found(tuple(flips), tuple(steady))


def _bests(grid: Grid, timings: Timings, sought: int) -> _Bests:
    others = grid.codes.copy()
    others[:, sought] = 0
    contexts, where = np.unique(others, axis=0, return_inverse=True)
    rows = np.full((len(contexts), len(grid.levels[sought])), -1, np.intp)
    slowest_first = np.argsort(-timings.middle, kind="stable")  # of duplicates the fastest stays
    rows[where.ravel()[slowest_first], grid.codes[slowest_first, sought]] = slowest_first
    latency = np.where(rows >= 0, timings.middle[rows], np.inf)
    best = latency.argmin(axis=1)
    compared = (rows >= 0).sum(axis=1) >= 2
    fastest = np.take_along_axis(rows, best[:, None], axis=1)
    rival = (rows >= 0) & (np.arange(rows.shape[1]) != best[:, None]) & compared[:, None]
    context, level = np.nonzero(rival)
    against = timings.compare(fastest[context, 0], rows[context, level])
    chance = np.zeros(len(contexts))
    np.maximum.at(chance, context, against.chance)
    clear = compared.copy()
    clear[context[~against.apart]] = False
    return _Bests(contexts, rows, np.where(compared, best, -1), chance, clear)


def _pairs(grid: Grid, bests: _Bests, changed: int, sought: int) -> _Pairs:
    others = bests.contexts.copy()
    others[:, changed] = 0
    places, where = np.unique(others, axis=0, return_inverse=True)
    at = np.full((len(places), len(grid.levels[changed])), -1, np.intp)
    at[where.ravel(), bests.contexts[:, changed]] = np.arange(len(bests.contexts))
    levels = combinations(range(len(grid.levels[changed])), 2)
    both = [at[:, [a, b]] for a, b in levels]
    pairs = np.concatenate(both)
    pairs = pairs[(pairs >= 0).all(axis=1)]
    pairs = pairs[(bests.best[pairs] >= 0).all(axis=1)]
    first, second = pairs.T
    there = (bests.rows[second, bests.best[first]] >= 0) & (
        bests.rows[first, bests.best[second]] >= 0
    )
    first, second = first[there], second[there]
    same = bests.best[first] == bests.best[second]
    chance = np.maximum(bests.chance[first], bests.chance[second])
    clear = bests.clear[first] & bests.clear[second]
    return _Pairs(changed, sought, first, second, np.where(same, 1.0, chance), clear)


def _grouped(
    grid: Grid, timings: Timings, bests: _Bests, pairs: _Pairs, chance: Floats, flipped: Bools
) -> Iterator[Flip]:
    """Flips that differ in their contexts only are one."""
    at = bests.contexts[:, pairs.changed]
    change = np.stack([at[pairs.first], at[pairs.second]], axis=1)
    kinds = np.hstack([change, bests.best[pairs.first][:, None], bests.best[pairs.second][:, None]])
    for kind in np.unique(kinds[flipped], axis=0):
        own = np.flatnonzero(flipped & (kinds == kind).all(axis=1))
        looked = int((change == kind[:2]).all(axis=1).sum())
        yield _flip(grid, timings, bests, pairs, own, kind, float(chance[own].max()), looked)


def _flip(
    grid: Grid,
    timings: Timings,
    bests: _Bests,
    pairs: _Pairs,
    own: Ints,
    kind: Ints,
    chance: float,
    looked: int,
) -> Flip:
    """``own``: the pairs of contexts that show it; ``kind``: levels before, after, best before,
    best after."""
    changed, of = grid.factors[pairs.changed], grid.factors[pairs.sought]
    old, new = kind[2:]
    stake = timings.compare(
        bests.rows[pairs.second[own], new], bests.rows[pairs.second[own], old]
    ).gap
    own = own[np.argsort(-stake, kind="stable")]
    before, after = bests.rows[pairs.first[own]], bests.rows[pairs.second[own]]
    shown = np.stack([after[:, new], after[:, old], before[:, old], before[:, new]], axis=1)
    fixed = [j for j in range(len(grid.factors)) if j not in (pairs.changed, pairs.sought)]
    contexts = [context_words(grid, row, fixed) for row in shown[:, 0]]
    levels = [grid.levels[pairs.changed], grid.levels[pairs.sought]]
    names = (levels[0][kind[0]], levels[0][kind[1]], levels[1][old], levels[1][new])
    factors = [grid.factors[j] for j in fixed]
    return Flip(
        grid.machine,
        flip_sentence(changed, of, names, factors, contexts, looked, grid.scope),
        changed, *names[:2], of, *names[2:],
        tuple(" · ".join(each) or "all else alike" for each in contexts),
        tuple(timings.keys[shown.ravel()]),
        *_ratio(timings, after[:, new], after[:, old]),
        *_ratio(timings, before[:, old], before[:, new]),
        chance, looked, grid.scope,
    )  # fmt: skip


def _ratio(timings: Timings, fast: Ints, slow: Ints) -> tuple[float, float, float]:
    """The geometric mean of slow / fast with its 95 % interval."""
    gap, error, *_ = timings.compare(fast, slow)
    middle, half = gap.mean(), Z_95 * np.sqrt((error**2).sum()) / len(gap)
    return float(np.exp(middle)), float(np.exp(middle - half)), float(np.exp(middle + half))


def _steady(grid: Grid, bests: _Bests, pairs: _Pairs, differ: Bools) -> Iterator[Steady]:
    clear = pairs.clear
    count = int((clear & ~differ).sum())
    if count < _STEADY or (clear & differ).any():
        return
    everywhere = np.unique(bests.best[pairs.first[clear]])
    of, changed = grid.factors[pairs.sought], grid.factors[pairs.changed]
    always = grid.levels[pairs.sought][everywhere[0]] if len(everywhere) == 1 else None
    sentence = steady_sentence(changed, of, count, always, grid.scope)
    yield Steady(grid.machine, sentence, changed, of, count, grid.scope)
