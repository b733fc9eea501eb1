"""The tuner: what was measured is kept and trusted here only, what failed is not tried again, and
whatever goes wrong the network is compiled."""

from __future__ import annotations

import fcntl
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from test_tvm_system import deviation, expected, plan_of

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

from tuning_kernels import SETTING, convolution, filled
from tuning_records import made

from dlas.layer import member
from dlas.network import Network
from dlas.optimizations.magnitude import zeroed
from dlas.plan import Plan
from dlas.systems.tvm import Tvm, compiling, tuning
from dlas.systems.tvm.contest import Contests
from dlas.systems.tvm.questions import Question, of_template
from dlas.systems.tvm.tally import open_tally
from dlas.systems.tvm.tuning import Answer, Tuner, waves
from dlas.testing.networks import noise_images, tiny
from dlas.tuning.model import Prediction
from dlas.tuning.store import TuningStore

FEW = 3


def few(number: int = 0, candidates: int = FEW) -> Question:
    """The convolution with its first candidates only, as another kernel for each number."""
    question = convolution()
    return replace(
        question,
        kernel=f"kernel {number}",
        knobs=question.knobs[:candidates],
        makers=question.makers[:candidates],
        estimates=question.estimates[:candidates],
    )


def going_wrong(question: Question, *makers: Any) -> Question:
    """The first candidates are these."""
    return replace(question, makers=[*makers, *question.makers[len(makers) :]])


@pytest.fixture(autouse=True)
def all_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or which are measured would depend on what this machine does beside."""
    monkeypatch.setattr(Prediction, "contenders", lambda prediction, _: prediction.order)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def contested(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many candidates took part in each contest that was held."""
    found: list[int] = []
    hold = Contests.hold

    def counted(contests: Contests, until: float = math.inf) -> Any:
        found.extend(len(contest.candidates) for contest in contests.contests)
        return hold(contests, until)

    monkeypatch.setattr(Contests, "hold", counted)
    return found


def tuner(trials: int = FEW, **fields: Any) -> Tuner:
    return Tuner(SETTING, trials, **fields)


def by_status(store: TuningStore, kernel: str = "kernel 0") -> dict[str, str]:
    return {r.candidate: r.status for r in store.records() if r.kernel == kernel}


# -- what is known ---------------------------------------------------------------------------------


def test_what_was_measured_is_kept(contested: list[int]) -> None:
    first, again = tuner(), tuner()
    (answer,) = first.answer([few()])
    assert answer.measured
    assert answer.candidate in range(FEW)
    assert (answer.seconds or 0) > 0
    assert list(by_status(first.store).values()) == ["ok"] * FEW
    assert (first.tally.kernels, first.tally.known, first.tally.measured) == (1, 0, FEW)
    done = len(contested)
    assert again.known(few()) == answer
    assert again.answer([few()]) == [answer]
    assert again.expected(few()) == (pytest.approx(math.log(answer.seconds or 0)), 0.0)
    assert (again.tally.known, again.tally.measured, again.tally.late) == (1, 0, 0)
    assert len(contested) == done


def test_asked_twice_it_is_measured_once(contested: list[int]) -> None:
    asked = tuner(2)
    first, second, third = asked.answer([few(), few(1), few()])
    assert first == third
    assert contested == [2, 2]
    assert asked.answer([few()]) == [first]
    assert asked.tally.kernels == 2
    assert second.measured


def test_more_trials_measure_what_is_missing(contested: list[int]) -> None:
    tuner(2).answer([few()])
    tuner(FEW).answer([few()])
    assert contested == [2, 2], "the best so far, and the last"
    assert sum(waves(1)) == 0
    assert [*waves(2), *waves(3), *waves(8), *waves(32)] == [2, 2, 3, 4, 8, 16, 32]


@pytest.mark.parametrize(
    "change", [{"machine": "m"}, {"target": "t"}, {"compiler": "c"}, {"revision": 99}]
)
def test_records_of_another_place_guide_only(change: dict[str, Any], contested: list[int]) -> None:
    question, asked = few(), tuner(2)
    place = msgspec.structs.replace(asked.place, **change)
    asked.store.add(
        [
            made(
                i, kernel=question.kernel, candidate=question.candidate(i), place=place,
                primitive=question.primitive, workload=question.workload, knobs=question.knobs[i],
                estimate=question.estimates[i], seconds=seconds,
            )
            for i, seconds in enumerate((8e-4, 4e-4, 1e-4))
        ]
    )  # fmt: skip
    assert asked.known(question) == Answer(2, pytest.approx(1e-4, rel=0.3), False)
    (answer,) = asked.answer([question])
    assert answer.measured
    assert (answer.seconds or 1) < 5e-5
    assert contested[0] >= 2
    assert asked.tally.known == 0


