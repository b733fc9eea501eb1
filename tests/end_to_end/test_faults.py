"""A failure is a row with its sentence; the rest of the study goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Dlas = Callable[..., subprocess.CompletedProcess[str]]

STUDY = """
name = "faults"
[base]
dataset = {{ name = "synthetic", calibration = 128 }}
model = "tiny"
system = "onnxruntime"
hardware = "null"
[axes]
optimizations = [[], {others}]
"""


def write(folder: Path, *others: str) -> Path:
    path = folder / "faults.toml"
    path.write_text(STUDY.format(others=", ".join(others)))
    return path


@pytest.mark.usefixtures("faulty")
def test_every_way_to_fail_is_a_row(dlas: Dlas, tmp_path: Path) -> None:
    ways = {
        "raise": ("failed", "RuntimeError: no luck today"),
        "segfault": ("failed", "the process ended by signal SIGSEGV"),
        "exit": ("failed", "the process ended with exit status 3"),
        "killed": ("out_of_memory", "the system killed the process: out of memory"),
        "memory": ("out_of_memory", "out of memory"),
        "hang": ("timed_out", "took over 5 s"),
    }
    study = write(tmp_path, *(f'[{{ name = "faulty", how = "{way}" }}]' for way in ways))
    ran = dlas("run", study, "--time-limit", 5)
    assert ran.returncode == 0, ran.stderr
    dlas("show", "faults", "--export", "out.csv")
    import pandas as pd

    rows = pd.read_csv("out.csv").set_index("optimizations")
    assert rows.loc["none", "status"] == "ok"
    for way, (status, message) in ways.items():
        row = rows.loc[f"faulty({way})"]
        assert row["status"] == status
        assert row["message"].startswith(message), row["message"]
        assert row["stage"] == "optimizations"
        assert "\n" not in row["message"]
    again = dlas("run", study, "--time-limit", 5)
    assert "steps to do" not in again.stdout  # a failure is not repeated …
    retried = dlas("run", study, "--time-limit", 5, "--retry")
    assert "steps to do" in retried.stdout  # … unless one asks


@pytest.mark.usefixtures("faulty")
def test_a_full_disk_stops_the_study_and_loses_nothing(dlas: Dlas, tmp_path: Path) -> None:
    assert dlas("run", write(tmp_path, '["float16"]')).returncode == 0
    ran = dlas("run", write(tmp_path, '["float16"]', '[{ name = "faulty", how = "disk_full" }]'))
    assert ran.returncode == 2
    assert "no space left" in ran.stderr
    assert "what is finished is kept" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "steps to do" not in dlas("run", write(tmp_path, '["float16"]')).stdout


def test_refusals_are_sentences(dlas: Dlas, tmp_path: Path) -> None:
    study = write(tmp_path, '["float16", { name = "weight_pruning", sparsity = 0.5 }]')
    assert dlas("run", study).returncode == 0
    assert "refused" in dlas("show", "faults").stdout


def test_a_damaged_artifact_is_made_again(dlas: Dlas, tmp_path: Path) -> None:
    study = write(tmp_path, '["float16"]')
    assert dlas("run", study).returncode == 0
    for path in (tmp_path / ".dlas" / "artifacts").glob("*/*/network.onnx"):
        path.write_bytes(path.read_bytes()[:-7])
    ran = dlas("run", write(tmp_path, '["float16"]', '["int8"]'))
    assert ran.returncode == 0, ran.stderr
    assert "network.onnx has changed" in ran.stdout
    assert "is made again" in ran.stdout
    dlas("show", "faults", "--export", "out.csv")
    assert (tmp_path / "out.csv").read_text().count(",ok,") == 3
