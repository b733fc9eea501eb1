"""The study of sparse formats in small, from pruning to the report."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import numpy as np
import pytest

import dlas

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

STUDIES = Path(__file__).parents[2] / "studies"


def test_a_study_of_sparse_formats(tmp_path: Path) -> None:
    table = tomllib.loads((STUDIES / "sparse.toml").read_text())
    table["base"] |= {
        "dataset": {"name": "synthetic"},
        "model": {"name": "tiny"},
        "system": {"name": "tvm"},
        "hardware": {"name": "local", "protocol": {"time_budget_s": 0.02}},
    }
    fields = {"dense": {}, "csr": {"format": "csr", "threshold": 0.5}, "bsr": {"format": "bsr_4x4"}}
    table["axes"] = {
        "optimizations": [[], [{"name": "weight_pruning", "sparsity": 0.9}]],
        "algorithm": [
            {"name": name, **each} for name in ("direct", "cheapest") for each in fields.values()
        ],
    }
    frame = dlas.run(dlas.Study.parse(table), tmp_path)
    assert len(frame) == 12
    formatted = frame["algorithm"].str.contains("format=")
    refused = formatted & (frame["optimizations"] == "none")
    assert (frame["status"] == np.where(refused, "refused", "ok")).all(), frame["message"]
    assert (frame[refused]["stage"] == "algorithms").all()
    assert frame[refused]["message"].str.contains("this network has none: prune it before").all()
    pruned = frame[frame["optimizations"] == "weight_pruning(0.9)"]
    assert pruned["label_agreement"].min() == 1
    assert pruned["accuracy"].nunique() == 1
    assert (pruned["promised_speedup"] > 10).all()

    page = dlas.write_report("sparse", tmp_path).read_text()
    assert "Sparse ResNet-20" in page
    for shown in ("direct(format=csr, threshold=0.5)", "cheapest(format=bsr_4x4)"):
        assert shown in page
    assert "skips weights that are zero, and this network has none" in page


def test_the_study_is_valid_and_has_every_combination(monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.environ.get("DLAS_TEST_DATA") or STUDIES.parents[1] / "shared" / "data"
    if not Path(data).is_dir():
        pytest.skip(f"no data in {data}: set DLAS_TEST_DATA")
    monkeypatch.setenv("DLAS_TEST_DATA", str(data))
    study = dlas.Study.parse(tomllib.loads((STUDIES / "sparse.toml").read_text()), STUDIES)
    assert len(study.stacks) == 6 * 4 * 4
