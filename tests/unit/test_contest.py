"""Contests of a kernel's candidates: whatever one of them does, the others are compared."""

from __future__ import annotations

import ctypes
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

from tuning_kernels import calling, contest, convolution, filled, kernels, storing

from dlas.systems.tvm import contest as contests_module
from dlas.systems.tvm import trial
from dlas.systems.tvm.contest import Contests
from dlas.systems.tvm.questions import Setting, of_rule
from dlas.systems.tvm.trial import Contest, Outcome, agree
from dlas.target import host


def held(*contests: Contest, until: float = float("inf"), **fields: Any) -> dict[int, Any]:
    fields = {"threads": 1, "limit_s": 60.0, **fields}
    return dict(Contests(contests, host(), **fields).hold(until))


def statuses(outcomes: Sequence[Outcome]) -> list[str]:
    for outcome in outcomes:
        assert (outcome.status == "ok") == (outcome.seconds is not None) == (not outcome.note)
    return [outcome.status for outcome in outcomes]


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No child, no temporary file and no open pipe stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    convolution()
    before, open_before = set(psutil.Process().children()), psutil.Process().num_fds()
    yield
    assert set(psutil.Process().children()) == before
    assert not list(tmp_path.glob("*contest*"))
    assert psutil.Process().num_fds() <= open_before


# -- candidates that go wrong ----------------------------------------------------------------------


def raises() -> Any:
    raise ValueError("no such loop: k_9")


def takes_memory() -> Any:
    return np.ones(1 << 30)


def takes_c_memory() -> Any:
    """As a compiler does, which ends the process."""
    print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr)
    os.abort()


@pytest.mark.parametrize(
    "candidate, status, sentence",
    [
        pytest.param(os.abort, "crashed", "it died of SIGABRT", id="aborts"),
        pytest.param(lambda: ctypes.string_at(0), "crashed", "SIGSEGV", id="segmentation fault"),
        pytest.param(lambda: os._exit(3), "crashed", "exit status 3", id="exits"),
        pytest.param(lambda: os._exit(0), "crashed", "exit status 0", id="exits as if well"),
        pytest.param(
            lambda: os.kill(os.getpid(), signal.SIGKILL), "out_of_memory", "killed it", id="killed"
        ),
        pytest.param(raises, "failed", "ValueError: no such loop: k_9", id="raises"),
        pytest.param(lambda: None, "failed", "Error", id="makes nothing"),
        pytest.param(sys.exit, "crashed", "exit status 1", id="leaves its thread"),
        pytest.param(takes_memory, "out_of_memory", "Unable to allocate", id="memory"),
        pytest.param(takes_c_memory, "out_of_memory", "bad_alloc", id="memory of the compiler"),
        pytest.param(calling("abort"), "crashed", "SIGABRT", id="aborts when it runs"),
        pytest.param(calling("no_such_function"), "crashed", "", id="calls nothing"),
        pytest.param(storing(1.0, 1 << 44), "crashed", "SIGSEGV", id="writes elsewhere"),
        pytest.param(storing(1.0), "wrong", "something else", id="writes one number"),
        pytest.param(filled(0.0), "wrong", "something else", id="writes noughts"),
        pytest.param(filled(float("inf")), "wrong", "something else", id="writes infinity"),
        pytest.param(filled(float("nan")), "wrong", "something else", id="writes no number"),
        pytest.param(calling("getpid"), "wrong", "something else", id="writes nothing"),
    ],
)
def test_one_that_fails_is_out(
    candidate: Any, status: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contests_module, "MEMORY_BYTES", 2 << 30)
    outcomes = held(contest([candidate, 0, 1]))[0]
    assert statuses(outcomes) == [status, "ok", "ok"]
    assert sentence in outcomes[0].note
    assert len(outcomes[0].note.splitlines()) == 1


@pytest.mark.parametrize(
    "candidate",
    [
        pytest.param(lambda: time.sleep(1000), id="making"),
        pytest.param(calling("sleep", 1000), id="running"),
    ],
)
def test_one_that_hangs_is_out(candidate: Any) -> None:
    outcomes = held(contest([0, candidate, 1]), limit_s=3.0)[0]
    assert statuses(outcomes) == ["ok", "timed_out", "ok"]
    assert outcomes[1].note == "took more than 3 s"


