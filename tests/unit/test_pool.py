"""The pool of workers: what a job's end looks like from outside."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from dlas.study import pool as pooling
from dlas.study.pool import Pool
from dlas.study.stages import Job

JOB = Job(
    key="k", layer="datasets", member={"name": "synthetic", "train": 10**9, "shape": [1, 8, 8]},
    node={}, inputs={}, folder="/nonexistent", checkpoints="/nonexistent", threads=1,
)  # fmt: skip


def test_the_machine_keeps_some_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [10**12, 0]
    monkeypatch.setattr(
        pooling, "available_bytes", lambda: left.pop(0) if len(left) > 1 else left[0]
    )
    with Pool(1, 1, tmp_path / "log", 60) as pool:
        pool.submit(JOB)
        events = []
        deadline = time.monotonic() + 60
        while pool.busy and time.monotonic() < deadline:
            events += [event for _, event in pool.wait()]
    assert events[-1]["status"] == "out_of_memory"
    assert events[-1]["message"].startswith("out of memory: it held ")


@pytest.mark.parametrize("held", [0, 10**15])
def test_a_worker_that_grew_makes_room_for_a_fresh_one(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "_held_bytes", lambda _: held)
    job = msgspec.structs.replace(JOB, member={"name": "no such data set"})
    with Pool(1, 1, tmp_path / "log", 60) as pool:
        processes = []
        for _ in range(2):
            pool.submit(job)
            (worker,) = pool._workers
            processes.append(worker.process.pid)
            while pool.busy:
                for _, event in pool.wait():
                    assert event["status"] == "failed"
    assert (processes[0] != processes[1]) == bool(held)


def test_a_worker_starts_without_a_database() -> None:
    code = (
        "import sys, dlas.study.stages\n"
        "print([m for m in ('sqlalchemy', 'pandas', 'torch', 'tvm') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
