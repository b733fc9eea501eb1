"""Profiles of a study's stacks: taken with the measurement, printed, in the report's facts; taken
later where they are not there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

import dlas as api
from dlas.report.gather import gather_info
from dlas.store import tables
from dlas.store.store import open_store

Dlas = Callable[..., subprocess.CompletedProcess[str]]

STUDY = """
name = "profiled"
[base]
dataset = "synthetic"
model = "tiny"
[axes]
hardware = [{ name = "local", protocol = { time_budget_s = 0.2 } }, "null"]
system = ["onnxruntime", "reference"]
"""


@pytest.fixture
def store(dlas: Dlas, tmp_path: Path) -> Path:
    place = tmp_path / "store"
    (tmp_path / "profiled.toml").write_text(STUDY)
    api.run(tmp_path / "profiled.toml", place)
    return place


def key_of(store: Path, system: str, hardware: str) -> str:
    frame = api.results("profiled", store)
    chosen = (frame["system"] == system) & frame["hardware"].str.startswith(hardware)
    return str(frame.loc[chosen, "key"].item())


def forget_profiles(store: Path) -> None:
    """As an earlier version left its measurements."""
    observations = tables.observations
    with open_store(store).results.engine.begin() as connection:
        for row in connection.execute(sa.select(observations)).all():
            record = {name: v for name, v in row.record.items() if not name.startswith("profile")}
            change = observations.update().where(observations.c.id == row.id)
            connection.execute(change.values(record=record))


def test_a_stack_tells_where_its_time_went(dlas: Dlas, store: Path) -> None:
    key = key_of(store, "onnxruntime", "local")
    shown = dlas("profile", key[:10], "--store", store)
    assert shown.returncode == 0, shown.stderr
    assert "where the time goes; measured 2" in shown.stdout
    assert "times the median latency" in shown.stdout
    found = json.loads(dlas("profile", key[:10], "--json", "--store", store).stdout)
    layers = [row for row in found["rows"] if row["promised"] is not None]
    assert sum(row["promised"] for row in layers) == pytest.approx(1)
    assert sum(row["share"] for row in found["rows"]) == pytest.approx(1)
    assert all(row["kind"] == "layer" for row in layers)
    assert found["latency_s"] > 0
    bars = gather_info(open_store(store), "profiled").layers
    assert list(bars) == [key]
    assert [bar.layer for bar in bars[key]] == [row["name"] for row in found["rows"]]

    forget_profiles(store)
    now = dlas("profile", key[:10], "--store", store)
    assert now.returncode == 0, now.stderr
    assert "measured now, 10 runs, not stored" in now.stdout
    shutil.rmtree(store / "artifacts")
    gone = dlas("profile", key[:10], "--store", store)
    assert gone.returncode == 2
    assert "measured before dlas took profiles; and its executable is not in" in gone.stderr


@pytest.mark.parametrize(
    ("system", "hardware", "sentence"),
    [
        ("onnxruntime", "null", "the null device computes no layer"),
        ("reference", "local", "reference does not tell what its operators take"),
    ],
)
def test_who_cannot_tell_says_why(
    dlas: Dlas, store: Path, system: str, hardware: str, sentence: str
) -> None:
    refused = dlas("profile", key_of(store, system, hardware)[:10], "--store", store)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert sentence in refused.stderr