def test_damaged_rows_are_measured_again(contested: list[int]) -> None:
    first = tuner()
    first.answer([few(), few(1)])
    done = len(contested)
    database = sqlite3.connect(first.store.file)
    database.execute("update records set record = ? where kernel = 'kernel 0'", (b"{damaged",))
    database.commit()
    database.close()
    again = tuner()
    assert all(answer.measured for answer in again.answer([few(), few(1)]))
    assert again.tally.known == 1
    assert len(contested) > done
    assert list(by_status(again.store).values()) == ["ok"] * FEW


def test_a_killed_search_goes_on_where_it_was(contested: list[int], cache: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_tuner import *\n"
        "questions = [few(i) for i in range(3)]\n"
        "def waits(): os.kill(os.getppid(), signal.SIGKILL); time.sleep(1000)\n"
        "questions[2] = going_wrong(questions[2], waits)\n"
        "tuning.MOST_JOBS = 1\n"
        "tuner().answer(questions)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False)
    assert ran.returncode == -signal.SIGKILL
    resumed = tuner()
    kept = {record.kernel for record in resumed.store.records()}
    assert kept == {"kernel 0", "kernel 1"}
    asked = [few(i) for i in range(3)]
    unmeasured = sum(FEW - len(by_status(resumed.store, q.kernel)) for q in asked)
    assert all(answer.measured for answer in resumed.answer(asked))
    assert resumed.tally.known == 2
    assert resumed.tally.measured == unmeasured
    assert len(resumed.store.records()) == 3 * FEW


# -- what fails ------------------------------------------------------------------------------------


def test_what_failed_is_not_tried_again(contested: list[int]) -> None:
    question, asked = going_wrong(few(), os.abort, filled(0.0)), tuner()
    assert asked.answer([question])[0].candidate == 2
    statuses = [by_status(asked.store)[question.candidate(i)] for i in range(FEW)]
    assert statuses == ["crashed", "wrong", "ok"]
    assert "discarded: 1 crashed, 1 wrong" in asked.tally.sentence()
    done, again = len(contested), tuner()
    assert again.answer([question])[0].candidate == 2
    assert len(contested) == done
    assert again.tally.failed == {}


def test_what_is_left_is_tried_when_the_first_have_failed(contested: list[int]) -> None:
    question, asked = going_wrong(few(0, 5), *[os.abort] * 4), tuner(5)
    assert asked.answer([question])[0].candidate == 4
    assert asked.tally.failed == {"crashed": 4}
    assert contested == [3, 2]


def test_all_may_fail() -> None:
    asked = tuner()
    bad, good = going_wrong(few(), *[os.abort] * FEW), few(1)
    first, second = asked.answer([bad, good])
    assert first == asked.known(bad) == Answer(None, None, False)
    assert asked.expected(bad) == (math.inf, 0.0)
    assert second.measured
    assert tuner().answer([bad]) == [first]
    assert asked.tally.failed == {"crashed": FEW}


def test_what_hangs_when_the_time_runs_out_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tuning, "Contests", partial(Contests, limit_s=2.0))
    question, asked = going_wrong(few(), lambda: time.sleep(1000)), tuner(budget_s=1.5)
    (answer,) = asked.answer([question])
    assert asked.tally.failed == {"timed_out": 1}
    assert answer.candidate in (1, 2)
    assert not answer.measured
    again = tuner()
    assert again.answer([question])[0].measured
    assert again.tally.failed == {}


def test_a_network_is_right_though_all_its_candidates_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(kernel: Any, setting: Any) -> Question:
        question = of_template(kernel, setting)
        knobs, estimates = question.knobs[:2], question.estimates[:2]
        return replace(question, knobs=knobs, estimates=estimates, makers=[os.abort] * 2)

    monkeypatch.setattr(tuning, "of_template", failing)
    network = tiny("residual")
    system = Tvm(tuning="template", trials=2)
    system.compile(network, plan_of(network, "cheapest"), tmp_path)
    images = noise_images(network.input_shape, 1)
    assert deviation(system.load(tmp_path)(images), expected(network, images)) < 1e-5
    tally = open_tally(tmp_path)
    assert tally is not None
    assert tally.failed == {"crashed": 2 * tally.kernels}


# -- how much is measured --------------------------------------------------------------------------


def test_without_time_the_model_answers(contested: list[int]) -> None:
    asked = tuner(budget_s=0.0)
    (answer,) = asked.answer([few()])
    assert (answer.candidate, answer.measured) == (0, False)
    assert contested == []
    assert asked.tally.late == 1
    assert "1 kernels untried when the time was up" in asked.tally.sentence()


def test_one_trial_measures_nothing(contested: list[int], cache: Path) -> None:
    asked = tuner(1)
    assert asked.answer([few()])[0] == asked.known(few())
    assert asked.answer([few()])[0].candidate == 0
    assert contested == []
    assert asked.tally.late == 0
    assert not cache.exists()


