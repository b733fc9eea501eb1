"""A session with a worker process on this machine, seen from the process that measures."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from dlas.errors import Refused
from dlas.measure.protocol import LayerTime, SessionError, Usage

#: How libraries say that memory ran out, where it is not a MemoryError.
_NO_MEMORY = re.compile(
    r"bad_alloc|(can't|cannot|failed to|unable to) allocate|out of memory", re.I
)
_EXIT_S = 5.0


class ProcessSession:
    """Starts ``dlas.hardware.worker`` and talks to it. ``threads`` bounds every library's own pool
    through its environment variable, which must be set before the library is imported."""

    def __init__(
        self, executable: Path, cores: Sequence[int], threads: int, time_limit_s: float
    ) -> None:
        self._limit_s = time_limit_s
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the session
        self._unread = b""
        self._usage = Usage()
        self._energy_j: float | None = None
        self._energy_absent = ""
        places = ",".join(map(str, cores))
        worker = ["-P", "-m", "dlas.hardware.worker", str(executable), places, str(os.getpid())]
        self._started_s = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, *worker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **thread_environment(threads), **_same_modules()},
            start_new_session=True,  # Ctrl-C is ours to handle
        )

    def wait(self) -> None:
        loaded = self._answer(self._started_s + self._limit_s, "loading")
        self._energy_absent = loaded["energy_absent"]
        self._usage = Usage(
            peak_bytes=loaded["peak_bytes"], base_bytes=loaded["base_bytes"], cpu_s=loaded["cpu_s"]
        )
        self._signal(signal.SIGSTOP)

    def run(self, count: int) -> list[float]:
        answer = self._request({"run": count}, f"a block of {count} runs")
        self._energy_j = answer["energy_j"]
        self._usage = msgspec.structs.replace(
            self._usage, peak_bytes=answer["peak_bytes"], cpu_s=answer["cpu_s"]
        )
        return [1e-9 * sample_ns for sample_ns in answer["samples_ns"]]

    def profile(self, count: int) -> tuple[LayerTime, ...]:
        answer = self._request({"profile": count}, f"a profile of {count} runs")
        # Not the memory: what profiling takes is not the executable's.
        self._usage = msgspec.structs.replace(self._usage, cpu_s=answer["cpu_s"])
        if answer["absent"]:
            raise Refused(answer["absent"])
        return msgspec.convert(answer["profile"], tuple[LayerTime, ...])

    def usage(self) -> Usage:
        return self._usage

    def energy_j(self) -> float | None:
        return self._energy_j

    def energy_absent(self) -> str:
        return self._energy_absent

    def close(self) -> None:
        self._signal(signal.SIGCONT)
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # it has died already
                self._process.stdin.close()
        try:
            self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stderr.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _request(self, request: dict[str, int], doing: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died("waiting") from None
        answer = self._answer(time.monotonic() + self._limit_s, doing)
        self._signal(signal.SIGSTOP)
        return answer

    def _signal(self, number: int) -> None:
        """Between requests the process stands still: threads of a pool that wait for work by
        spinning would take a core, and the memory's time, from whoever is timed meanwhile."""
        if sys.platform != "linux":  # elsewhere it would stand still for ever, were we killed
            return
        with contextlib.suppress(ProcessLookupError):  # it has died, which the next answer tells
            os.killpg(self._process.pid, number)

    def _answer(self, deadline_s: float, doing: str) -> dict[str, Any]:
        line = self._line(deadline_s)
        if line is None:
            self._process.kill()
            raise SessionError("timed_out", f"{doing} took longer than {self._limit_s:g} s")
        if line == b"":
            raise self._died(doing)
        answer: dict[str, Any] = msgspec.json.decode(line)
        if "error" in answer:
            kind, message = answer["error"], answer["message"] or answer["error"]
            no_memory = kind == "MemoryError" or _NO_MEMORY.search(message)
            self._process.wait()
            raise SessionError("out_of_memory" if no_memory else "failed", f"{doing}: {message}")
        return answer

    def _line(self, deadline_s: float) -> bytes | None:
        """The next line; b"" when the worker has ended, None when the deadline has passed."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([pipe], [], [], left_s)[0]:
                return None
            read = os.read(pipe, 1 << 16)
            if not read:
                return b""
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _died(self, doing: str) -> SessionError:
        status = self._process.wait()
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip().splitlines()
        last = f": {said[-1]}" if said else ""
        if status >= 0:
            return SessionError("failed", f"{doing}: the process ended with status {status}{last}")
        name = signal.Signals(-status).name
        if -status == signal.SIGKILL:
            why = "most likely by the system, for want of memory"
            return SessionError("out_of_memory", f"{doing}: the process was killed, {why}")
        return SessionError("failed", f"{doing}: the process was ended by {name}{last}")


def thread_environment(threads: int) -> dict[str, str]:
    """The variables by which libraries learn how many threads they may start."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "TVM")
    return {f"{name}_NUM_THREADS": str(threads) for name in names}


def _same_modules() -> dict[str, str]:
    """The worker imports what this process would, wherever it was started."""
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
