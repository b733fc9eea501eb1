"""A study with the batch as a choice of its system."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dlas import results

Dlas = Callable[..., subprocess.CompletedProcess[str]]

STUDY = """
name = "batches"
[base]
dataset = { name = "synthetic", calibration = 128, test = 30 }
model = { name = "tiny", train = { epochs = 1 } }
hardware = { name = "local", protocol = { time_budget_s = 0.05 } }
algorithm = "vendor"
[axes]
optimizations = [[], ["int8"]]
system = ["onnxruntime", { name = "onnxruntime", batch = 4 }]
"""


def test_a_batch_changes_no_label_and_is_timed_as_one(dlas: Dlas, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'dlas[torch]'")
    (tmp_path / "batches.toml").write_text(STUDY)
    ran = dlas("run", "batches.toml", "--store", tmp_path / "store")
    assert ran.returncode == 0, ran.stderr
    frame = results("batches", tmp_path / "store")
    assert list(frame["status"]) == ["ok"] * 4
    assert sorted(set(frame["system"])) == ["onnxruntime", "onnxruntime(batch=4)"]
    assert sorted(frame["batch"]) == [1, 1, 4, 4]
    assert (frame["latency_s"] > 0).all()
    by = frame.set_index(["optimizations", "batch"])["accuracy"]
    for optimizations in ("none", "int8"):  # 30 images are no whole number of batches
        np.testing.assert_allclose(by[optimizations, 4], by[optimizations, 1])
    assert (frame["label_agreement"] == 1).all()


@pytest.mark.parametrize("batch", [0, -1, 1025, 1.5, '"many"'])
def test_what_is_no_batch_is_named(dlas: Dlas, tmp_path: Path, batch: object) -> None:
    text = STUDY.replace("batch = 4", f"batch = {batch}")
    (tmp_path / "batches.toml").write_text(text)
    ran = dlas("plan", "batches.toml", "--store", tmp_path / "store")
    assert ran.returncode == 2
    assert "$.axes.system[1].batch" in ran.stderr, ran.stderr
    assert "Traceback" not in ran.stderr
