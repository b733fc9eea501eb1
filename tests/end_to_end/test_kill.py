"""Killed at any moment, a study resumes, repeats nothing finished, and its store is whole."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

STUDY = """
name = "killed"
[base]
dataset = { name = "synthetic", calibration = 128 }
model = { name = "tiny", train = { epochs = 3 } }
hardware = { name = "local", protocol = { time_budget_s = 0.1 } }
[axes]
optimizations = [[], ["float16"], ["int8"], [{ name = "weight_pruning", sparsity = 0.5 }],
  [{ name = "weight_pruning", sparsity = 0.5 }, "int8"]]
system = ["onnxruntime", "reference"]
"""
KILLS = 20


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dlas.cli.main", "run", "killed.toml", "--store", "store"],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "store" / "results.sqlite") as connection:
        return connection.execute(query).fetchall()


@pytest.mark.skipif(sys.platform != "linux", reason="workers die with their parent on Linux")
def test_kill_nine_at_random_points(tmp_path: Path) -> None:
    (tmp_path / "killed.toml").write_text(STUDY)
    seed = int(os.environ.get("DLAS_KILL_SEED", time.time_ns()))
    print(f"repeat with DLAS_KILL_SEED={seed}")
    chance = random.Random(seed)
    finished = 0
    for _ in range(KILLS):
        process = start(tmp_path)
        try:
            process.wait(chance.uniform(0.3, 2.0))
            finished += 1
            assert process.returncode == 0, process.communicate()[0]
        except subprocess.TimeoutExpired:
            children = psutil.Process(process.pid).children(recursive=True)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            _, alive = psutil.wait_procs(children, timeout=10)
            assert not alive, f"workers outlived the study: {alive}"
        if (tmp_path / "store" / "results.sqlite").exists():
            assert rows(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    last = start(tmp_path)
    output, _ = last.communicate(timeout=300)
    assert last.returncode == 0, output

    stacks = rows(tmp_path, "SELECT key FROM members")
    assert len(stacks) == 10
    measured = Counter(key for (key,) in rows(tmp_path, "SELECT key FROM observations"))
    assert measured == Counter({key: 1 for (key,) in stacks}), "a measurement was lost or repeated"
    made = Counter(key for (key,) in rows(tmp_path, "SELECT key FROM outcomes WHERE status = 'ok'"))
    assert max(made.values()) == 1, "finished work was repeated"
    assert not rows(tmp_path, "SELECT key FROM outcomes WHERE status != 'ok'")
    assert not list((tmp_path / "store" / "scratch").iterdir())
