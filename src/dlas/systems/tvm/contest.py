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
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

import msgspec

from dlas.systems.tvm.trial import Contest, Outcome, Trial
from dlas.target import Target
from dlas.target.amx import use_matrix_registers
from dlas.target.processes import die_with_parent
from dlas.tuning.record import Status

#: Seconds that building a candidate, or calling it, may take.
LIMIT_S = 30.0
#: What a child may hold beyond what it had when it began.
MEMORY_BYTES = 8 << 30


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
            contest, first = self.contests[number], candidates[0]

            def say(at: int, ready: bool = False) -> None:
                pipe.send_bytes(msgspec.json.encode(Event(at=at, ready=ready)))

            def wait_for_turn(first: int = first, say: Any = say) -> None:
                say(first, ready=True)
                pipe.recv_bytes()

            trial = Trial(contest, self.target, self.threads, say, wait_for_turn)
            outcomes = trial.outcomes(candidates)
            pipe.send_bytes(msgspec.json.encode(Event(outcomes=outcomes)))


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
