"""The process that an executable is timed in: ``python -m dlas.hardware.worker FOLDER CORES``.

It speaks JSON lines: one answer when the executable is loaded, then one per request
``{"run": count}`` or ``{"profile": count}`` on standard input, where a run is one inference of the
executable's whole batch, of noise. It ends when its input ends, and dies with its parent.
Keep the imports light: whatever is imported here stands in every executable's memory figure.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from dlas.target.processes import die_with_parent

if TYPE_CHECKING:
    from dlas.executable import Executable


def main(folder: str, cores: Sequence[int], parent: int) -> None:
    die_with_parent(parent)
    answers = _take_stdout()
    sys.excepthook = _reporter(answers)

    import numpy as np

    from dlas.executable import load
    from dlas.hardware.energy import Meter, find_counters
    from dlas.hardware.memory import peak_bytes

    base_bytes = peak_bytes()
    executable = load(Path(folder))
    _pin(cores)
    shape = executable.header.input_shape
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    counters, energy_absent = find_counters()
    gc.collect()
    gc.freeze()

    def answer(**values: Any) -> None:
        used = {"cpu_s": time.process_time(), "peak_bytes": peak_bytes()}
        print(json.dumps({**values, **used}), file=answers, flush=True)

    answer(base_bytes=base_bytes, energy_absent=energy_absent)
    for line in sys.stdin:
        ((wanted, count),) = json.loads(line).items()
        if wanted == "profile":
            rows, absent = _profile(executable, images, count)
            answer(profile=rows, absent=absent)
            continue
        meter = Meter(counters)
        samples_ns = _time(executable.run, images, count)
        answer(samples_ns=samples_ns, energy_j=meter.passed_j() / count if counters else None)


def _time(run: Callable[[Any], Any], images: Any, count: int) -> list[int]:
    now = time.perf_counter_ns
    samples_ns = []
    gc.disable()
    for _ in range(count):
        start = now()
        run(images)
        samples_ns.append(now() - start)
    gc.enable()
    return samples_ns


def _profile(executable: Executable, images: Any, count: int) -> tuple[Any, str]:
    """Rows as ``LayerTime`` has them, and a sentence where there are none."""
    import msgspec

    from dlas.errors import Refused

    try:
        rows = msgspec.to_builtins(executable.profile(images, count))
    except Refused as reason:
        return [], str(reason)
    return [{**row, "seconds": round(row["seconds"], 9)} for row in rows], ""  # short to store


def _take_stdout() -> IO[str]:
    """Standard output for the answers alone: what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _reporter(
    answers: IO[str],
) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """An excepthook that tells the parent before the traceback goes to standard error."""

    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        print(json.dumps({"error": kind.__name__, "message": str(error)}), file=answers, flush=True)
        sys.__excepthook__(kind, error, trace)

    return report


def _pin(cores: Sequence[int]) -> None:
    """All threads to ``cores``: after loading, so that loading may use every core, and before the
    first run. Nothing on systems without affinity."""
    if hasattr(os, "sched_setaffinity"):
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), cores)


if __name__ == "__main__":
    main(sys.argv[1], [int(core) for core in sys.argv[2].split(",")], int(sys.argv[3]))
