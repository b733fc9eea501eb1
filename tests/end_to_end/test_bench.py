"""``dlas bench`` on this machine, small."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Dlas = Callable[..., subprocess.CompletedProcess[str]]

pytest.importorskip("tvm")


def test_a_network_from_the_command_line(dlas: Dlas, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    ran = dlas(
        "bench", "networks", "--networks", "mobilenetv1-cifar", "--contenders",
        "onnxruntime,tvm-direct-untuned", "--time-budget", "0.2", "--json", out,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(out.read_text())
    assert {row["contender"] for row in rows} == {"onnxruntime", "tvm-direct-untuned"}
    for row in rows:
        assert row["case"] == "mobilenetv1-cifar"
        assert row["median_s"] > 0
        assert row["gflops"] == pytest.approx(2 * 46_354_432 / row["median_s"] / 1e9)
    assert "geometric means" in ran.stdout
    assert not (tmp_path / ".dlas").exists()


def test_precisions_from_the_command_line(dlas: Dlas, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    ran = dlas(
        "bench", "precision", "--networks", "mobilenetv1-cifar", "--precisions", "int8",
        "--contenders", "onnxruntime,onnxruntime-int8",
        "--time-budget", "0.05", "--json", out,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(out.read_text())
    assert len(rows) == 2
    assert {row["precision"] for row in rows} == {"float32", "int8"}
    for row in rows:
        if row["contender"] == "onnxruntime":
            assert row["speedup_over_float32"] == 1
        if row["contender"] == "onnxruntime-int8":
            assert row["ratio_to_best_peer"] == 1
            assert row["ratio_to_any_peer"] > 0
        assert row["median_s"] > 0
    assert "over f32" in ran.stdout


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("networks", "--networks", "resnet5"), "did you mean 'resnet50'?"),
        (("networks", "--contenders", "openvin"), "did you mean 'openvino'?"),
        (("layers", "--networks", "groupd"), "did you mean 'grouped'?"),
        (("sparse", "--networks", "resnet18-cifar-3x"), "did you mean 'resnet18-cifar-3x3'?"),
        (("sparse", "--formats", "csv"), "--formats: 'csv' is not a weight format"),
        (("sparse", "--levels", "50,100"), "--levels: '100' is not a percentage"),
        (("precision", "--networks", "resnet50-1x2"), "did you mean 'resnet50-1x1'?"),
        (("precision", "--precisions", "int7"), "--precisions: 'int7' is not a precision"),
        (("tuning", "--networks", "resnet5"), "did you mean 'resnet50'?"),
        (("tuning", "--algorithm", "gem"), "did you mean 'gemm'?"),
        (("tuning", "--algorithm", "vendor"), "'vendor' is not an algorithm of dlas bench; there"),
        (("tuning", "--algorithm", "planned"), "'planned' is not an algorithm of dlas bench"),
        (("tuning", "--json", "nowhere/out.json"), "nowhere/out.json cannot be written"),
        (("networks", "--json", "nowhere/out.json"), "nowhere/out.json cannot be written"),
    ],
)
def test_mistakes_are_one_sentence(dlas: Dlas, arguments: tuple[str, ...], sentence: str) -> None:
    ran = dlas("bench", *arguments)
    assert ran.returncode == 2
    assert sentence in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
