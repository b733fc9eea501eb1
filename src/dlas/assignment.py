"""One state for each node of a graph, such that nodes and edges together cost the least.

This is partitioned Boolean quadratic programming (PBQP), by which Anderson and Gregg choose a
network's primitives and layouts (2018, "Optimal DNN Primitive Selection with Partitioned Boolean
Quadratic Programming", CGO): a node is a layer, its states are the ways to compute it, an edge is
what it costs that neighbours' layouts differ.

A node of two neighbours or fewer is eliminated: for every state of theirs its best one is known,
which becomes a cost of theirs (the reductions R0, RI and RII of Hames and Scholz 2006, "Nearly
Optimal Register Allocation with PBQP"). Chains, trees and series-parallel graphs are then solved.
What is left is eliminated likewise, with a table over more neighbours each time, as long as such
tables stay small; else it is an integer program. All of this is exact, where they guess.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlas.errors import Refused

Costs = NDArray[np.float64]

#: Entries of all tables over more than two neighbours: 32 MB, and less than a second.
MOST_ENTRIES = 2**22
#: The largest cost of an integer program, whose solver takes 1e-6 for nothing.
LARGEST = 1e4
FORBIDDEN = "nothing can be chosen: the edges forbid every combination of states"


def least(
    nodes: Mapping[str, Sequence[float]],
    edges: Mapping[tuple[str, str], Costs],
    most_entries: int = MOST_ENTRIES,
) -> tuple[float, dict[str, int]]:
    """The least cost of all, and the index of every node's state there.

    ``nodes``: the cost of each state; ``edges``: (states of the first, states of the second), an
    edge both ways counts twice. In any unit, negative too; inf forbids a state, or a pair. Beyond
    ``most_entries`` an integer program takes over, within 1e-10 of the largest finite cost. Raises
    Refused where everything is forbidden, ValueError for costs that are none."""
    check(nodes, edges)
    allowed = {name: np.flatnonzero(np.isfinite(costs)) for name, costs in nodes.items()}
    for name, few in allowed.items():
        if not len(few):
            raise Refused(f"nothing can be chosen: every state of {name!r} is forbidden")
    factors = [
        *(Factor.of((name,), np.asarray(costs), allowed) for name, costs in nodes.items()),
        *(Factor.of(pair, table, allowed) for pair, table in edges.items()),
    ]
    found = _least(factors, most_entries)
    states = {name: int(allowed[name][found.get(name, 0)]) for name in nodes}
    total = math.fsum(
        [
            *(float(costs[states[name]]) for name, costs in nodes.items()),
            *(float(table[states[a], states[b]]) for (a, b), table in edges.items()),
        ]
    )
    if total == math.inf:
        raise Refused(FORBIDDEN)
    return total, states


def check(nodes: Mapping[str, Sequence[float]], edges: Mapping[tuple[str, str], Costs]) -> None:
    """Raise ValueError for what ``least`` has no meaning for."""
    for (a, b), table in edges.items():
        if a == b or a not in nodes or b not in nodes:
            raise ValueError(f"an edge joins two different nodes, not {a!r} and {b!r}")
        shape = len(nodes[a]), len(nodes[b])
        if np.shape(table) != shape:
            raise ValueError(f"the edge {a!r}, {b!r} is {np.shape(table)}, their states {shape}")
    for where, given in (*nodes.items(), *edges.items()):
        costs: Costs = np.asarray(given, np.float64)
        wrong = np.isnan(costs) | np.isneginf(costs)
        if wrong.any():
            raise ValueError(f"{where!r} costs {costs[wrong][0]}, which is no cost")


class Factor(NamedTuple):
    """A cost that depends on the states of the nodes in ``scope``, an axis of ``table`` each."""

    scope: tuple[str, ...]
    table: Costs

    @classmethod
    def of(
        cls, scope: tuple[str, ...], table: Costs, allowed: Mapping[str, NDArray[np.int64]]
    ) -> Factor:
        """Of the allowed states; nodes that have only one are no longer in the scope."""
        free = tuple(name for name in scope if len(allowed[name]) > 1)
        kept = np.asarray(table, np.float64)[np.ix_(*(allowed[name] for name in scope))]
        return cls(free, kept.reshape([len(allowed[name]) for name in free]))

    def over(self, scope: Sequence[str]) -> Costs:
        """The table with axes of length 1 for others. Both scopes are in the same order."""
        sizes = dict(zip(self.scope, self.table.shape, strict=True))
        return self.table.reshape([sizes.get(name, 1) for name in scope])

    def ordered(self, rank: Mapping[str, int]) -> Factor:
        axes = sorted(range(len(self.scope)), key=lambda axis: rank[self.scope[axis]])
        return Factor(tuple(self.scope[axis] for axis in axes), self.table.transpose(axes))


def _least(factors: Sequence[Factor], most_entries: int) -> dict[str, int]:
    """The state of every node in a scope; any state where all are forbidden."""
    sizes = {n: s for f in factors for n, s in zip(f.scope, f.table.shape, strict=True)}
    order = elimination_order(sizes, [factor.scope for factor in factors], most_entries)
    left = [name for name in sizes if name not in set(order)]
    rank = {name: index for index, name in enumerate((*order, *left))}
    # A factor waits for the first of its nodes that is eliminated.
    waiting: dict[str, list[Factor]] = {name: [] for name in rank}
    for factor in factors:
        if factor.scope:
            ordered = factor.ordered(rank)
            waiting[ordered.scope[0]].append(ordered)
    best: dict[str, Factor] = {}
    for name in order:
        others = sorted({n for f in waiting[name] for n in f.scope} - {name}, key=rank.__getitem__)
        table = sum_over((name, *others), waiting[name])
        best[name] = Factor(tuple(others), table.argmin(axis=0))
        if others:
            waiting[others[0]].append(Factor(tuple(others), table.min(axis=0)))
    states = integer_program({name: waiting[name] for name in left}) if left else {}
    for name in reversed(order):
        others_at, table = best[name]
        states[name] = int(table[tuple(states[other] for other in others_at)])
    return states


def sum_over(scope: Sequence[str], factors: Iterable[Factor]) -> Costs:
    tables = [factor.over(scope) for factor in factors]
    return np.asarray(sum(tables[1:], tables[0]))


def elimination_order(
    sizes: Mapping[str, int], scopes: Iterable[Sequence[str]], most_entries: int
) -> list[str]:
    """Nodes of two neighbours or fewer first, then those with the smallest tables. Where these have
    more than ``most_entries`` together, the order ends before the first of them."""
    near: dict[str, set[str]] = {name: set() for name in sizes}
    for scope in scopes:
        for name in scope:
            near[name] |= {*scope} - {name}

    def cost(name: str) -> tuple[bool, int, str]:
        entries = sizes[name] * math.prod(sizes[other] for other in near[name])
        return len(near[name]) > 2, entries, name

    order: list[str] = []
    with_few, spent = 0, 0
    heap = [cost(name) for name in near]
    heapq.heapify(heap)
    while heap:
        found = heapq.heappop(heap)
        many, entries, name = found
        if name not in near or found != cost(name):
            continue  # its neighbours are others by now, and it is in the heap again
        if many:
            with_few = with_few if spent else len(order)
            spent += entries
            if spent > most_entries:
                return order[:with_few]
        order.append(name)
        around = near.pop(name)
        for other in around:
            near[other] |= around
            near[other] -= {name, other}
        for other in around:
            heapq.heappush(heap, cost(other))
    return order


def integer_program(factors: Mapping[str, Sequence[Factor]]) -> dict[str, int]:
    """The best states of nodes and pairs by branch and bound. A column for each state of a node,
    0 or 1, and for each pair of states, which follow: their sums are the columns of the node."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    found: dict[tuple[str, ...], list[Factor]] = {}
    for factor in (f for many in factors.values() for f in many):
        found.setdefault(factor.scope, []).append(factor)
    tables = {scope: sum_over(scope, many) for scope, many in found.items()}
    if any(np.isinf(table).all() for table in tables.values()):
        raise Refused(FORBIDDEN)
    sizes = {n: s for scope, t in tables.items() for n, s in zip(scope, t.shape, strict=True)}
    for name, size in sizes.items():
        tables.setdefault((name,), np.zeros(size))
    scopes = sorted(tables, key=len)
    ends = np.cumsum([tables[scope].size for scope in scopes])
    columns = {
        scope: np.arange(end - tables[scope].size, end).reshape(tables[scope].shape)
        for scope, end in zip(scopes, ends, strict=True)
    }
    rows: list[tuple[list[int], list[float], float]] = []
    for scope, of_scope in columns.items():
        if len(scope) == 1:
            rows.append((of_scope.tolist(), [1.0] * len(of_scope), 1.0))
            continue
        for name, many in zip(scope, (of_scope, of_scope.T), strict=True):
            for single, pairs in zip(columns[name,], many, strict=True):
                rows.append(([int(single), *pairs.tolist()], [-1.0] + [1.0] * len(pairs), 0.0))
    values = [v for _, coefficients, _ in rows for v in coefficients]
    at_row = [index for index, (at, _, _) in enumerate(rows) for _ in at]
    at_column = [column for at, _, _ in rows for column in at]
    matrix = csr_array((values, (at_row, at_column)), shape=(len(rows), int(ends[-1])))
    sides = np.array([side for *_, side in rows])

    # Exactly one entry of each table counts, so that only differences matter.
    costs = np.concatenate([(tables[scope] - tables[scope].min()).ravel() for scope in scopes])
    allowed = np.isfinite(costs)
    costs[~allowed] = 0.0
    solved = milp(
        costs / (costs.max() or 1.0) * LARGEST,
        integrality=[float(len(scope) == 1) for scope in scopes for _ in range(tables[scope].size)],
        bounds=Bounds(0.0, allowed.astype(float)),
        constraints=LinearConstraint(matrix, sides, sides),
        options={"mip_rel_gap": 0.0},
    )
    if solved.x is None:
        raise Refused(FORBIDDEN)
    return {name: int(solved.x[columns[name,]].argmax()) for name in sizes}