def test_one_candidate_is_measured_only_to_know_its_time(contested: list[int]) -> None:
    asked = tuner()
    assert asked.answer([few(0, 1)]) == [Answer(0, pytest.approx(1e-5, rel=1e3), False)]
    assert contested == []
    assert tuner().answer([few(0, 1)], fewest=1)[0].measured
    assert contested == [1]


def test_waiting_for_another_process_takes_none_of_the_time(cache: Path) -> None:
    cache.mkdir()
    with (cache / tuning.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threading.Timer(2.0, lambda: fcntl.flock(lock, fcntl.LOCK_UN)).start()
        asked = tuner(budget_s=2.0)
        assert asked.answer([few()])[0].measured


@pytest.mark.parametrize("place", ["file", "read-only"])
def test_without_a_place_for_records_it_works(
    place: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "file":
        cache.touch()
    else:
        cache.mkdir()
        monkeypatch.setattr(tuning, "LOCK", "no folder/lock")
        monkeypatch.setattr(sqlite3, "connect", denied)
    network = tiny("plain")
    system = Tvm(tuning="template", trials=2)
    (tmp_path / "out").mkdir()
    system.compile(network, plan_of(network, "spatial_pack"), tmp_path / "out")
    monkeypatch.undo()
    tally = open_tally(tmp_path / "out")
    assert tally is not None
    assert tally.measured > 0
    assert "so what is measured is not kept" in system.facts(tmp_path / "out")["tuning"]
    images = noise_images(network.input_shape, 1)
    assert deviation(system.load(tmp_path / "out")(images), expected(network, images)) < 1e-5


def denied(*_: Any, **__: Any) -> Any:
    raise sqlite3.OperationalError("unable to open database file")


# -- layers whose kernels are loops ----------------------------------------------------------------


def sparse() -> tuple[Network, Plan]:
    network, random = tiny("plain"), np.random.default_rng(0)
    network = zeroed(network, {
        row.weight: random.random(network.initializers[row.weight].shape) < 0.3
        for row in network.layers
    })  # fmt: skip
    algorithm: Any = member("algorithms", "direct")
    return network, algorithm(format="csr", threshold=0.1).plan(network)


def narrow(dtype: Any) -> tuple[Network, Plan]:
    network = tiny("residual", dtype)
    return network, plan_of(network, "cheapest")


@pytest.mark.parametrize("kind", ["sparse", "int8", "bfloat16"])
def test_together_is_as_one_by_one(kind: str, contested: list[int]) -> None:
    network, plan = sparse() if kind == "sparse" else narrow(kind)
    asked, times = tuner(4), 0

    def translate() -> Any:
        nonlocal times
        times += 1
        return compiling.by_templates(network, plan, asked)

    module = asked.together(translate)
    assert times == 2
    assert asked.tally.failed == {}
    assert set(asked.formed) == {row.name for row in network.layers}
    assert len(contested) >= sum(len(q.knobs) > 1 for q in asked.formed.values())
    done = len(contested)
    one_by_one = tuner(4)
    again = compiling.by_templates(network, plan, one_by_one)
    assert len(contested) == done, "all is known"
    assert one_by_one.answers == asked.answers
    assert texts(module) == texts(again)


def texts(module: Any) -> list[str]:
    """Of the kernels of layers in a module that was not fused yet."""
    return sorted(f.script() for g, f in module.functions_items() if g.name_hint != "main")


def test_together_without_choices_is_once(contested: list[int]) -> None:
    times = 0

    def translate() -> int:
        nonlocal times
        times += 1
        return times

    assert tuner().together(translate) == 1


@pytest.mark.parametrize("kind", ["sparse", "int8"])
def test_a_wrong_one_among_those_with_arguments_of_their_own(kind: str) -> None:
    """Not the first candidates: the definition is called with arguments that are its own too."""
    network, plan = sparse() if kind == "sparse" else narrow(kind)
    asked = tuner(8)
    asked.waiting = {}
    compiling.by_templates(network, plan, asked)
    question = max(asked.waiting.values(), key=lambda question: len(question.knobs))
    last = len(question.knobs) - 1
    assert last >= 2

    def wrong() -> Any:
        """Without the last statement of its loops, which writes nothing then."""
        from tvm import tirx

        kernel = question.makers[0 if last == 2 else 1]()
        return kernel.with_body(tirx.Evaluate(tirx.const(0, "int32")))

    contest = question.contest([last - 1, last])
    contest = replace(contest, candidates=[wrong, contest.candidates[1]])
    (outcomes,) = dict(Contests([contest], SETTING.target, 1).hold()).values()
    assert [outcome.status for outcome in outcomes] == ["wrong", "ok"]
