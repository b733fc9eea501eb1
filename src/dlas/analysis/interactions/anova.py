"""Functional ANOVA: how much of the variance every choice and every pair of choices explains.

A quantity over a grid of choices is f = f₀ + Σ f_A + Σ f_AB + rest, with f_A of mean 0, and f_AB
of mean 0 along both choices, every cell weighted alike (Hooker, J. Comput. Graph. Stat. 16, 2007;
Hutter et al., ICML 2014). Then variances add up, and a share is one component's. On a full grid
this is the classical analysis of variance.

Grids have holes, so the components are fitted: least squares in contrasts that are orthonormal
under that weighting, so that a component's variance is the sum of its squared coefficients. A
penalty, too small to change what the data decide, fills cells that never occur from single
choices alone.

Squares of uncertain coefficients are too large by their uncertainty. It is subtracted, which on a
full grid is omega² (Hays 1963), and null effects come out near 0. What pairs do not explain
counts as chance; measurement noise is a part of it that is known, and is taken out of the whole.

Intervals: the wild bootstrap (Wu 1986; Davidson & Flachaire 2008), which gives every stack's
residual a random sign: it needs no stack to be as peculiar as any other. Few degrees of freedom
tell the size of chance badly: draws are as much wider as Student's t is than the normal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from dlas.analysis.interactions.grid import Grid
from dlas.analysis.interactions.records import Effect, Rest
from dlas.analysis.intervals import Z_95
from dlas.analysis.words import NUMBERS, listed, word

Floats = NDArray[np.float64]

_DRAWS = 400
_PENALTY = 1e-6
#: A pair with a smaller share of its cells occupied says too little of its interaction.
_COVERED = 2 / 3
#: Fewer degrees of freedom give no estimate of chance, and up to the second a rough one.
_FREE = 6
_MANY = 12
#: Columns of the model beyond which the largest interactions are left out.
_COLUMNS = 800


@dataclass(frozen=True)
class Variances:
    """``effects`` and ``rest`` of one quantity in one grid; ``said``: what could not be said."""

    effects: tuple[Effect, ...] = ()
    rest: tuple[Rest, ...] = ()
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Model:
    """``columns``: (n, p), the mean first, then ``mains`` − 1 of single choices. ``blocks``: by
    factors, the columns of each. ``left_out``: what cannot be fitted."""

    columns: Floats
    mains: int
    blocks: dict[tuple[int, ...], slice]
    left_out: tuple[tuple[int, ...], ...]


def variances(grid: Grid, quantity: str, values: Floats, noise: Floats) -> Variances:
    """``values``: (n,) finite, of the grid's stacks (log latency …). ``noise``: (n,) standard
    deviation of each by measurement, NaN where unknown."""
    place = f" among {grid.scope}" if grid.scope else ""
    name = f"{grid.machine}: the variance of {NUMBERS[quantity]}{place}"
    if not grid.factors:
        return Variances(said=(f"{name} has no choice to be explained by: none varies.",))
    if np.ptp(values) < 1e-12 * max(1.0, float(np.abs(values).max())):
        return Variances(said=(f"{name} is 0: all {len(values)} stacks have the same.",))
    model = _model(grid)
    if len(values) <= model.mains:
        few = f"{len(values)} stacks are too few for {model.mains} numbers"
        return Variances(said=(f"{name} cannot be explained: {few}.",))
    fit = _fit(model, values, noise)
    total = sum(float(own[0]) for own in fit.parts.values()) + fit.rest
    if not total > 0:
        return Variances(said=(f"{name} is no larger than its noise.",))
    totals = sum(own[1] for own in fit.parts.values()) + fit.rest
    known = fit.free or np.isfinite(fit.noise)
    effects = []
    for at in sorted((*fit.parts, *model.left_out), key=lambda at: (len(at), at)):
        share = low = high = float("nan")
        if at in fit.parts:
            share = float(fit.parts[at][0]) / total
            low, high = _ends(share, fit.parts[at][1] / np.maximum(totals, 1e-300), known)
        factors = tuple(grid.factors[i] for i in at)
        levels = tuple(len(grid.levels[i]) for i in at)
        n = len(values)
        effects.append(
            Effect(grid.machine, quantity, factors, share, low, high, levels, n, grid.scope)
        )
    rest = Rest(
        grid.machine, quantity, fit.rest / total, fit.noise / total, len(values), grid.scope
    )
    return Variances(tuple(effects), (rest,), tuple(_said(grid, model, fit, name, len(values))))


@dataclass(frozen=True)
class _Fit:
    """``parts``: by factors, the variance and its draws, both ≥ 0. ``rest``: the variance that is
    left without noise; ``noise``: that of measuring, NaN where it is not known. ``degrees`` of
    freedom are left to tell how much is chance."""

    parts: dict[tuple[int, ...], tuple[float, Floats]]
    rest: float
    noise: float
    degrees: float

    @property
    def free(self) -> bool:
        """Whether the stacks tell how much is chance."""
        return self.degrees >= _FREE


def _fit(model: _Model, values: Floats, noise: Floats) -> _Fit:
    x, n = model.columns, len(values)
    penalty = np.full(x.shape[1], _PENALTY * n)
    penalty[: model.mains] = 0
    into = np.linalg.solve(x.T @ x + np.diag(penalty), x.T)
    fitted = into @ values
    leverage = np.clip(np.einsum("np,pn->n", x, into), 0, 1)
    residual = values - x @ fitted
    known = noise[np.isfinite(noise)]
    measured = float(np.mean(known**2)) if len(known) else float("nan")
    degrees = n - float(leverage.sum())
    free = degrees >= _FREE
    wider = 1.0
    if free:
        chance = float(residual @ residual) / degrees
        spread = residual / np.sqrt(np.maximum(1 - leverage, 0.05))
        wider = float(stdtrit(degrees, 0.975)) / Z_95
    else:
        chance = float(np.nan_to_num(measured))
        spread = np.where(np.isfinite(noise), noise, np.sqrt(chance))
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(n, _DRAWS))
    drawn = fitted[:, None] + into @ (wider * spread[:, None] * signs)
    bias = chance * np.einsum("pn,pn->p", into, into)
    parts = {}
    for at, own in model.blocks.items():
        excess = float(bias[own].sum())
        point = max(0.0, float((fitted[own] ** 2).sum()) - excess)
        parts[at] = point, np.maximum(0.0, (drawn[own] ** 2).sum(axis=0) - (1 + wider**2) * excess)
    rest = max(chance - float(np.nan_to_num(measured)), 0.0) if free else 0.0
    return _Fit(parts, rest, measured, degrees)


def _ends(share: float, draws: Floats, known: bool) -> tuple[float, float]:
    """The interval, which holds the share itself."""
    if not known:
        return float("nan"), float("nan")
    low, high = np.quantile(draws, (0.025, 0.975))
    return min(float(low), share), max(float(high), share)


def _said(grid: Grid, model: _Model, fit: _Fit, name: str, n: int) -> Iterator[str]:
    if not fit.free:
        yield (
            f"{name} is told by {n} stacks, about as many as the model has numbers: what is "
            "peculiar to one of them counts as an interaction, and intervals hold for these only."
        )
    elif fit.degrees < _MANY:
        yield (
            f"{name} is told by {n} stacks, {fit.degrees:.0f} more than the model has numbers: "
            "its intervals are rough."
        )
    names = [[word(grid.factors[i]) for i in at] for at in model.left_out]
    alone = [one[0] for one in names if len(one) == 1]
    pairs = [" with ".join(one) for one in names if len(one) == 2]
    if alone:
        yield f"{name}: the {listed(alone)} changes with other choices and cannot be told apart."
    if pairs:
        yield (
            f"{name}: too few combinations were measured to tell how these interact: "
            f"{listed(pairs)}."
        )


def _model(grid: Grid) -> _Model:
    n = len(grid.codes)
    own = [contrasts(len(levels))[grid.codes[:, i]] for i, levels in enumerate(grid.levels)]
    columns = [np.ones((n, 1))]
    blocks: dict[tuple[int, ...], slice] = {}
    left_out: list[tuple[int, ...]] = []
    start = 1
    for i in sorted(range(len(own)), key=lambda i: -own[i].shape[1]):
        end = start + own[i].shape[1]
        if np.linalg.matrix_rank(np.hstack([*columns, own[i]])) < end:
            left_out.append((i,))
            continue
        columns.append(own[i])
        blocks[(i,)] = slice(start, end)
        start = end
    mains = start
    # All combinations of two choices leave nothing for chance; of more, some columns are kept.
    few = n - mains < _FREE
    most = n / _COVERED if len(blocks) == 2 else n if few else n - _FREE
    pairs = [at for at in combinations(range(len(own)), 2) if all((i,) in blocks for i in at)]
    for at in sorted(pairs, key=lambda at: own[at[0]].shape[1] * own[at[1]].shape[1]):
        a, b = (own[i] for i in at)
        end = start + a.shape[1] * b.shape[1]
        if end > min(_COLUMNS, most) or _coverage(grid, at) < _COVERED:
            left_out.append(at)
            continue
        columns.append((a[:, :, None] * b[:, None, :]).reshape(n, end - start))
        blocks[at] = slice(start, end)
        start = end
    return _Model(np.hstack(columns), mains, blocks, tuple(left_out))


def _coverage(grid: Grid, at: tuple[int, int]) -> float:
    """The share of a pair's combinations that occur."""
    occurring = len(np.unique(grid.codes[:, list(at)], axis=0))
    return occurring / (len(grid.levels[at[0]]) * len(grid.levels[at[1]]))


def contrasts(levels: int) -> Floats:
    """(levels, levels − 1): columns of mean 0, mean square 1 and mean product 0 (Helmert's)."""
    matrix = np.zeros((levels, levels - 1))
    for j in range(1, levels):
        matrix[:j, j - 1] = -1
        matrix[j, j - 1] = j
        matrix[:, j - 1] *= np.sqrt(levels / (j + j * j))
    return matrix
