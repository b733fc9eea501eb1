"""Whole networks of the bench, compiled by schedule templates, agree with PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dlas.bench.cases import CIFAR, NETWORKS, build
from dlas.executable import compile_network, load
from dlas.spec import parse_member

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")
pytest.importorskip("torch", reason="torch is not installed: pip install 'dlas[torch]'")

TEMPLATE = {"name": "tvm", "tuning": "template", "trials": 1}


@pytest.mark.parametrize("name", [name for name, (_, task) in NETWORKS.items() if task == CIFAR])
def test_agrees_with_pytorch(name: str, tmp_path: Path) -> None:
    network = build(name)
    images = np.random.default_rng(0).normal(size=(1, *network.input_shape)).astype(np.float32)
    scores = []
    for system, algorithm in ((TEMPLATE, "cheapest"), ({"name": "pytorch"}, "vendor")):
        folder = tmp_path / algorithm
        folder.mkdir()
        plan = parse_member("algorithms", {"name": algorithm}, "$").plan(network)
        compile_network(parse_member("systems", system, "$"), network, plan, folder)
        scores.append(load(folder)(images))
    found, expected = scores
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
