"""Laws of the cost model of kernels, for whatever records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dlas.tuning.model import CostModel, Prediction
from dlas.tuning.record import Place, Record

PLACE = Place(machine="m", target="t", compiler="c", revision=1)
sizes = st.sampled_from([0.0, 1.0, 2.0, 3.0, 7.0, 16.0, 64.0, 1000.0])
seconds = st.floats(1e-7, 10)
estimates = st.floats(1.0, 1e10)
knobs = st.fixed_dictionaries({"tile": sizes, "rows": sizes})
workloads = st.fixed_dictionaries({"pixels": sizes, "channels": sizes})


@st.composite
def records(draw: st.DrawFn) -> Record:
    return Record(
        kernel="k", candidate="c", primitive="gemm", workload=draw(workloads), knobs=draw(knobs),
        estimate=draw(estimates), seconds=draw(seconds), status="ok", place=PLACE, created=0.0,
    )  # fmt: skip


known = st.lists(records(), max_size=25)
candidates = st.lists(knobs, min_size=1, max_size=8)


def predicted(found: Sequence[Record], workload: Any, candidates: Sequence[Any]) -> Prediction:
    return CostModel(found).predict(
        workload, candidates, [1e6 * (1 + i) for i in range(len(candidates))]
    )


@settings(deadline=None, max_examples=60)
@given(known, workloads, candidates, st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(
    found: list[Record], workload: Any, candidates: Any, random: Any
) -> None:
    first = predicted(found, workload, candidates)
    shuffled = random.sample(found, len(found))
    again = predicted(shuffled, workload, candidates)
    np.testing.assert_allclose(again.log_seconds, first.log_seconds, atol=1e-4)
    np.testing.assert_allclose(again.covariance, first.covariance, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.lists(records(), min_size=1, max_size=25), workloads, candidates, st.floats(1e-3, 1e3))
def test_another_unit_of_time_only_scales(
    found: list[Record], workload: Any, candidates: Any, factor: float
) -> None:
    scaled = [replace(r, seconds=(r.seconds or 0) * factor) for r in found]
    first, again = (predicted(each, workload, candidates) for each in (found, scaled))
    np.testing.assert_allclose(again.log_seconds, first.log_seconds + math.log(factor), atol=1e-4)
    np.testing.assert_allclose(again.covariance, first.covariance, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(known, workloads, candidates)
def test_a_covariance_is_one(found: list[Record], workload: Any, candidates: Any) -> None:
    covariance = predicted(found, workload, candidates).covariance
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-9)
    assert np.linalg.eigvalsh((covariance + covariance.T) / 2).min() > -1e-6
    assert (np.diag(covariance) > 0).all()


@settings(deadline=None, max_examples=60)
@given(known, records(), workloads, candidates)
def test_a_record_makes_nothing_less_sure(
    found: list[Record], another: Record, workload: Any, candidates: Any
) -> None:
    """Under the same scales."""
    scales = CostModel(found).scales
    models = CostModel([another], scales), CostModel([another, *found], scales)
    before, after = (m.predict(workload, candidates, [1.0] * len(candidates)) for m in models)
    assert (after.deviation <= before.deviation + 1e-6).all()


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    number = draw(st.integers(1, 8))
    some = st.floats(-2, 2, allow_subnormal=False)
    means = draw(st.lists(some, min_size=number, max_size=number))
    root = np.array(draw(st.lists(some, min_size=number**2, max_size=number**2)))
    square = root.reshape(number, number)
    return Prediction(np.array(means), square @ square.T)


@given(predictions(), st.data())
def test_contenders(prediction: Prediction, data: st.DataObject) -> None:
    best = data.draw(st.sampled_from(prediction.order))
    chances = sorted(data.draw(st.lists(st.floats(0, 1), min_size=2, max_size=5)))
    found = [prediction.contenders(best, chance) for chance in chances]
    for each in found:
        assert best in each
        assert each == [i for i in prediction.order if i in each], "in order"
    for more, fewer in pairwise(found):
        assert set(fewer) <= set(more)
    assert prediction.contenders(best, 0.0) == prediction.order
    half = prediction.contenders(best, 0.5 - 1e-9)
    faster = [
        i for i in prediction.order if prediction.log_seconds[i] < prediction.log_seconds[best]
    ]
    assert set(faster) <= set(half)


@settings(deadline=None, max_examples=40)
@given(workloads, candidates)
def test_without_records_the_estimate_ranks(workload: Any, candidates: Any) -> None:
    guess = [float((7 * i) % 5 + 1) for i in range(len(candidates))]
    prediction = CostModel([]).predict(workload, candidates, guess)
    assert prediction.order == sorted(range(len(guess)), key=lambda i: (guess[i], i))
    assert prediction.log_seconds == pytest.approx(np.log(guess) + math.log(1e-11))