def test_a_crash_while_they_take_turns() -> None:
    """The first call goes well. The second of those that are timed crashes, and of those that are
    left again."""
    made = 0

    class Crashing(trial.Turn):
        def __init__(self, *given: Any) -> None:
            nonlocal made
            super().__init__(*given)
            made += 1
            self.number = made

        def __call__(self) -> None:
            if self.number == 2:
                os.abort()
            super().__call__()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "Turn", Crashing)
        outcomes = held(contest([0, 1, 2]))[0]
    assert statuses(outcomes) == ["ok", "crashed", "crashed"]


def test_many_fail_in_one_contest() -> None:
    makers = [os.abort, 0, raises, filled(2.0), calling("abort"), 1, filled(2.0)]
    expected = ["crashed", "ok", "failed", "wrong", "crashed", "ok", "wrong"]
    assert statuses(held(contest(makers))[0]) == expected


def test_the_majority_may_be_wrong() -> None:
    outcomes = held(contest([filled(1.0), filled(1.0), 0]))[0]
    assert statuses(outcomes) == ["wrong", "wrong", "ok"]


def test_all_may_fail() -> None:
    outcomes = held(contest([os.abort, raises]), contest([filled(0.0), filled(1.0)]), contest([0]))
    assert [statuses(each) for each in outcomes.values()] == [
        ["crashed", "failed"], ["wrong", "wrong"], ["ok"],
    ]  # fmt: skip


def test_the_last_that_is_left_is_checked() -> None:
    assert statuses(held(contest([os.abort, filled(1.0)]))[0]) == ["crashed", "wrong"]


def test_one_alone_is_timed() -> None:
    assert statuses(held(contest([3]))[0]) == ["ok"]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_kernel_that_gives_no_finite_number_has_right_candidates(number: float) -> None:
    same = contest([filled(number), filled(number), filled(0.0)], plain=filled(number))
    assert statuses(held(same)[0]) == ["ok", "ok", "wrong"]


def test_a_sentence_comes_through_whoever_holds_the_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook puts a stream of its own in the place of ``sys.stderr``."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    (outcome,) = held(contest([raises]))[0]
    assert outcome == Outcome("failed", None, "ValueError: no such loop: k_9")


