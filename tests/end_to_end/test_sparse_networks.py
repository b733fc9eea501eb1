"""Whole pruned networks with weights in sparse formats agree with ONNX Runtime."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlas.algorithms.formats import weight_format
from dlas.bench.cases import build
from dlas.evaluate import cpu_session
from dlas.executable import compile_network, load
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.optimizations.magnitude import magnitude_masks, zeroed
from dlas.plan import Plan
from dlas.spec import parse_member
from dlas.testing.networks import TINY, tiny

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

ALGORITHMS = ("direct", "gemm", "spatial_pack", "cheapest")
FORMATS = ("csr", "bsr_16x1", "bsr_4x4", "bsr_1x16")
TUNINGS = ("untuned", "template")
CIFAR = ("resnet18-cifar", "mobilenetv2-cifar")


def tiny_cases() -> list[Any]:
    """Every network by either tuning; formats, algorithms and threads in turns."""
    return [
        pytest.param(
            name, FORMATS[(i + i // 4) % 4], ALGORITHMS[(i + j) % 4], tuning, (i // 2 + j) % 2 + 1
        )
        for i, name in enumerate(TINY)
        for j, tuning in enumerate(TUNINGS)
    ]


@cache
def pruned(name: str, kind: str) -> Network:
    """90 % zeros in every layer, in the blocks of the format."""
    network = tiny(name) if name in TINY else build(name)
    return zeroed(network, magnitude_masks(network, 0.9, "layer", weight_format(kind).block))


def check(
    network: Network, folder: Path, kind: str, algorithm: str, tuning: str, threads: int,
    threshold: float | None = 0.0,
) -> Plan:  # fmt: skip
    fields = {"name": algorithm, "format": kind, "threshold": threshold}
    member: Any = parse_member("algorithms", fields, "$")
    assert member.refuses(network) is None
    plan: Plan = member.plan(network)
    spec = {"name": "tvm", "tuning": tuning, "threads": threads}
    spec |= {"trials": 1} if tuning == "template" else {}
    system: Any = parse_member("systems", spec, "$")
    assert system.refuses(network, plan) is None
    compile_network(system, network, plan, folder)
    run, session = load(folder), cpu_session(network)
    for image in np.random.default_rng(0).normal(size=(2, 1, *network.input_shape)):
        image = image.astype(np.float32)
        (expected,) = session.run(None, {network.input_name: image})
        assert np.abs(run(image) - expected).max() <= 1e-4 * np.abs(expected).max()
    return plan


@pytest.mark.parametrize("name, kind, algorithm, tuning, threads", tiny_cases())
def test_tiny_networks(
    name: str, kind: str, algorithm: str, tuning: str, threads: int, tmp_path: Path
) -> None:
    plan = check(pruned(name, kind), tmp_path, kind, algorithm, tuning, threads)
    assert plan.step("conv1").format == kind


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_dense_layers(kind: str, algorithm: str, tmp_path: Path) -> None:
    """Two fully connected layers and the convolution before them, all of them sparse."""
    for tuning in TUNINGS:
        (tmp_path / tuning).mkdir()
        plan = check(pruned("plain", kind), tmp_path / tuning, kind, algorithm, tuning, 1)
        assert {step.layer: step.format for step in plan.steps} == dict.fromkeys(
            ("conv1", "fc1", "fc2"), kind
        )


@pytest.mark.parametrize(
    "name, kind, algorithm, tuning, threads",
    [
        (CIFAR[0], "csr", "cheapest", "template", 1),
        (CIFAR[0], "csr", "gemm", "template", 2),
        (CIFAR[0], "bsr_16x1", "spatial_pack", "untuned", 1),
        (CIFAR[1], "csr", "direct", "template", 2),
        (CIFAR[1], "csr", "cheapest", "template", 1),
        (CIFAR[1], "bsr_4x4", "gemm", "untuned", 1),
    ],
)
def test_networks_of_the_paper(
    name: str, kind: str, algorithm: str, tuning: str, threads: int, tmp_path: Path
) -> None:
    """Only layers where it pays."""
    plan = check(pruned(name, kind), tmp_path, kind, algorithm, tuning, threads, threshold=None)
    formats = {step.format for step in plan.steps}
    assert {kind} <= formats <= {"dense", kind}


def test_a_layer_of_nothing_but_zeros(tmp_path: Path) -> None:
    network = tiny("residual")
    masks = magnitude_masks(network, 0.5, "layer")
    row = network.layers[1]
    masks[row.weight] = np.zeros_like(masks[row.weight])
    for tuning in TUNINGS:
        (tmp_path / tuning).mkdir()
        check(zeroed(network, masks), tmp_path / tuning, "csr", "direct", tuning, 1)


def test_layers_with_and_without_bias(tmp_path: Path) -> None:
    b = Builder((16, 8, 8))
    x = b.conv(b.relu(b.conv("input", "first", 16, 3)), "second", 16, 3, bias=True)
    network = b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10))
    network = zeroed(network, magnitude_masks(network, 0.8, "layer"))
    for tuning in TUNINGS:
        (tmp_path / tuning).mkdir()
        check(network, tmp_path / tuning, "csr", "spatial_pack", tuning, 2)
