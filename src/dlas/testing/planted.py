"""How much of a planted truth ``analysis.interactions`` finds, and how much it makes up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dlas.analysis.interactions import NEGLIGIBLE, Understanding, understand
from dlas.analysis.interactions.flips import SOUGHT
from dlas.analysis.words import level_word
from dlas.testing.studies import PlantedStudy, Shape, planted_study

if TYPE_CHECKING:
    from rich.table import Table

#: An interaction that should be found explains at least this share of the variance; a flip that
#: should be found is a best that is faster than its rivals by at least this much, on both sides.
WORTH_SHARE = 0.03
WORTH_GAP = 0.1
SHAPES = (Shape(), Shape(4, 4, 4, 2), Shape(6, 5, 3, 3), Shape(3, 5, 3, 2, 2), Shape(7, 4, 3, 2, 2))

Pair = tuple[str, ...]
FlipOf = tuple[str, str, str, str, str, str, str]


@dataclass(frozen=True)
class Score:
    """``planted``: truths worth finding; ``found`` of them; ``declared``: findings; ``false``:
    findings that are not so; ``nulls``: truths that are nothing."""

    what: str
    planted: int = 0
    found: int = 0
    declared: int = 0
    false: int = 0
    nulls: int = 0

    @property
    def recall(self) -> float:
        return self.found / self.planted if self.planted else 1.0

    @property
    def false_share(self) -> float:
        """Of the findings."""
        return self.false / self.declared if self.declared else 0.0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.what,
            self.planted + other.planted,
            self.found + other.found,
            self.declared + other.declared,
            self.false + other.false,
            self.nulls + other.nulls,
        )


@dataclass(frozen=True)
class Planted:
    """Scores over ``draws`` made-up studies."""

    draws: int
    pairs: Score
    choices: Score
    flips: Score

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column(f"Planted in {self.draws:,} studies")
        for title in (
            "worth finding",
            "found",
            "recall %",
            "findings",
            "false",
            "false %",
            "nulls",
        ):
            table.add_column(title, justify="right")
        for one in (self.pairs, self.choices, self.flips):
            numbers = (one.planted, one.found, one.recall, one.declared, one.false, one.false_share)
            shown = (f"{100 * n:.1f}" if isinstance(n, float) else f"{n:,}" for n in numbers)
            table.add_row(one.what, *shown, f"{one.nulls:,}" if one.nulls else "")
        return table


def planted(draws: int, seed: int = 0) -> Planted:
    """Scores over many made-up studies: of interactions of pairs, of single choices, of flips."""
    pairs, choices, flips = (
        Score("pairs that interact"),
        Score("choices that matter"),
        Score("flips"),
    )
    for i in range(draws):
        study = planted_study(seed * 100_003 + i, SHAPES[i % len(SHAPES)])
        found = understand(study.frame, study.rounds)
        pairs += effect_score(study, found, "pairs that interact", 2)
        choices += effect_score(study, found, "choices that matter", 1)
        flips += flip_score(study, found)
    return Planted(draws, pairs, choices, flips)


def effect_score(study: PlantedStudy, found: Understanding, what: str, size: int) -> Score:
    """Of single choices (``size`` 1) or pairs (2), among tvm's stacks."""
    truth = {f: share for f, share in true_shares(study).items() if len(f) == size}
    declared = {
        effect.factors
        for effect in found.effects
        if effect.quantity == "latency_s" and _of_tvm(effect.scope) and effect.present
    } & set(truth)
    worth = {factors for factors, share in truth.items() if share >= WORTH_SHARE}
    nothing = {factors for factors, share in truth.items() if share < NEGLIGIBLE}
    return Score(
        what,
        len(worth),
        len(worth & declared),
        len(declared),
        len(declared & nothing),
        len(nothing),
    )


def flip_score(study: PlantedStudy, found: Understanding) -> Score:
    flips: set[FlipOf] = {
        (f.changed, f.before, f.after, f.of, f.best_before, f.best_after, context)
        for f in found.flips
        if _of_tvm(f.scope)
        for context in f.contexts
    }
    so, worth = true_flips(study)
    caught = {flip for flip in worth if flip in flips or turned(flip) in flips}
    return Score("flips", len(worth), len(caught), len(flips), len(flips - so))


def _of_tvm(scope: str) -> bool:
    return not scope.startswith("systems")


def turned(flip: FlipOf) -> FlipOf:
    """The same, told from the other side."""
    changed, before, after, of, best_before, best_after, context = flip
    return changed, after, before, of, best_after, best_before, context


def true_shares(study: PlantedStudy) -> dict[Pair, float]:
    """The functional analysis of variance of the truth, over the whole grid."""
    values = study.log_latency - study.log_latency.mean()
    axes = range(values.ndim)
    mains = {i: _mean(values, {i}) for i in axes}
    found: dict[Pair, float] = {(study.factors[i],): float(mains[i].var()) for i in axes}
    for i, j in combinations(axes, 2):
        pair = _mean(values, {i, j}) - mains[i] - mains[j]
        found[study.factors[i], study.factors[j]] = float((pair**2).mean())
    return {factors: share / float(values.var()) for factors, share in found.items()}


def _mean(values: NDArray[np.float64], kept: set[int]) -> NDArray[np.float64]:
    axes = tuple(set(range(values.ndim)) - kept)
    averaged: NDArray[np.float64] = values.mean(axis=axes, keepdims=True)
    return averaged


def true_flips(study: PlantedStudy) -> tuple[set[FlipOf], set[FlipOf]]:
    """All flips among the stacks that were measured, either way round; and those worth finding,
    one way."""
    latency = np.where(study.measured, study.log_latency, np.inf)
    so: set[FlipOf] = set()
    worth: set[FlipOf] = set()
    for of in (i for i, name in enumerate(study.factors) if name in SOUGHT):
        for changed in (i for i in range(latency.ndim) if i != of):
            for flip, gap in _flips(study, latency, changed, of):
                so.update((flip, turned(flip)))
                if gap >= np.log1p(WORTH_GAP):
                    worth.add(flip)
    return so, worth


def _flips(
    study: PlantedStudy, latency: NDArray[np.float64], changed: int, of: int
) -> Iterator[tuple[FlipOf, float]]:
    """With the smaller of the two bests' leads over their rivals, as a log ratio."""
    fixed = [i for i in range(latency.ndim) if i not in (changed, of)]
    tables = latency.transpose([*fixed, changed, of])
    names = study.levels[changed], study.levels[of]
    for at in np.ndindex(tables.shape[:-2]):
        context = " · ".join(
            level_word(study.factors[i], study.levels[i][j]) for i, j in zip(fixed, at, strict=True)
        )
        table = tables[at]
        order = np.sort(table, axis=1)
        for a, b in combinations(range(len(table)), 2):
            first, second = int(table[a].argmin()), int(table[b].argmin())
            both = np.isfinite(table[np.ix_([a, b], [first, second])]).all()
            if first == second or not both:
                continue
            gap = min(order[a, 1] - order[a, 0], order[b, 1] - order[b, 0])
            yield (
                (
                    study.factors[changed], names[0][a], names[0][b], study.factors[of],
                    names[1][first], names[1][second], context or "all else alike",
                ),
                float(gap),
            )  # fmt: skip
