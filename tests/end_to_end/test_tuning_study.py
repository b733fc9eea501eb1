"""A study whose axes are the three tunings and the algorithms, ``best`` among them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dlas import results

Dlas = Callable[..., subprocess.CompletedProcess[str]]

pytest.importorskip("tvm")

STUDY = """
name = "tunings"
[base]
dataset = "synthetic"
model = "tiny"
hardware = "null"
[axes]
algorithm = ["direct", "best"]
system = [
  "tvm",
  { name = "tvm", tuning = "template", trials = 2 },
  { name = "tvm", tuning = "auto", trials = 2 },
]
"""
REPLAY = """
name = "replay"
[base]
dataset = "synthetic"
model = "tiny"
hardware = "null"
algorithm = {{ planned = "{file}" }}
[axes]
system = [{{ name = "tvm", tuning = "template", trials = 2 }}]
"""


def test_tunings_and_best_are_axes_and_what_was_chosen_is_replayed(
    dlas: Dlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    store = tmp_path / "store"
    (tmp_path / "tunings.toml").write_text(STUDY)
    ran = dlas("run", "tunings.toml", "--store", store)
    assert ran.returncode == 0, ran.stderr
    frame = results("tunings", store)
    assert list(frame["status"]) == ["ok"] * 5  # best is not there untuned
    assert frame["accuracy"].nunique() == 1
    assert "Ways chosen" in (store / "reports" / "tunings.html").read_text()

    tuned = frame[frame["system"].str.contains("tuning")]
    for _, row in tuned.iterrows():
        told = dlas("explain", row["key"][:8], "--store", store).stdout
        assert re.search(r"tuning: [1-9]\d* candidates of [1-9]\d* kernels measured", told), told
        assert ("ways chosen" in told) == (row["algorithm"] == "best")

    choices = sorted(store.glob("artifacts/*/*/choices.json"))
    assert len(choices) == 2
    (tmp_path / "replay.toml").write_text(REPLAY.format(file=choices[0]))
    ran = dlas("run", "replay.toml", "--store", store)
    assert ran.returncode == 0, ran.stderr
    assert list(results("replay", store)["accuracy"]) == [frame["accuracy"].iloc[0]]
