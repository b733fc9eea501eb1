"""What is understood of a study, as plain values that a report or a terminal shows."""

from __future__ import annotations

from dataclasses import dataclass

#: Shares of variance that do not matter in practice.
NEGLIGIBLE = 0.01


@dataclass(frozen=True)
class Effect:
    """How much of the variance of a quantity one choice explains (``factors``: its name), or the
    interaction of two beyond what each explains alone.

    ``share``: of the variance over the whole grid of choices, every cell weighted alike, without
    measurement noise, in [0, 1]; ``low``, ``high``: its 95 % interval. NaN where it cannot be said.
    ``levels``: how many choices each factor has. ``stacks``: how many it was learned from.
    ``scope``: which stacks are compared, as words; shares of one scope have one sum."""

    machine: str
    quantity: str
    factors: tuple[str, ...]
    share: float
    low: float
    high: float
    levels: tuple[int, ...]
    stacks: int
    scope: str = ""

    @property
    def present(self) -> bool:
        """Whether it surely explains more than what is negligible; False where unknown."""
        return self.low > NEGLIGIBLE


@dataclass(frozen=True)
class Rest:
    """Of one scope: ``share`` of the variance that single choices and pairs leave unexplained
    (interactions of three and more, what is peculiar to a stack); ``noise``: measurement noise,
    as a share of the same variance but not a part of it."""

    machine: str
    quantity: str
    share: float
    noise: float
    stacks: int
    scope: str = ""


@dataclass(frozen=True)
class Flip:
    """Changing only ``changed`` from ``before`` to ``after`` changes the fastest ``of`` from
    ``best_before`` to ``best_after``, in each of ``contexts`` (what is fixed, as words).

    ``rows``: the keys of the stacks that show it, those of a context together, the two fastest
    first. ``looked``: in how many contexts it could have been seen. ``margin``: how many times
    as long as the new best the old one takes after the change (the regret of keeping it), the
    geometric mean over the contexts; ``low`` and ``high``: its 95 % interval.
    ``margin_before``: the same before the change, the new best over the old. ``chance``: the
    adjusted p-value, the largest of the contexts (Benjamini and Hochberg 1995)."""

    machine: str
    sentence: str
    changed: str
    before: str
    after: str
    of: str
    best_before: str
    best_after: str
    contexts: tuple[str, ...]
    rows: tuple[str, ...]
    margin: float
    low: float
    high: float
    margin_before: float
    low_before: float
    high_before: float
    chance: float
    looked: int
    scope: str = ""


@dataclass(frozen=True)
class Steady:
    """No flip: whatever ``changed`` is, the fastest ``of`` stays ``best``, or what it is
    in each context, in all ``count`` comparisons that are clear."""

    machine: str
    sentence: str
    changed: str
    of: str
    count: int
    scope: str = ""


@dataclass(frozen=True)
class Correlation:
    """``value``: Spearman's, of the columns ``a`` and ``b``, with its 95 % interval ``low`` to
    ``high``; ``pearson``: Pearson's, on logarithms (accuracy as it is), with its interval. NaN
    where there are too few points, intervals also where there are three networks or fewer.
    ``count``: of points; ``scope``: what a point is."""

    machine: str
    a: str
    b: str
    value: float
    low: float
    high: float
    count: int
    scope: str
    pearson: float
    pearson_low: float
    pearson_high: float


@dataclass(frozen=True)
class Dominated:
    """A stack that another beats, by key. ``shrink``: the factor by which its latency would have
    to shrink to reach the front at its accuracy (≥ 1). ``points``: the accuracy, a share, that the
    front offers above its own at its latency (≥ 0). ``by``: the front's stack of that accuracy or
    more with the least latency. ``certain``: their latency intervals do not overlap."""

    key: str
    by: str
    shrink: float
    points: float
    certain: bool


@dataclass(frozen=True)
class Front:
    """Of one task on one machine: ``members``: keys, the fastest first; ``dominated``: the others
    that have both numbers, the farthest from the front last."""

    machine: str
    task: str
    members: tuple[str, ...]
    dominated: tuple[Dominated, ...]


@dataclass(frozen=True)
class Best:
    """The best stack within a budget. ``goal``: what is best, a column; ``budget``: the column that
    is limited; ``limit``: its least (accuracy) or most value. ``value``: of the goal.
    ``rivals``: keys within the budget that cannot be told apart from it."""

    machine: str
    task: str
    goal: str
    budget: str
    limit: float
    sentence: str
    key: str
    value: float
    rivals: tuple[str, ...]


@dataclass(frozen=True)
class Understanding:
    """Everything is of one machine each; ``said``: what cannot be said and why, as sentences."""

    machines: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    rests: tuple[Rest, ...] = ()
    flips: tuple[Flip, ...] = ()
    steady: tuple[Steady, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    fronts: tuple[Front, ...] = ()
    budgets: tuple[Best, ...] = ()
