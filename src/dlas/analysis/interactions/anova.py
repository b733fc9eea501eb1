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
residual a random sign: it needs no stack to be as peculiar as any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dlas.analysis.interactions.grid import Grid
from dlas.analysis.interactions.records import Effect, Rest
from dlas.analysis.interactions.words import listed, word

Floats = NDArray[np.float64]

_DRAWS = 400
_PENALTY = 1e-6
#: A pair with a smaller share of its cells occupied says too little of its interaction.
_COVERED = 2 / 3
#: Fewer degrees of freedom give no estimate of chance.
_FREE = 6
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
    """``columns``: (n, p) without the mean; ``blocks``: by factors, the columns of each."""

    columns: Floats
    blocks: dict[tuple[int, ...], slice]
    left_out: tuple[tuple[int, ...], ...]


def variances(grid: Grid, quantity: str, values: Floats, noise: Floats) -> Variances:
    """``values``: (n,) finite, of the grid's stacks (log latency …). ``noise``: (n,) standard
    deviation of each by measurement, NaN where unknown."""
    place = f" in the {grid.scope}" if grid.scope else ""
    name = f"{grid.machine}: the variance of {_NAMES.get(quantity, quantity)}{place}"
    if not grid.factors:
        return Variances(said=(f"{name} has no choice to be explained by: none varies.",))
    if np.ptp(values) < 1e-12 * max(1.0, float(np.abs(values).max())):
        return Variances(said=(f"{name} is 0: all {len(values)} stacks have the same.",))
    model = _model(grid)
    if model.columns.shape[1] and len(values) <= _mains(model):
        few = f"{len(values)} stacks are too few for {_mains(model) + 1} numbers"
        return Variances(said=(f"{name} cannot be explained: {few}.",))
    return _explained(grid, quantity, values, noise, model, name)


_NAMES = {"latency_s": "latency", "accuracy": "accuracy", "sparse_bytes": "size"}


def _mains(model: _Model) -> int:
    return sum(block.stop - block.start for at, block in model.blocks.items() if len(at) == 1)


def _explained(
    grid: Grid, quantity: str, values: Floats, noise: Floats, model: _Model, name: str
) -> Variances:
    n = len(values)
    x = np.hstack([np.ones((n, 1)), model.columns])
    penalty = np.full(x.shape[1], _PENALTY * n)
    penalty[: 1 + _mains(model)] *= 1e-3
    into = np.linalg.solve(x.T @ x + np.diag(penalty), x.T)
    fitted = into @ values
    leverage = np.clip(np.einsum("np,pn->n", x, into), 0, 1)
    residual = values - x @ fitted
    free = n - float(leverage.sum())
    known = noise[np.isfinite(noise)]
    measured = float(np.mean(known**2)) if len(known) else 0.0
    said = []
    if free >= _FREE:
        chance = float(residual @ residual) / free
        spread = residual / np.sqrt(np.maximum(1 - leverage, 0.05))
    else:
        chance = measured
        spread = np.where(np.isfinite(noise), noise, np.sqrt(measured))
        said.append(
            f"{name} is told by {n} stacks, as many as the model has numbers: what is peculiar "
            "to one of them cannot be told from interactions, so intervals hold for these only."
        )
    random = np.random.default_rng(0)
    signs = random.choice((-1.0, 1.0), size=(n, _DRAWS))
    drawn = fitted[:, None] + into @ (spread[:, None] * signs)
    bias = chance * np.einsum("pn,pn->p", into, into)
    rest = max(chance - measured, 0.0) if free >= _FREE else 0.0
    parts = {at: _slice(block) for at, block in model.blocks.items()}
    point = {at: float((fitted[own] ** 2 - bias[own]).sum()) for at, own in parts.items()}
    draws = {
        at: (drawn[own] ** 2).sum(axis=0) - 2 * float(bias[own].sum()) for at, own in parts.items()
    }
    total = sum(max(0.0, v) for v in point.values()) + rest
    totals = sum(np.maximum(0.0, v) for v in draws.values()) + rest
    if not total > 0:
        return Variances(said=(f"{name} is no larger than its noise.",))
    effects = []
    for at in (*parts, *model.left_out):
        factors = tuple(grid.factors[i] for i in at)
        levels = tuple(len(grid.levels[i]) for i in at)
        share = low = high = float("nan")
        if at in parts:
            share = max(0.0, point[at]) / total
            ends = np.quantile(
                np.maximum(0.0, draws[at]) / np.maximum(totals, 1e-300), (0.025, 0.975)
            )
            low, high = min(float(ends[0]), share), max(float(ends[1]), share)
        else:
            said.append(
                f"{name}: the interaction of {listed([word(f) for f in factors])} "
                "cannot be said, too few of its combinations were measured."
            )
        effects.append(
            Effect(grid.machine, quantity, factors, share, low, high, levels, n, grid.scope)
        )
    own = Rest(grid.machine, quantity, rest / total, measured / total, n, grid.scope)
    return Variances(tuple(effects), (own,), tuple(said))


def _slice(block: slice) -> slice:
    return slice(block.start + 1, block.stop + 1)  # the mean is before all


def _model(grid: Grid) -> _Model:
    own = [contrasts(len(levels))[grid.codes[:, i]] for i, levels in enumerate(grid.levels)]
    columns = list(own)
    blocks: dict[tuple[int, ...], slice] = {}
    start = 0
    for i, part in enumerate(own):
        blocks[(i,)] = slice(start, start + part.shape[1])
        start += part.shape[1]
    left_out = []
    for at in sorted(_pairs(grid), key=lambda at: own[at[0]].shape[1] * own[at[1]].shape[1]):
        a, b = (own[i] for i in at)
        size = a.shape[1] * b.shape[1]
        many = start + size > _COLUMNS or start + size > _COVERED * len(grid.codes) * 1.5
        if many or _coverage(grid, at) < _COVERED:
            left_out.append(at)
            continue
        columns.append((a[:, :, None] * b[:, None, :]).reshape(len(a), size))
        blocks[at] = slice(start, start + size)
        start += size
    return _Model(np.hstack(columns), blocks, tuple(left_out))


def _pairs(grid: Grid) -> Iterator[tuple[int, int]]:
    return combinations(range(len(grid.factors)), 2)


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
