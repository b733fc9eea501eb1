"""Results as one file: what is written is read back, and what is no such file is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dlas
from dlas import api
from dlas.errors import DlasError, InputError
from dlas.store.archive import StudyResults, joined, open_archive
from dlas.store.store import open_store
from dlas.testing.results import made_up_results

TOML = """
name = "small"
title = "A small one"
[base]
dataset = "synthetic"
model = "tiny"
hardware = "null"
[axes]
optimizations = [[], ["float16"], [{ name = "weight_pruning", sparsity = 0.5 }]]
system = ["onnxruntime"]
algorithm = ["vendor", "gemm"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    (folder / "small.toml").write_text(TOML)
    dlas.run(folder / "small.toml", folder / "store")
    api.save_results(folder / "small.toml", folder / "small.parquet", folder / "store")
    return folder


def test_what_is_written_is_read_back(place: Path) -> None:
    first = api.study_results("small", place / "store")
    again = api.study_results(place / "small.parquet", place / "other-store")
    pd.testing.assert_frame_equal(first.frame, again.frame, check_dtype=False)
    assert first.samples.keys() == again.samples.keys()
    assert len(first.samples) == (first.frame["status"] == "ok").sum() > 0
    for key, samples in first.samples.items():
        np.testing.assert_allclose(again.samples[key], samples, rtol=1e-6)


def test_a_study_without_a_run_reads_the_results_beside_it(place: Path) -> None:
    found = api.study_results(place / "small.toml", place / "empty-store")
    assert found.place == str(place / "small.parquet")
    assert (found.frame["status"] == "ok").any()
    assert not api.study_results(place / "small.toml", place / "store").place


def test_its_report_has_the_circumstances(place: Path, tmp_path: Path) -> None:
    page = api.write_report(place / "small.parquet", tmp_path / "store").read_text()
    assert "A small one" in page


def test_circumstances_ask_for_the_last_measurements_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(place / "store")
    keys = list(api.study_results("small", store).samples)
    monkeypatch.setattr(store.results, "observations", None)
    info = api.study_info(api.study_results("small", store), store)
    assert sorted(info.warmups_s) == sorted(keys)


def test_without_results_a_sentence(place: Path, tmp_path: Path) -> None:
    (tmp_path / "none.toml").write_text(TOML.replace("small", "none"))
    with pytest.raises(DlasError, match="no study 'none' in this store"):
        api.study_results(tmp_path / "none.toml", tmp_path / "store")


@pytest.mark.parametrize("damage", ["absent", "text", "foreign", "columns", "form", "cut"])
def test_what_is_no_such_file_is_refused(place: Path, tmp_path: Path, damage: str) -> None:
    file, table = tmp_path / "x.parquet", pq.read_table(place / "small.parquet")
    if damage == "text":
        file.write_text("no parquet")
    elif damage == "foreign":
        pq.write_table(pa.table({"a": [1]}), file)
    elif damage == "columns":
        pq.write_table(table.drop_columns(["latency_s"]), file)
    elif damage == "form":
        meta = table.schema.metadata[b"dlas"].replace(b'"form": 2', b'"form": 99')
        pq.write_table(table.replace_schema_metadata({b"dlas": meta}), file)
    elif damage == "cut":
        file.write_bytes((place / "small.parquet").read_bytes()[:500])
    with pytest.raises(InputError, match=r"x\.parquet") as raised:
        open_archive(file)
    assert "\n" not in str(raised.value)


def test_a_stack_of_two_studies_is_that_of_the_first_that_measured_it() -> None:
    frame = made_up_results().iloc[[0, 1, 2]].assign(latency_s=[1.0, float("nan"), 3.0])
    again = frame.assign(latency_s=[10.0, 20.0, 30.0])
    keys = list(frame["key"])
    first = StudyResults(
        "a", frame, {keys[0]: np.full(4, 1.0)}, {keys[0]: [4]}, {"layers": {keys[0]: "a"}}
    )
    second = StudyResults(
        "b", again, {key: np.full(6, 20.0) for key in keys}, {key: [3, 3] for key in keys},
        {"layers": dict.fromkeys(keys, "b")}, {"title": "b"},
    )  # fmt: skip
    both = joined([first, second])
    by_key = both.frame.set_index("key")
    assert by_key["latency_s"].to_dict() == dict(zip(keys, [1.0, 20.0, 3.0], strict=True))
    assert {key: len(rounds) for key, rounds in both.rounds.items()} == {keys[0]: 1, keys[1]: 2}
    assert both.nested == {"layers": {keys[0]: "a", keys[1]: "b"}}
    assert (both.study, list(both.frame.columns)) == ("a, b", list(frame.columns))
    pd.testing.assert_frame_equal(joined([first, first]).frame, frame.reset_index(drop=True))
