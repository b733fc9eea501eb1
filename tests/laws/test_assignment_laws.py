"""Laws of ``least``: it is the least, whatever the graph, by whichever way it is found."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dlas.assignment import elimination_order, least
from dlas.errors import Refused

Nodes = dict[str, list[float]]
Edges = dict[tuple[str, str], np.ndarray]
Problem = tuple[Nodes, Edges]

#: Whole numbers, so that sums are exact, and what forbids.
COSTS = st.one_of(st.integers(-9, 9).map(float), st.integers(0, 3).map(float), st.just(math.inf))
SHAPES = ("chain", "tree", "series_parallel", "any", "apart", "complete")


def pairs_of(shape: str, n: int, draw: st.DrawFn) -> list[tuple[int, int]]:
    every = list(itertools.combinations(range(n), 2))
    if shape == "chain":
        return [(i - 1, i) for i in range(1, n)]
    if shape == "tree":
        return [(draw(st.integers(0, i - 1)), i) for i in range(1, n)]
    if shape == "series_parallel":  # each new node beside an edge that there is
        found = [(0, 1)] if n > 1 else []
        for i in range(2, n):
            a, b = draw(st.sampled_from(found))
            found += [(a, i), (i, b)]
        return found
    if shape == "apart":
        half = n // 2
        return [(i, j) for i, j in every if (i < half) == (j < half)]
    if shape == "complete":
        return every
    return draw(st.lists(st.sampled_from(every), unique=True)) if every else []


@st.composite
def problems(draw: st.DrawFn, shapes: tuple[str, ...] = SHAPES) -> Problem:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    nodes = {f"n{i}": draw(st.lists(COSTS, min_size=s, max_size=s)) for i, s in enumerate(sizes)}
    edges: Edges = {}
    for a, b in pairs_of(draw(st.sampled_from(shapes)), len(sizes), draw):
        size = sizes[a] * sizes[b]
        table = np.array(draw(st.lists(COSTS, min_size=size, max_size=size)))
        if draw(st.booleans()):
            a, b = b, a
        edges[f"n{a}", f"n{b}"] = table.reshape(sizes[a], sizes[b])
        if draw(st.integers(0, 9)) == 0:  # and one the other way
            edges[f"n{b}", f"n{a}"] = edges[f"n{a}", f"n{b}"].T.copy()
    return nodes, edges


def cost(problem: Problem, states: dict[str, int]) -> float:
    nodes, edges = problem
    found = sum(costs[states[name]] for name, costs in nodes.items())
    return found + float(sum(table[states[a], states[b]] for (a, b), table in edges.items()))


def brute_force(problem: Problem) -> float:
    nodes, _ = problem
    every = itertools.product(*(range(len(costs)) for costs in nodes.values()))
    return min(cost(problem, dict(zip(nodes, states, strict=True))) for states in every)


def solve(problem: Problem, most_entries: int = 2**22) -> float:
    """inf where there is no answer; else that of the states, which must be what is said."""
    try:
        total, states = least(*problem, most_entries)
    except Refused:
        return math.inf
    assert states.keys() == problem[0].keys()
    assert total == cost(problem, states)
    return total


@given(problems())
@settings(max_examples=300, deadline=None)
def test_as_trying_every_combination(problem: Problem) -> None:
    assert solve(problem) == brute_force(problem)


@given(problems(("any", "complete")))
@settings(max_examples=100, deadline=None)
def test_an_integer_program_finds_the_same(problem: Problem) -> None:
    assert solve(problem, most_entries=0) == solve(problem)


@given(problems(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_names_and_order_do_not_matter(problem: Problem, drawn: random.Random) -> None:
    nodes, edges = problem
    names = dict(zip(nodes, drawn.sample(range(99), len(nodes)), strict=True))
    renamed = {f"m{names[name]}": costs for name, costs in nodes.items()}
    turned = {
        (f"m{names[a]}", f"m{names[b]}")[:: 1 if keep else -1]: table if keep else table.T
        for (a, b), table in edges.items()
        for keep in [(b, a) in edges or drawn.random() < 0.5]
    }
    shuffled = [dict(drawn.sample(list(d.items()), len(d))) for d in (renamed, turned)]
    assert solve((shuffled[0], shuffled[1])) == solve(problem)


@given(problems(), st.integers(-5, 5), st.data())
@settings(deadline=None)
def test_what_every_state_of_a_node_costs_is_added(
    problem: Problem, constant: int, data: st.DataObject
) -> None:
    nodes, edges = problem
    name = data.draw(st.sampled_from(sorted(nodes)))
    dearer = {**nodes, name: [cost + constant for cost in nodes[name]]}
    assert solve((dearer, edges)) == solve(problem) + constant


@given(problems(), st.integers(0, 3))
@settings(deadline=None)
def test_never_worse_than_the_same_state_everywhere(problem: Problem, state: int) -> None:
    assume(all(len(costs) > state for costs in problem[0].values()))
    assert solve(problem) <= cost(problem, dict.fromkeys(problem[0], state))


@given(st.integers(2, 6), st.integers(0, 99))
@example(6, 0)
@settings(max_examples=20, deadline=None)
def test_small_seconds_are_told_apart_by_an_integer_program(states: int, seed: int) -> None:
    """Microseconds, far below what its solver takes for nothing."""
    drawn = np.random.default_rng(seed)
    nodes = {f"n{i}": list(drawn.random(states) * 1e-6) for i in range(6)}
    edges = {
        pair: drawn.random((states, states)) * 1e-7 for pair in itertools.combinations(nodes, 2)
    }
    program, eliminated = (least(nodes, edges, most)[0] for most in (0, 2**22))
    assert program == pytest.approx(eliminated, rel=1e-9)


def residual(blocks: int, states: int) -> Problem:
    """Chains of two with a shortcut around them."""
    drawn = np.random.default_rng(0)
    nodes = {f"n{i}": list(drawn.random(states)) for i in range(3 * blocks + 1)}
    pairs = [(f"n{i}", f"n{i + 1}") for i in range(3 * blocks)]
    pairs += [(f"n{3 * i}", f"n{3 * i + 3}") for i in range(blocks)]
    return nodes, {pair: drawn.random((states, states)) for pair in pairs}


def densely_connected(layers: int, states: int) -> Problem:
    """Every layer reads all before it; to change between layouts, state by parity, costs."""
    drawn = np.random.default_rng(0)
    nodes = {f"n{i}": list(drawn.random(states)) for i in range(layers)}
    change = (np.add.outer(np.arange(states), np.arange(states)) % 2).astype(float)
    pairs = itertools.combinations(nodes, 2)
    return nodes, {pair: change * drawn.random() / layers for pair in pairs}


@pytest.mark.parametrize("problem", [residual(333, 6), densely_connected(24, 4)])
def test_no_single_change_betters_a_large_network(problem: Problem) -> None:
    total, states = least(*problem)
    assert total == pytest.approx(cost(problem, states))
    for name, costs in problem[0].items():
        for state in range(len(costs)):
            assert cost(problem, {**states, name: state}) >= total - 1e-9


def test_what_only_two_neighbours_know_is_eliminated_first() -> None:
    sizes = dict.fromkeys("abcde", 2)
    complete = [*itertools.combinations("abcd", 2), ("d", "e")]
    assert elimination_order(sizes, complete, 2**22)[0] == "e"
    assert elimination_order(sizes, complete, 15) == ["e"]


@pytest.mark.parametrize("most_entries", [0, 2**22])
def test_where_everything_is_forbidden(most_entries: int) -> None:
    inf = math.inf
    with pytest.raises(Refused, match="every state of 'b' is forbidden"):
        least({"a": [0.0], "b": [inf, inf]}, {})
    unequal = np.array([[inf, 0.0], [0.0, inf]])
    triangle = dict.fromkeys(itertools.combinations("abc", 2), unequal)
    with pytest.raises(Refused, match="the edges forbid every combination"):
        least({name: [0.0, 0.0] for name in "abc"}, triangle, most_entries)
    four = {**triangle, **{(name, "d"): np.zeros((2, 2)) for name in "abc"}}
    with pytest.raises(Refused, match="the edges forbid every combination"):
        least({name: [0.0, 0.0] for name in "abcd"}, four, most_entries)


@pytest.mark.parametrize(
    "nodes, edges, sentence",
    [
        ({"a": [0.0]}, {("a", "a"): np.zeros((1, 1))}, "two different nodes"),
        ({"a": [0.0]}, {("a", "b"): np.zeros((1, 1))}, "not 'a' and 'b'"),
        ({"a": [0.0], "b": [0.0]}, {("a", "b"): np.zeros((1, 2))}, r"is \(1, 2\), .* \(1, 1\)"),
        ({"a": [math.nan]}, {}, "'a' costs nan"),
        ({"a": [0.0, -math.inf]}, {}, "'a' costs -inf"),
        ({"a": [0.0], "b": [0.0]}, {("a", "b"): np.full((1, 1), math.nan)}, "costs nan"),
    ],
)
def test_costs_that_are_none(nodes: Nodes, edges: Edges, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        least(nodes, edges)


def test_of_nothing() -> None:
    assert least({}, {}) == (0.0, {})
