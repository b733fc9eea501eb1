"""What a run costs: laws of the arithmetic."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlas.study.costs import Spent, cost_lines, duration, grid_cost, last_spent

SECONDS = st.floats(0, 1e5, allow_nan=False)
#: Chains of a tree: a node's key holds its parent's, as real keys do.
CHAINS = st.lists(
    st.tuples(*[st.integers(0, 2)] * 4).map(
        lambda choice: tuple("/".join(map(str, choice[: i + 1])) for i in range(len(choice)))
    ),
    min_size=1,
)


def all_keys(chains: list[tuple[str, ...]]) -> set[str]:
    return {key for chain in chains for key in chain}


@given(CHAINS, st.data())
def test_sharing_never_costs_more_and_saves_at_most_all_but_one(
    chains: list[tuple[str, ...]], data: st.DataObject
) -> None:
    taken = {key: data.draw(SECONDS) for key in sorted(all_keys(chains))}
    cost = grid_cost(chains, taken)
    assert cost.stacks == len(set(chains))
    assert cost.shared_s == pytest.approx(sum(taken.values()))
    assert cost.shared_s <= cost.alone_s * (1 + 1e-9)
    assert 1 / cost.stacks * (1 - 1e-9) <= cost.share <= 1 + 1e-9


@given(CHAINS, SECONDS)
def test_without_shared_prefixes_nothing_is_saved(
    chains: list[tuple[str, ...]], seconds: float
) -> None:
    apart = [tuple(f"{i} {key}" for key in chain) for i, chain in enumerate(chains)]
    assert grid_cost(apart, dict.fromkeys(all_keys(apart), seconds)).share == pytest.approx(1)


@given(CHAINS, SECONDS)
def test_a_stack_given_twice_counts_once(chains: list[tuple[str, ...]], seconds: float) -> None:
    taken = dict.fromkeys(all_keys(chains), seconds)
    twice = grid_cost(chains * 2, taken)
    assert twice.stacks == grid_cost(chains, taken).stacks
    assert twice.share == pytest.approx(grid_cost(chains, taken).share)


def test_what_was_not_made_counts_on_neither_side() -> None:
    chains = [("data", "model", "refused", "leaf"), ("data", "model", "fine", "timed")]
    cost = grid_cost(chains, {"data": 1.0, "model": 9.0, "fine": 2.0, "timed": 3.0})
    assert (cost.shared_s, cost.alone_s) == (15.0, 25.0)
    assert grid_cost(chains, {}).share == 1.0


@given(st.integers(1, 16), st.tuples(*[SECONDS] * 8))
def test_time_is_work_waiting_or_ours(jobs: int, seconds: tuple[float, ...]) -> None:
    planning_s, members_s, waiting_s, making_ours_s, *rest = seconds
    loading_s, timed_s, measuring_ours_s, probing_s = rest
    spent = Spent(
        jobs=jobs,
        planning_s=planning_s,
        making_s=(members_s + waiting_s + making_ours_s) / jobs,
        waiting_s=waiting_s,
        members_s={"systems": members_s / 2, "models": members_s / 2},
        measuring_s=loading_s + timed_s + probing_s + measuring_ours_s,
        loading_s=loading_s,
        timed_s=timed_s,
        probing_s=probing_s,
    )
    ours = planning_s + making_ours_s + measuring_ours_s
    assert spent.overhead_s == pytest.approx(ours, abs=1e-6)
    assert spent.overhead_share >= 0
    if members_s + loading_s + timed_s > 1e-3:
        assert spent.strict_share >= spent.overhead_share * (1 - 1e-9)
    again = last_spent(
        [{"spent": msgspec.to_builtins(Spent())}, {"spent": msgspec.to_builtins(spent)}]
    )
    assert again == spent


def test_a_run_that_did_nothing_has_no_share() -> None:
    assert Spent(planning_s=2.0).overhead_share == 0.0
    assert last_spent([]) is None


def test_sentences() -> None:
    grid = grid_cost([("a", "b"), ("a", "c")], {"a": 60.0, "b": 1.0, "c": 1.0})
    spent = Spent(
        jobs=2, planning_s=0.5, making_s=33.0, waiting_s=2.0, members_s={"systems": 62.0},
        measuring_s=10.0, loading_s=3.0, timed_s=6.0,
    )  # fmt: skip
    assert cost_lines(grid, spent) == [
        "grid: 2 stacks cost 62 s of work, 50.8% of the 2 min that they would one by one",
        "harness: 4.9% on top of 71 s of work (planning 0.5 s, making 2.0 s, measuring 1.0 s); "
        "slots waited 2.0 s for what was not made yet",
    ]
    assert cost_lines(grid_cost([("a",)], {}), None) == []
    assert [duration(s) for s in (4.2, 42, 720, 11_160)] == ["4.2 s", "42 s", "12 min", "3.1 h"]