def test_a_limit_of_the_users_own_stays(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import resource\n"
        "from test_contest import *\n"
        "most = 8 << 30\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "print(held(contest([0, 1]))[0][1].status)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "ok\n"


# -- several contests ------------------------------------------------------------------------------


def test_two_at_once() -> None:
    given = [contest(each) for each in ([0, 1], [os.abort, 2], [raises, filled(1.0), 0], [1])]
    one, two = held(*given), held(*given, jobs=2)
    assert {number: statuses(each) for number, each in one.items()} == {
        0: ["ok", "ok"], 1: ["crashed", "ok"], 2: ["failed", "wrong", "ok"], 3: ["ok"],
    }  # fmt: skip
    assert [statuses(two[number]) for number in sorted(two)] == [*map(statuses, one.values())]


def test_one_is_timed_at_a_time(tmp_path: Path) -> None:
    spans = tmp_path / "spans"

    class Slow(trial.Turn):
        def __call__(self) -> None:
            begin = time.monotonic()
            super().__call__()
            time.sleep(0.02)
            with spans.open("a") as file:
                file.write(f"{begin} {time.monotonic()} {os.getpid()}\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "Turn", Slow)
        held(*(contest([0, 1]) for _ in range(4)), jobs=3)
    timed = sorted(tuple(map(float, line.split())) for line in spans.read_text().splitlines())
    assert len({pid for *_, pid in timed}) > 1
    assert all(end <= begin for (_, end, _), (begin, _, _) in pairwise(timed))


def test_none_is_begun_when_the_time_is_over() -> None:
    assert held(contest([0]), until=time.monotonic()) == {}
    slow = contest([0, lambda: time.sleep(1.5) or convolution().makers[1]()])
    assert [*held(slow, contest([1]), until=time.monotonic() + 1)] == [0]


def test_what_is_left_behind_in_the_middle_is_ended() -> None:
    given = [contest([each]) for each in (0, 1, calling("sleep", 99))]
    for _ in Contests(given, host(), 1, 2).hold():
        break


def test_a_listener_that_is_slow_makes_nobody_late() -> None:
    """Its own work, such as keeping records in a file that is locked, is not the children's."""
    given = [contest([0, 1]) for _ in range(3)]
    found = {}
    for number, outcomes in Contests(given, host(), 1, 2, limit_s=2.5).hold():
        time.sleep(3.0)
        found[number] = statuses(outcomes)
    assert found == {number: ["ok", "ok"] for number in range(3)}


def test_a_child_that_is_killed_while_it_waits() -> None:
    contests = Contests([contest([0]), contest([1, 0])], host(), 1)
    found = {}
    for number, outcomes in contests.hold():
        found[number] = statuses(outcomes)
        for child in psutil.Process().children():
            child.kill()
            while child.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)
    assert found == {0: ["ok"], 1: ["ok", "ok"]}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends them on Linux")
def test_children_end_with_their_parent() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_contest import *\n"
        "def sleeps():\n"
        "    print(os.getpid(), file=file, flush=True); time.sleep(1000)\n"
        "file = os.fdopen(os.dup(1), 'w')\n"
        "held(contest([sleeps]), contest([sleeps]), jobs=2)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        children = [psutil.Process(int(parent.stdout.readline())) for _ in range(2)]
        parent.kill()
        assert not psutil.wait_procs(children, timeout=30)[1]


# -- what candidates are called with ---------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
def test_arguments_are_everybodys_or_ones_own(shared: bool, tmp_path: Path) -> None:
    usual, asked = contest([0, 1, 2]), tmp_path / "asked"

    def arguments(index: int) -> Any:
        with asked.open("a") as file:
            file.write(f"{index} ")
        return usual.arguments(index)

    assert statuses(held(replace(usual, arguments=arguments, shared=shared))[0]) == ["ok"] * 3
    assert asked.read_text().split() == (["0"] if shared else ["0", "1", "2"])


@pytest.mark.parametrize("shared", [True, False])
def test_the_first_may_crash_whoever_arguments_belong_to(shared: bool) -> None:
    outcomes = held(contest([os.abort, 1, filled(0.0)], shared=shared))[0]
    assert statuses(outcomes) == ["crashed", "ok", "wrong"]


def test_threads_after_this_process_has_used_them() -> None:
    """A forked process has none of its parent's threads."""
    given = contest([0, 1, 2], threads=2)
    contests = Contests([given], host(), 2)
    alone = trial.Trial(given, host(), 2, lambda at: None, lambda: None)
    kernel = alone.built(given.candidates[0]())
    for _ in range(3):
        kernel(*given.arguments(0)[0])
    assert statuses(dict(contests.hold())[0]) == ["ok"] * 3


def test_a_kernel_by_rule_is_timed() -> None:
    question = of_rule(kernels()["conv1"], Setting(host(), 1, 1000))
    assert statuses(held(question.contest([0]))[0]) == ["ok"]


# -- agreement -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "a, b, expected",
    [
        (np.float32([1, 2]), np.float32([1.0001, 2]), True),
        (np.float32([1, 2]), np.float32([1.1, 2]), False),
        (np.float32([0, 0]), np.float32([0, 0]), True),
        (np.float32([np.nan, 2]), np.float32([np.nan, 2]), True),
        (np.float32([np.inf, 2]), np.float32([np.nan, 2]), True),
        (np.float32([1, 2]), np.float32([np.nan, 2]), False),
        (np.float32([np.nan, 2]), np.float32([1, 2]), False),
        (np.float32([]), np.float32([]), True),
        (np.float16([1, 2]), np.float16([1.01, 2]), True),
        (np.float16([65504, 2]), np.float16([np.inf, 2]), False),
        (np.uint8([1, 255]), np.uint8([2, 255]), True),
        (np.uint8([0, 255]), np.uint8([255, 255]), False),
        (np.int8([-1]), np.int8([1]), False),
    ],
)
def test_agreement(a: Any, b: Any, expected: bool) -> None:
    assert agree(a, b) is expected
