"""Whatever a user gets wrong: one clear sentence with the place, exit status 2, no traceback."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Dlas = Callable[..., subprocess.CompletedProcess[str]]

BASE = {
    "dataset": '"synthetic"',
    "model": '"tiny"',
    "system": '"onnxruntime"',
    "hardware": '"null"',
}


def write(folder: Path, extra: str = "", **change: str) -> Path:
    base = "\n".join(f"{key} = {value}" for key, value in {**BASE, **change}.items())
    path = folder / "study.toml"
    path.write_text(f'name = "bad"\n[base]\n{base}\n{extra}')
    return path


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"optimizations": '[{ name = "weight_pruning", sparcity = 0.5 }]'},
         "[0].sparcity: not a field of weight_pruning; did you mean 'sparsity'?"),
        ({"optimizations": '[{ name = "weight_pruning", sparsity = 1.2 }]'},
         "$.base.optimizations[0].sparsity: 1.2 is not in [0, 1)"),
        ({"optimizations": '[{ name = "weight_pruning", sparsity = 0.5, block = [0, 4] }]'},
         "$.base.optimizations[0].block[0]: 0 is not in [1, 64]"),
        ({"optimizations": '[{ weight_pruning = 0.5, scope = "gain", costs = "none.json" }]'},
         "none.json: there is no such file or folder"),
        ({"system": '"onnxruntim"'}, "$.base.system: 'onnxruntim' is not one of the systems"),
        ({"system": '{ name = "onnxruntime", threads = 0 }'},
         "$.base.system.threads: 0 is not in [1, inf)"),
        ({"dataset": '{ arrays = "none.npz" }'}, "none.npz: there is no such file or folder"),
        ({"dataset": '{ arrays = "truncated.npz" }'}, "truncated.npz"),
        ({"dataset": '{ arrays = "empty" }'}, "empty"),
        ({"dataset": '{ arrays = "nan.npz" }'}, "NaN"),
        ({"dataset": '{ arrays = "nothing.npz" }'}, "nothing.npz"),
        ({"model": '{ onnx = "none.onnx" }'}, "none.onnx: there is no such file"),
        ({"model": '{ onnx = "text.onnx" }'}, "text.onnx"),
        ({"model": '{ name = "tiny", weights = "text.safetensors" }'}, "text.safetensors"),
        ({"model": '{ factory = "nowhere:net" }'}, "nowhere"),
        ({"hardware": '{ name = "local", cores = [999] }'},
         "$.base.hardware.cores[0]: 999 is not one of"),
        ({"hardware": '{ name = "local", protocol = { runs = 0 } }'},
         "$.base.hardware.protocol.runs: 0"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)  # fmt: skip
def test_one_sentence(dlas: Dlas, tmp_path: Path, change: dict[str, str], sentence: str) -> None:
    x = np.random.default_rng(0).random((40, 3, 8, 8), np.float32)
    y = np.arange(40) % 4
    np.savez(tmp_path / "good.npz", x=x, y=y)
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "truncated.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(tmp_path / "nan.npz", x=x * np.nan, y=y)
    np.savez(tmp_path / "nothing.npz", x=x[:0], y=y[:0])
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.onnx").write_text("not a network")
    (tmp_path / "text.safetensors").write_text("not weights")
    ran = dlas("run", write(tmp_path, **change))
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert sentence in ran.stderr.replace("\n", " ")
    assert "Traceback" not in ran.stdout + ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


def test_a_network_for_other_images_names_both_shapes(dlas: Dlas, tmp_path: Path) -> None:
    from dlas.network.builder import Builder

    draw = Builder((3, 20, 20))
    network = draw.network(draw.dense(draw.flatten(draw.global_average_pool("input")), "fc", 10))
    network.save(tmp_path)
    ran = dlas("run", write(tmp_path, model='{ onnx = "network.onnx" }'))
    assert ran.returncode == 2
    assert "(3, 20, 20)" in ran.stderr
    assert "(3, 32, 32)" in ran.stderr


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["run", "none.toml"], "none.toml: there is no such file"),
        (["plan", "none.toml"], "none.toml: there is no such file"),
        (["show", "nothing"], "no study 'nothing' in this store"),
        (["report", "nothing"], "no study 'nothing' in this store"),
        (["compare", "ab", "cd"], "no stack with a key that starts with 'ab'"),
        (["explain", "ab"], "no stack with a key that starts with 'ab'"),
        (["explain-speedup", "ab"], "no stack with a key that starts with 'ab'"),
        (["list", "modles"], "'modles' is not a layer; did you mean 'models'?"),
        (["show", "x", "--export", "a.xls"], "the file must end in .parquet or .csv"),
        (["show", "x", "--export", "a.csv"], "no study 'x'"),
        (["run", "x.toml", "--jobs", "0"], "'--jobs': Input should be greater than or equal to 1"),
        (["rnu"], "No such command 'rnu'"),
        (["show", "--store", "/proc/none"], "cannot be made"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments(dlas: Dlas, arguments: list[str], sentence: str) -> None:
    ran = dlas(*arguments)
    assert ran.returncode == 2
    assert sentence in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_missing_back_end_is_said(
    dlas: Dlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda n, p=None: None if n == 'openvino' else find(n, p)\n"
    )
    path = [str(tmp_path / "hide"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    study = write(tmp_path, system='"openvino"')
    assert "openvino is not installed: pip install 'dlas[openvino]'" in dlas("plan", study).stdout
    ran = dlas("run", study)
    assert ran.returncode == 2
    assert "openvino is not installed: pip install 'dlas[openvino]'" in ran.stderr
