"""A contest in the process that holds it: kernels built, checked against each other, and timed in
turns. See ``contest.py`` for what becomes of one that crashes, hangs or takes too much memory."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import msgspec
import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import tirx

from dlas.systems.tvm.lower import compiled
from dlas.target import Target
from dlas.tuning.record import Status

#: Candidates take turns, call by call where a call is long enough to be timed: so what else the
#: machine does falls on all of them alike, and each finds the caches and the predictors as another
#: kernel has left them, as in a network.
ROUNDS, SHORTEST_S = 15, 2e-5
#: A candidate is called so often before it is timed. One whose shortest call takes so many times
#: the fastest one's is not timed further.
CALLS, HOPELESS = 4, 4.0
#: Two candidates agree when they differ by less, over the largest output: sums of another order,
#: rounded to the type of the output.
AGREE = {"float32": 1e-3, "float16": 2e-2}
#: Of integers, and of bfloat16 as its bits: one step.
STEP = 1.0

Arguments = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Contest:
    """``candidates``: each makes its kernel, loops in order. ``plain``: makes the first one's in
    the order of its definition, which decides where candidates differ. ``arguments``: what a
    candidate is called with in turns, the output last; ``shared``: the first one's are everybody's.
    """

    candidates: Sequence[Callable[[], tirx.PrimFunc]]
    plain: Callable[[], tirx.PrimFunc]
    arguments: Callable[[int], Arguments]
    shared: bool = True


class Outcome(msgspec.Struct, frozen=True):
    """``seconds`` of one call, the median of the rounds; None unless ``status`` is "ok"."""

    status: Status
    seconds: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Trial:
    """Of some of a contest's candidates. ``say`` is told which one is next, so that it can be
    blamed; ``wait`` returns when it is this process's turn to time."""

    contest: Contest
    target: Target
    threads: int
    say: Callable[[int], None]
    wait: Callable[[], None]

    def outcomes(self, candidates: Sequence[int]) -> dict[int, Outcome]:
        contest = self.contest
        given: dict[int, Arguments] = {}
        built, answers, first = {}, {}, {}
        for at in candidates:
            self.say(at)
            kernel = built[at] = self.built(contest.candidates[at]())
            same = contest.shared and bool(given)
            given[at] = given[candidates[0]] if same else contest.arguments(at)
            answers[at] = answer(kernel, given[at][0])
            first[at] = once(kernel, given[at][0])
        outcomes = {
            at: Outcome("wrong", None, "it computes something else than the kernel's definition")
            for at in self.wrong(answers)
        }
        right = [at for at in candidates if at not in outcomes]
        best = min((first[at] for at in right), default=0.0)
        timed = [at for at in right if first[at] <= HOPELESS * best]
        outcomes |= {at: Outcome("ok", first[at]) for at in right}
        self.wait()
        # Of what candidates share none is given what another has just read.
        turns = {id(given[at]): cycle(given[at]) for at in timed}
        runs = {at: Turn(built[at], turns[id(given[at])], max(first[at], 1e-7)) for at in timed}
        for _ in range(ROUNDS):
            for at, run in runs.items():
                self.say(at)
                run()
        return outcomes | {at: Outcome("ok", run.seconds) for at, run in runs.items()}

    def wrong(self, answers: dict[int, NDArray[Any]]) -> list[int]:
        """The candidates whose answer is not that of the definition. It is asked, being slow, only
        where they do not all agree on finite numbers, or one of several is left."""
        first, *others = answers.values()
        alone = not others and len(self.contest.candidates) > 1
        if not alone and is_finite(first) and all(agree(each, first) for each in others):
            return []
        truth = answer(self.built(self.contest.plain()), self.contest.arguments(0)[0])
        return [at for at, each in answers.items() if not agree(each, truth)]

    def built(self, main: tirx.PrimFunc) -> Callable[..., None]:
        """A kernel with its loops in order, to be called here. Code that checks its arguments takes
        longer to compile than the loops."""
        with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
            main = main.with_attr("global_symbol", "main")
            module = compiled(tvm.IRModule({"main": main}), self.target, self.threads)
        found: Callable[..., None] = module.jit()["main"]
        return found


class Turn:
    """A candidate's turns: each calls it for ``SHORTEST_S`` or so, with the next arguments."""

    def __init__(
        self, kernel: Callable[..., None], given: Iterator[Sequence[Any]], usual_s: float
    ) -> None:
        self.kernel, self.given = kernel, given
        self.calls = min(math.ceil(SHORTEST_S / usual_s), 1000)
        self.times: list[float] = []

    @property
    def seconds(self) -> float:
        """Of a call, as usual: the shortest one is not what a network takes."""
        return statistics.median(self.times)

    def __call__(self) -> None:
        start = time.perf_counter()
        for given in islice(self.given, self.calls):
            self.kernel(*given)
        self.times.append((time.perf_counter() - start) / self.calls)


def once(kernel: Callable[..., None], given: Sequence[Any]) -> float:
    """The shortest of a few calls: one alone may be interrupted for milliseconds."""
    shortest = math.inf
    for _ in range(CALLS):
        start = time.perf_counter()
        kernel(*given)
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def answer(kernel: Callable[..., None], given: Sequence[Any]) -> NDArray[Any]:
    """What it writes, where before nothing sensible was."""
    output = given[-1]
    held = output.numpy()
    poison = np.full_like(held, np.nan if held.dtype.kind == "f" else 77)
    *inputs, _ = given
    written = tvm.runtime.tensor(poison)
    kernel(*inputs, written)
    return written.numpy()  # type: ignore[no-any-return]


def agree(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """What is not finite has no size to compare: it is to be so in both."""
    tolerance = AGREE.get(str(a.dtype))
    x, y = a.astype(np.float64), b.astype(np.float64)
    if tolerance is None:
        return bool((np.abs(x - y) <= STEP).all())
    finite = np.isfinite(x)
    if (finite != np.isfinite(y)).any():
        return False
    x, y = x[finite], y[finite]
    return bool(np.abs(x - y).max(initial=0) <= tolerance * max(np.abs(y).max(initial=0), 1e-30))


def is_finite(a: NDArray[Any]) -> bool:
    return bool(np.isfinite(a.astype(np.float64)).all())
