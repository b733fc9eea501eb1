"""Laws of the analysis behind the report: fronts, intervals, promised and measured speedups."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dlas.analysis.intervals import overlap, wilson
from dlas.analysis.pareto import front, front_of
from dlas.analysis.speedup import by_optimization, promised_and_measured
from dlas.testing.results import made_up_results

# Few distinct values, so that ties and duplicates are the rule.
COSTS = arrays(
    float,
    st.tuples(st.integers(0, 12), st.integers(1, 3)),
    elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, math.inf, math.nan]),
)


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a <= b).all() and (a < b).any())


@given(COSTS)
def test_a_front_is_what_nothing_dominates(costs: np.ndarray) -> None:
    on = front(costs)
    for i, row in enumerate(costs):
        known = not np.isnan(row).any()
        assert on[i] == (known and not any(dominates(other, row) for other in costs))


@given(COSTS)
def test_every_known_row_off_the_front_is_dominated_by_one_on_it(costs: np.ndarray) -> None:
    on = front(costs)
    for row in costs[~on & ~np.isnan(costs).any(axis=1)]:
        assert any(dominates(other, row) for other in costs[on])


@given(COSTS, st.randoms(use_true_random=False))
def test_a_front_does_not_depend_on_order_or_duplicates(costs: np.ndarray, random) -> None:
    order = list(range(len(costs))) * 2
    random.shuffle(order)
    np.testing.assert_array_equal(front(costs[order]), front(costs)[order])


def test_equal_rows_share_the_front_and_rows_with_nan_are_left_out() -> None:
    frame = pd.DataFrame(
        {"latency_s": [1, 1, 2, np.nan, 0.5], "accuracy": [0.9, 0.9, 0.8, 1.0, np.nan]}
    )
    assert list(front_of(frame, ["latency_s"], ["accuracy"]).index) == [0, 1]


def test_a_front_is_sorted_by_cost() -> None:
    frame = pd.DataFrame({"latency_s": [3, 1, 2.0], "accuracy": [0.9, 0.7, 0.8]})
    assert list(front_of(frame, ["latency_s"], ["accuracy"])["latency_s"]) == [1, 2, 3]


@given(st.integers(1, 10_000), st.data())
def test_wilson_holds_the_share_and_stays_a_share(count: int, data) -> None:
    share = data.draw(st.integers(0, count)) / count
    low, high = wilson(share, count)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    narrower = wilson(share, count * 4)
    assert narrower[1] - narrower[0] < high - low


def test_wilson_agrees_with_a_published_example() -> None:
    # Agresti & Coull 1998: 0 of 10 gives (0, 0.278).
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=5e-4)


def test_intervals_overlap_when_they_share_a_point() -> None:
    assert overlap(1, 2, 2, 3) is True
    assert overlap(2, 3, 1, 2) is True
    assert overlap(1, 2, 2.1, 3) is False
    assert overlap(1, math.nan, 2, 3) is None


def test_only_optimized_stacks_make_promises() -> None:
    frame = made_up_results()
    compared = promised_and_measured(frame)
    assert list(compared.index) == list(frame.index[frame["optimizations"] != "none"])


def test_a_speedup_lies_within_its_interval_and_absent_ones_say_why() -> None:
    compared = promised_and_measured(made_up_results())
    known = compared[compared["measured"].notna()]
    assert (known["low"] < known["measured"]).all()
    assert (known["measured"] < known["high"]).all()
    assert (known["why"] == "").all()
    assert (compared.loc[compared["measured"].isna(), "why"] != "").all()


def test_the_reason_names_the_stack_or_its_baseline() -> None:
    frame = made_up_results()
    compared = promised_and_measured(frame)
    refused = compared[(compared["optimizations"] == "int8") & (compared["system"] == "pytorch")]
    assert set(refused["why"]) == {
        "This stack was not measured: "
        "refused, pytorch does not run QDQ networks: choose onnxruntime"
    }
    slow = compared[(compared["model"] == "vgg(0.25)") & (compared["algorithm"] == "direct")]
    assert set(slow["why"]) == {
        "The same stack without optimizations was not measured: "
        "timed out, one inference took longer than 10 s"
    }
    alone = promised_and_measured(
        frame[frame["optimizations"] == "int8"].assign(status="ok", measured_speedup=np.nan)
    )
    assert set(alone["why"]) == {"The study has no stack without optimizations to compare with."}


def test_the_summary_counts_every_optimized_stack_once() -> None:
    compared = promised_and_measured(made_up_results())
    found = by_optimization(compared)
    assert found["stacks"].sum() == len(compared)
    assert found["measured_stacks"].sum() == compared["kept"].notna().sum()
    known = found[found["measured_stacks"] > 0]
    np.testing.assert_allclose(known["kept"], known["measured"] / known["promised"])


def test_an_empty_study_has_empty_answers() -> None:
    compared = promised_and_measured(made_up_results().iloc[:0])
    assert compared.empty
    assert by_optimization(compared).empty
