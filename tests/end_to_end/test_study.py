"""Whole studies, from data set to report, through the interfaces a user has."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import numpy as np
import pytest

import dlas
from dlas.store.store import open_store
from dlas.study.watch import Watcher

STUDIES = Path(__file__).parents[2] / "studies"
DATA = Path(os.environ.get("DLAS_TEST_DATA") or STUDIES.parents[1] / "shared" / "data")


class Counting(Watcher):
    def __init__(self) -> None:
        self.total = 0
        self.ended_keys: list[str] = []

    def planned(self, total: int, remaining_s: float) -> None:
        self.total = total

    def ended(self, node: object, outcome: object, remaining_s: float) -> None:
        self.ended_keys.append(node.key)  # type: ignore[attr-defined]
        assert remaining_s >= 0


def small_demo(name: str, **axes: object) -> dlas.Study:
    """The demo study with short training and fewer choices."""
    table = tomllib.loads((STUDIES / "demo.toml").read_text())
    table["name"] = name
    table["axes"]["model"] = [
        {**model, "train": {**model["train"], "epochs": 2}} for model in table["axes"]["model"][:1]
    ]
    table["base"]["hardware"]["protocol"] = {"time_budget_s": 0.05}
    table["axes"].update(axes)
    return dlas.Study.parse(table)


def test_a_study_of_every_optimization_and_two_systems(tmp_path: Path) -> None:
    study = small_demo("small", algorithm=["vendor", "gemm"], system=["onnxruntime", "tvm"])
    watcher = Counting()
    frame = dlas.run(study, tmp_path, watcher=watcher)
    assert len(watcher.ended_keys) == len(set(watcher.ended_keys)) == watcher.total
    assert (frame["status"] == "ok").all(), frame[["optimizations", "system", "message"]]
    assert len(frame) == 14
    assert frame["label_agreement"].min() > 0.97
    quantized = frame["precision"] == "int8"
    assert set(frame["optimizations"][quantized]) == {"int8"}
    assert (frame["output_agreement"].notna() == quantized).all()
    assert frame["output_agreement"].min() > 0.95
    assert (frame["latency_s"] > 0).all()
    assert (frame["latency_low_s"] <= frame["latency_s"]).all()
    by = frame[frame["system"] == "onnxruntime"].set_index("optimizations")
    assert by.loc["none", "promised_speedup"] == 1
    assert by.loc["int8", "promised_speedup"] == 4
    assert by.loc["float16", "size_bytes"] < 0.6 * by.loc["none", "size_bytes"]
    assert by.loc["weight_pruning(0.5)", "nonzeros"] == pytest.approx(
        0.5 * by.loc["none", "nonzeros"], abs=1
    )
    assert by.loc["channel_pruning(0.5)", "effective_macs"] < 0.6 * by.loc["none", "effective_macs"]

    again = Counting()
    pd_again = dlas.run(study, tmp_path, watcher=again)
    assert again.total == 0
    assert pd_again.equals(frame)

    page = dlas.write_report("small", tmp_path).read_text()
    assert "Three small networks" in page
    assert "channel_pruning(0.5)" in page

    store = open_store(tmp_path)
    node = next(n for n in store.results.nodes(list(frame["key"])).values() if n.layer == "systems")
    run = dlas.load(store.artifacts.place(node.key))
    scores = run(np.zeros((1, 1, 16, 16), np.float32))
    assert scores.shape == (1, 10)


def test_a_failed_study_says_so_in_the_frame(tmp_path: Path) -> None:
    study = small_demo(
        "refused",
        optimizations=[["int8", {"weight_pruning": 0.5}]],
        algorithm=["vendor"],
        system=["onnxruntime"],
    )
    frame = dlas.run(study, tmp_path)
    assert list(frame["status"]) == ["refused"]
    assert list(frame["stage"]) == ["optimizations"]
    assert "prune before reducing precision" in frame["message"][0]
    assert dlas.write_report("refused", tmp_path).exists()


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}: set DLAS_TEST_DATA")
def test_published_weights_on_real_images(tmp_path: Path) -> None:
    table = tomllib.loads((STUDIES / "cifar10-resnet20.toml").read_text())
    table["base"]["hardware"]["protocol"] = {"time_budget_s": 0.2}
    table["axes"] = {
        "optimizations": [[], ["int8"]],
        "algorithm": ["vendor", "gemm"],
        "system": ["pytorch", "onnxruntime", "tvm"],
    }
    frame = dlas.run(dlas.Study.parse(table, STUDIES), tmp_path)
    assert (frame["status"] == "ok").all(), frame["message"]
    dense = frame[frame["optimizations"] == "none"]
    assert dense["accuracy"].to_numpy() == pytest.approx(0.916, abs=0.002)
    assert (dense["label_agreement"] == 1).all()
    assert (frame["accuracy"] > 0.905).all()
