"""Contests: kernels that compute the same, compiled, checked against each other and timed in turns,
in processes of their own. One that crashes, hangs, runs out of memory or computes something else is
out; the rest go on.

    parent                                     children, forked: they know every contest
    hold ── which contest, which candidates ─▶ build each, call it once, compare
         ◀─ "building 3" …, "ready" ──────────
         ── "go", to one at a time ──────────▶ time them in turns
         ◀─ outcomes ─────────────────────────

So one child compiles while the other times. The children of a process that dies, die.
"""

from __future__ import annotations

import faulthandler
import math
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import tirx

from dlas.systems.tvm.lower import compiled
from dlas.target import Target
from dlas.target.amx import use_matrix_registers
from dlas.target.processes import die_with_parent
from dlas.tuning.record import Status

#: Candidates take turns, so that what else the machine does falls on all of them alike.
ROUNDS, SHORTEST_S = 5, 1e-3
#: A candidate whose first call takes so many times the fastest one's is not timed further.
HOPELESS = 4.0
CALLS = 4
#: Seconds that building a candidate, or calling it, may take.
LIMIT_S = 30.0
#: What a child may hold beyond what it had when it began.
MEMORY_BYTES = 8 << 30
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
    """``seconds`` of one call, the shortest round's mean; None unless ``status`` is "ok"."""

    status: Status
    seconds: float | None = None
    note: str = ""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a child says: which candidate it is at; that it is ready to time; the outcomes."""

    at: int = -1
    ready: bool = False
    outcomes: dict[int, Outcome] | None = None


@dataclass
class _Child:
    process: Any
    pipe: Connection
    errors: IO[bytes]
    contest: int = -1
    left: list[int] = field(default_factory=list)
    at: int = -1
    ready: bool = False
    timing: bool = False
    heard: float = 0.0

    def is_late(self, limit_s: float) -> bool:
        """Whether it has been silent for too long, and not because it waits for its turn."""
        waits = self.ready and not self.timing
        silent = not waits and time.monotonic() - self.heard > limit_s
        # Unless nobody listened meanwhile.
        return silent and not self.pipe.poll()

    def tell(self, message: bytes) -> None:
        """One that has died is found out by listening."""
        with suppress(ConnectionError):
            self.pipe.send_bytes(message)


@dataclass
class Contests:
    """``jobs`` children at once. ``outcomes`` of every contest that was held."""

    contests: Sequence[Contest]
    target: Target
    threads: int
    jobs: int = 1
    limit_s: float = LIMIT_S
    outcomes: dict[int, dict[int, Outcome]] = field(default_factory=dict)
    _children: list[_Child] = field(default_factory=list)

    def hold(self, until: float = math.inf) -> Iterator[tuple[int, list[Outcome]]]:
        """Every contest's number and its candidates' outcomes, as they end. After the moment
        ``until`` (``time.monotonic``) no other is begun."""
        waiting = [
            (number, list(range(len(contest.candidates))))
            for number, contest in enumerate(self.contests)
        ][::-1]
        self.outcomes = {number: {} for number, _ in waiting}
        try:
            while True:
                while waiting and time.monotonic() < until and self._has_room():
                    self._begin(*waiting.pop())
                busy = [child for child in self._children if child.contest >= 0]
                if not busy:
                    return
                self._let_one_time(busy)
                for number, left in self._listen(busy):
                    if left:
                        waiting.append((number, left))
                    else:
                        found = self.outcomes[number]
                        yield number, [found[i] for i in sorted(found)]
        finally:
            for child in list(self._children):
                self._end(child)

    def _has_room(self) -> bool:
        return sum(child.contest >= 0 for child in self._children) < self.jobs

    def _begin(self, number: int, candidates: list[int]) -> None:
        idle = next((child for child in self._children if child.contest < 0), None)
        child = idle or self._fork()
        child.contest, child.left = number, candidates
        child.at = -1 if idle else candidates[0]
        child.ready = child.timing = False
        child.heard = time.monotonic()
        child.tell(msgspec.json.encode((number, candidates)))

    def _fork(self) -> _Child:
        context = multiprocessing.get_context("fork")  # a child knows what cannot be sent
        pipe, end = context.Pipe()
        # Without a name, so that nothing is left behind; it is closed with its child.
        errors = tempfile.TemporaryFile()  # noqa: SIM115
        given = end, errors, os.getpid()
        pipes = [pipe, *(child.pipe for child in self._children)]
        process: Any = context.Process(target=self._serve, args=(*given, pipes), daemon=True)
        process.start()
        end.close()
        self._children.append(_Child(process, pipe, errors))
        return self._children[-1]

    def _let_one_time(self, busy: Sequence[_Child]) -> None:
        if not any(child.timing for child in busy):
            ready = next((child for child in busy if child.ready), None)
            if ready is not None:
                ready.timing, ready.heard = True, time.monotonic()
                ready.tell(b"go")

    def _listen(self, busy: Sequence[_Child]) -> Iterator[tuple[int, list[int]]]:
        """Contests that ended, with the candidates that are left to try: of a child that died."""
        heard: Any = wait([child.pipe for child in busy], timeout=0.2)
        for child in busy:
            number = child.contest
            if child.pipe in heard:
                try:
                    event = msgspec.json.decode(child.pipe.recv_bytes(), type=Event)
                except (EOFError, ConnectionError):
                    child.process.join()
                    yield number, self._lost(child, *cause(child.process.exitcode, child.errors))
                    continue
                child.heard = time.monotonic()
                if event.outcomes is not None:
                    self.outcomes[number].update(event.outcomes)
                    child.contest = -1
                    yield number, []
                child.at, child.ready = event.at, event.ready
            elif child.is_late(self.limit_s):
                child.process.kill()
                child.process.join()
                sentence = f"took more than {self.limit_s:g} s"
                yield number, self._lost(child, "timed_out", sentence)

    def _lost(self, child: _Child, status: Status, note: str) -> list[int]:
        """What is left to try of a child's contest after the candidate that it died of: none, where
        it died while it had nothing to do."""
        if child.at >= 0:
            self.outcomes[child.contest][child.at] = Outcome(status, None, note)
        self._end(child)
        return [candidate for candidate in child.left if candidate != child.at]

    def _end(self, child: _Child) -> None:
        self._children.remove(child)
        child.process.kill()
        child.process.join()
        child.pipe.close()
        child.errors.close()

    # -- in the child --------------------------------------------------------------------------

    def _serve(
        self, pipe: Connection, errors: IO[bytes], parent: int, parents: Sequence[Connection]
    ) -> None:
        die_with_parent(parent)
        for end in parents:  # so that a parent's death closes them
            end.close()
        os.dup2(errors.fileno(), 2)
        os.dup2(2, 1)
        sys.stdout = sys.stderr = os.fdopen(2, "w", 1, closefd=False)  # not a notebook's
        threading.excepthook = threading.__excepthook__  # writes there
        faulthandler.disable()  # would write into the parent's errors
        limit_memory()
        use_matrix_registers()
        # TVM's threads belong to the thread that first needs them; those of the parent's main
        # thread are not in this process.
        worker = threading.Thread(target=self._work, args=(pipe,))
        worker.start()
        worker.join()
        os._exit(1)

    def _work(self, pipe: Connection) -> None:
        while True:
            number, candidates = msgspec.json.decode(pipe.recv_bytes(), type=tuple[int, list[int]])
            outcomes = self._contest(self.contests[number], candidates, pipe)
            pipe.send_bytes(msgspec.json.encode(Event(outcomes=outcomes)))

    def _contest(
        self, contest: Contest, candidates: Sequence[int], pipe: Connection
    ) -> dict[int, Outcome]:
        def say(at: int, ready: bool = False) -> None:
            pipe.send_bytes(msgspec.json.encode(Event(at=at, ready=ready)))

        given: dict[int, Arguments] = {}
        built, answers, first = {}, {}, {}
        for at in candidates:
            say(at)
            kernel = built[at] = self.built(contest.candidates[at]())
            same = contest.shared and bool(given)
            given[at] = given[candidates[0]] if same else contest.arguments(at)
            answers[at] = answer(kernel, given[at][0])
            first[at] = once(kernel, given[at][0])
        outcomes = {
            at: Outcome("wrong", None, "it computes something else than the kernel's definition")
            for at in self._wrong(contest, answers)
        }
        right = [at for at in candidates if at not in outcomes]
        best = min((first[at] for at in right), default=0.0)
        timed = [at for at in right if first[at] <= HOPELESS * best]
        outcomes |= {at: Outcome("ok", first[at]) for at in right}
        say(candidates[0], ready=True)
        pipe.recv_bytes()
        runs = {at: Turn(built[at], given[at], max(first[at], 1e-7)) for at in timed}
        for _ in range(ROUNDS):
            for at, run in runs.items():
                say(at)
                run()
        return outcomes | {at: Outcome("ok", run.shortest) for at, run in runs.items()}

    def _wrong(self, contest: Contest, answers: dict[int, NDArray[Any]]) -> list[int]:
        """The candidates whose answer is not that of the definition. It is asked, being slow, only
        where they do not all agree on finite numbers, or one of several is left."""
        first, *others = answers.values()
        alone = not others and len(contest.candidates) > 1
        if not alone and is_finite(first) and all(agree(each, first) for each in others):
            return []
        truth = answer(self.built(contest.plain()), contest.arguments(0)[0])
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

    def __init__(self, kernel: Callable[..., None], arguments: Arguments, usual_s: float) -> None:
        self.kernel, self.given = kernel, cycle(arguments)
        self.calls = min(max(math.ceil(SHORTEST_S / usual_s), 2), 10_000)
        self.shortest = math.inf

    def __call__(self) -> None:
        start = time.perf_counter()
        for given in islice(self.given, self.calls):
            self.kernel(*given)
        self.shortest = min(self.shortest, (time.perf_counter() - start) / self.calls)


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


def limit_memory() -> None:
    """A candidate that asks for more than the machine has would take others with it."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


def cause(code: int | None, errors: IO[bytes]) -> tuple[Status, str]:
    """Why a child ended, from its exit status and what it last wrote."""
    errors.seek(0)
    text = errors.read().decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else ""
    if any(word in "\n".join(lines[-5:]) for word in ("MemoryError", "bad_alloc")):
        return "out_of_memory", last
    if code == -signal.SIGKILL:
        return "out_of_memory", "the system killed it, as it does where memory runs out"
    if code is not None and code < 0:
        return "crashed", f"it died of {signal.Signals(-code).name}"
    return ("failed", last) if last else ("crashed", f"it ended with exit status {code}")
