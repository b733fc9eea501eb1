"""Worker processes that make nodes. One that dies or hangs costs its job, not the study."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import psutil

from dlas.hardware.memory import available_bytes
from dlas.study.stages import Job

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TVM_NUM_THREADS",
)


#: What is left to the rest of the machine.
MEMORY_LEFT_BYTES = 300 << 20
#: The share of the machine's memory that all workers together may hold while idle: what libraries
#: cache grows with every network that they see.
IDLE_SHARE = 0.25


class _Worker:
    def __init__(self, log: Path, threads: int) -> None:
        modules = os.pathsep.join(place or os.getcwd() for place in sys.path)  # a user's own too
        environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}
        environment["PYTHONPATH"] = modules
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dlas.study.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the study, which ends its workers
            )
        self.job: Job | None = None
        self.started = 0.0
        self._unread = b""

    def give(self, job: Job) -> None:
        assert self.process.stdin is not None
        self.job, self.started = job, time.monotonic()
        try:
            self.process.stdin.write(msgspec.json.encode(job) + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died: the end of its output tells the pool

    def events(self) -> Iterator[dict[str, Any]]:
        """What has arrived; an event ``{"died": …}`` when its output has ended."""
        assert self.process.stdout is not None
        chunk = os.read(self.process.stdout.fileno(), 65536)
        if not chunk:
            yield {"died": self.process.wait()}
            return
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        for line in lines:
            yield msgspec.json.decode(line)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Pool:
    """``size`` workers with ``threads`` cores each; what they print goes to ``log``.
    ``time_limit_s`` bounds one job."""

    def __init__(self, size: int, threads: int, log: Path, time_limit_s: float) -> None:
        self.size, self.threads, self.log, self.time_limit_s = size, threads, log, time_limit_s
        self._workers: list[_Worker] = []
        self._idle_bytes = IDLE_SHARE * psutil.virtual_memory().total / size
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Pool:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.close()
        self._selector.close()

    @property
    def busy(self) -> int:
        return sum(worker.job is not None for worker in self._workers)

    def submit(self, job: Job) -> None:
        """Give the job to an idle worker; there must be one (``busy < size``)."""
        idle = next((w for w in self._workers if w.job is None), None)
        if idle is not None and _held_bytes(idle) > self._idle_bytes:
            self._remove(idle)
            idle = None
        (idle or self._start()).give(job)
        if len(self._workers) < self.size:
            self._start()  # ready by the time that there is more to do at once

    def _start(self) -> _Worker:
        worker = _Worker(self.log, self.threads)
        self._workers.append(worker)
        assert worker.process.stdout is not None
        self._selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
        return worker

    def wait(self, timeout_s: float = 0.5) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Events of running jobs: ``{"progress", "text"}`` or, at the end, ``{"status", …}``."""
        for key, _ in self._selector.select(timeout_s):
            worker: _Worker = key.data
            job = worker.job
            for event in worker.events():
                if "died" in event:
                    self._remove(worker)
                    event = _death(event["died"], self.log)
                if job is not None:
                    yield job, event
                if "status" in event:
                    worker.job = job = None
        for worker in list(self._workers):
            if worker.job and time.monotonic() - worker.started > self.time_limit_s:
                job = worker.job
                self._remove(worker)
                yield job, {"status": "timed_out", "message": f"took over {self.time_limit_s:g} s"}
        yield from self._save_memory()

    def _save_memory(self) -> Iterator[tuple[Job, dict[str, Any]]]:
        """End the largest worker before the machine has no memory left: without swap it would stand
        still long before the system kills anything."""
        if available_bytes() > MEMORY_LEFT_BYTES:
            return
        busy = [worker for worker in self._workers if worker.job is not None]
        largest = max(busy, key=_held_bytes, default=None)
        if largest is not None and largest.job is not None:
            job, held = largest.job, _held_bytes(largest) / 2**30
            self._remove(largest)
            yield (
                job,
                {"status": "out_of_memory", "message": f"out of memory: it held {held:.1f} GiB"},
            )

    def _remove(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        self._selector.unregister(worker.process.stdout)
        self._workers.remove(worker)
        worker.close()


def _held_bytes(worker: _Worker) -> int:
    try:
        return int(psutil.Process(worker.process.pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _death(code: int, log: Path) -> dict[str, Any]:
    if code == -signal.SIGKILL:
        return {
            "status": "out_of_memory",
            "message": "the system killed the process: out of memory",
        }
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
    return {"status": "failed", "message": f"the process ended {how}; its output is in {log}"}
