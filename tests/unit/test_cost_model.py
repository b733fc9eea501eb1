"""The cost model of kernels: what it learns, and that no record stops it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from tuning_records import ELSEWHERE, failed, made

from dlas.tuning.model import MOST, UNKNOWN, USUAL, CostModel, Prediction
from dlas.tuning.record import Record

TILES = [{"tile": float(2**i)} for i in range(6)]
HERE, FAR = {"rows": 64.0, "taps": 9.0}, {"rows": 65536.0, "taps": 1.0}


def layer(
    workload: Any = None, scale: float = 1.0, best: int = 3, noise: float = 0.0
) -> list[Record]:
    """Measured with every tile: each octave beside the best one costs a quarter more. The estimate
    says that they are all alike."""
    random = np.random.default_rng(0)
    return [
        made(i, workload=workload or HERE, knobs=tile, estimate=1e6, seconds=seconds)
        for i, tile in enumerate(TILES)
        for seconds in [scale * 1e-4 * 1.25 ** abs(i - best) * math.exp(noise * random.normal())]
    ]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def predicted(records: list[Record], workload: Any = None, **changes: Any) -> Prediction:
    given = {"knobs": TILES, "estimates": [1e6] * len(TILES), **changes}
    return CostModel(records).predict(workload or HERE, **given)


def test_what_was_measured_is_remembered() -> None:
    prediction, records = predicted(layer()), layer()
    assert prediction.order[0] == 3
    truth = [record.seconds for record in records]
    assert prediction.seconds == pytest.approx(truth, rel=0.1)
    assert prediction.deviation.max() < 0.1
    assert prediction.contenders(3) == [3]


def test_noise_is_averaged() -> None:
    prediction = predicted(layer(noise=0.03) * 3)
    assert prediction.order[0] == 3


def test_far_away_nothing_is_known() -> None:
    near, far = predicted(layer()), predicted(layer(), FAR)
    assert far.deviation.min() > 5 * near.deviation.max()
    assert far.deviation.max() < UNKNOWN, "but the machine is"
    assert len(far.contenders(far.order[0])) > 1


def test_a_layer_alike_is_guessed_from_what_was_measured() -> None:
    prediction = predicted(layer(), {"rows": 80.0, "taps": 9.0})
    assert prediction.order[0] == 3
    assert 0 in prediction.order[3:]


def test_a_layer_may_cost_more_than_another_by_the_same_estimate() -> None:
    """Such as one whose images are in no cache; its candidates are ranked none the less."""
    slow = {"rows": 1024.0, "taps": 9.0}
    records = layer() + layer(slow, scale=3.0)[:5]
    prediction = predicted(records, slow)
    assert prediction.order[0] == 3
    assert prediction.seconds[3] == pytest.approx(3e-4, rel=0.1)
    assert prediction.seconds[5] == pytest.approx(3e-4 * 1.25**2, rel=0.2), "not measured"


def test_estimates_count_where_records_say_nothing() -> None:
    guess = [6e6, 5e6, 4e6, 3e6, 2e6, 1e6]
    assert predicted(layer(), FAR, estimates=guess).order[0] == 5
    empty = predicted([], estimates=guess)
    assert empty.order == [5, 4, 3, 2, 1, 0]
    assert empty.deviation == pytest.approx(math.hypot(UNKNOWN, USUAL.choice))


def test_without_records_candidates_alike_are_alike() -> None:
    """How unsure the machine's speed is tells nothing between two candidates."""
    guess = [1e6, 1.05e6, 1e6, 1e6, 1e6, 4e6]
    prediction = predicted([], estimates=guess)
    assert 1 in prediction.contenders(0)
    assert 5 not in prediction.contenders(0)


def test_records_of_any_place_teach_and_failed_ones_do_not() -> None:
    elsewhere = [replace(record, place=ELSEWHERE) for record in layer(best=2)]
    assert predicted(elsewhere).order[0] == 2
    assert CostModel([failed(1), failed(2)]).size == 0
    first, again = predicted(layer()), predicted([failed(1), *layer(), failed(2)])
    assert (first.log_seconds == again.log_seconds).all()


def test_only_the_first_are_taken() -> None:
    assert CostModel([made(1)] * (MOST + 5)).size == MOST


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([made(0)], id="one"),
        pytest.param([made(0)] * 30, id="all the same"),
        pytest.param([made(0, seconds=1e-9), made(0, seconds=1e3)] * 5, id="contradictions"),
        pytest.param([made(i, knobs={}) for i in range(5)], id="no knobs"),
        pytest.param([made(i, workload={}) for i in range(5)], id="no workload"),
        pytest.param([made(i, workload={}, knobs={}) for i in range(5)], id="nothing"),
        pytest.param([made(i, knobs={"tile": 0.0}) for i in range(5)], id="noughts"),
        pytest.param([made(i, knobs={"other": float(i)}) for i in range(5)], id="other knobs"),
        pytest.param([made(0, estimate=0.0)], id="estimate 0"),
        pytest.param([made(0, estimate=-1.0), made(1)], id="estimate below 0"),
        pytest.param([made(0, estimate=1e300, seconds=1e-300)], id="a tiny quotient"),
        pytest.param([made(0, estimate=5e-324, seconds=1e300)], id="a huge quotient"),
        pytest.param([made(0, knobs={"tile": -5.0}), made(1)], id="a knob below 0"),
        pytest.param([made(0, workload={"rows": -1.0}), made(1)], id="a workload below 0"),
        pytest.param([made(0, workload={"rows": 1.7e308}), made(1)], id="a huge workload"),
    ],
)
def test_no_record_stops_it(records: list[Record]) -> None:
    prediction = predicted(records)
    assert np.isfinite(prediction.log_seconds).all()
    assert np.isfinite(prediction.deviation).all()
    assert sorted(prediction.order) == list(range(len(TILES)))
    assert prediction.order[0] in prediction.contenders(prediction.order[0])


def test_one_candidate_without_knobs() -> None:
    for records in ([], [made(0, knobs={}, seconds=2e-4)]):
        prediction = predicted(records, knobs=[{}], estimates=[1e6])
        assert prediction.order == [0]
        assert prediction.contenders(0) == [0]


def test_a_model_of_more_records_may_keep_the_scales() -> None:
    scales = CostModel(layer()).scales
    assert CostModel([*layer(), made(1)], scales).scales == scales
