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
from dlas.store.archive import open_archive

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
