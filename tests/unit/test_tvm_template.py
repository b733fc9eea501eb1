"""tuning = "template" on whole small networks against ONNX Runtime, and the store of knobs."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tvm_system import deviation, expected, plan_of

from dlas.layer import member
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.systems.tvm import Tvm
from dlas.testing.networks import TINY, noise_images, tiny

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

ALGORITHMS = ("spatial_pack", "winograd", "winograd4", "depthwise", "gemm")
PAIRS = [(name, algorithm) for name in TINY for algorithm in ("cheapest", "direct")]
PAIRS += zip(TINY, cycle(ALGORITHMS), strict=False)


def executed(network: Network, algorithm: str, images: Any, folder: Path, threads: int = 1) -> Any:
    system = Tvm(threads=threads, tuning="template", trials=1)
    system.compile(network, plan_of(network, algorithm), folder)
    run = system.load(folder)
    return np.concatenate([run(images[i : i + 1]) for i in range(len(images))])


@pytest.mark.parametrize("name, algorithm", PAIRS)
def test_agrees_with_onnxruntime(name: str, algorithm: str, tmp_path: Path) -> None:
    network = tiny(name)
    images = noise_images(network.input_shape, 4, seed=1)
    found, truth = executed(network, algorithm, images, tmp_path), expected(network, images)
    assert deviation(found, truth) < (1e-3 if algorithm == "winograd4" else 1e-5)
    np.testing.assert_array_equal(found.argmax(1), truth.argmax(1))


@pytest.mark.parametrize("algorithm", ["cheapest", "winograd4"])
def test_two_threads(algorithm: str, tmp_path: Path) -> None:
    network = tiny("residual")
    images = noise_images(network.input_shape, 2)
    found = executed(network, algorithm, images, tmp_path, threads=2)
    assert deviation(found, expected(network, images)) < 1e-4


def whole_blocks() -> Network:
    """Channels that vectors divide: every operator stays on blocks, concatenation too."""
    b = Builder((3, 17, 17), seed=3)
    x = b.max_pool(b.relu(b.conv("input", "stem", 32, 7, stride=2, bias=True)), 3, 2, pad=1)
    y = b.silu(b.conv(x, "left", 16, 3))
    z = b.hard_swish(b.conv(x, "right", 17, (1, 3)))
    x = b.relu6(b.conv(b.concat([y, x, z]), "mix", 64, 1))
    gate = b.sigmoid(b.conv(b.global_average_pool(x), "gate", 64, 1, bias=True))
    x = b.average_pool(b.mul(x, gate), 2, 2)
    x = b.relu(b.add(b.conv(x, "grouped", 64, 3, groups=8), x))
    return b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10))


def test_images_stay_in_blocks_through_the_whole_graph(tmp_path: Path) -> None:
    from dlas.systems.tvm.blocked import translate_blocked

    network = whole_blocks()
    plan = plan_of(network, "cheapest")
    functions = translate_blocked(network, plan, 16).functions_items()
    names = {name.name_hint for name, _ in functions}
    assert not any(name.startswith("block") for name in names)
    assert sorted(name for name in names if name.startswith("unblock")) == ["unblock", "unblock1"]
    images = noise_images(network.input_shape, 2)
    found = executed(network, "cheapest", images, tmp_path)
    assert deviation(found, expected(network, images)) < 1e-5


@pytest.mark.parametrize("name", ["residual", "squeeze_excite", "hard_swish"])
def test_direct_leaves_images_as_they_lie_and_what_follows_joins_it(name: str) -> None:
    from dlas.systems.tvm import lower
    from dlas.systems.tvm.blocked import translate_blocked
    from dlas.systems.tvm.runtime import quick_import

    tvm: Any = quick_import("tvm")
    network = tiny(name)
    convolutions = [row for row in network.layers if row.op == "conv"]
    module = translate_blocked(network, plan_of(network, "direct"), 16)
    with tvm.transform.PassContext(opt_level=3):
        module = tvm.transform.Sequential(lower.FUSE)(module)
    kernels = [n.name_hint for n, f in module.functions_items() if isinstance(f, tvm.tirx.PrimFunc)]
    assert sum("direct" in kernel for kernel in kernels) == len(convolutions)
    others = [k for k in kernels if not any(word in k for word in ("direct", "gemm", "gate"))]
    alone = ("add", "relu", "clip", "multiply", "sigmoid", "fused_block")
    assert not [kernel for kernel in others if any(word in kernel for word in alone)]


def test_averages_pixels_before_it_mixes_channels(tmp_path: Path) -> None:
    from dlas.systems.tvm.rewrite import pool_first

    b = Builder((8, 9, 8))
    x = b.average_pool(b.conv("input", "swapped", 16, 1, bias=True), 2, 2)
    y = b.conv(x, "read twice", 16, 1)
    x = b.add(b.average_pool(y, 3, 1, pad=1), y)
    x = b.average_pool(b.conv(x, "wide", 16, 3), 2, 2)
    network = b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10))
    rows = {row.name: row for row in Network(pool_first(network.model)).layers}
    assert rows["swapped"].input_hw == (4, 4)
    assert rows["read twice"] == {r.name: r for r in network.layers}["read twice"]
    assert rows["wide"].input_hw == (4, 4)
    images = noise_images(network.input_shape, 2)
    truth = expected(network, images)
    assert deviation(executed(network, "cheapest", images, tmp_path), truth) < 1e-5


def test_winograd_refuses_integers_and_falls_back_to_blocks() -> None:
    winograd: Any = member("algorithms", "winograd")()
    assert "float networks only" in winograd.refuses(tiny("plain", "int8"))
    steps = {step.layer: step for step in winograd.plan(tiny("residual")).steps}
    assert steps["conv1"].primitive == "winograd"
    assert steps["conv2"].primitive == "spatial_pack"
    assert "stride 1" in steps["conv2"].note


def test_a_kernel_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path))
    network = tiny("plain")
    plan = plan_of(network, "spatial_pack")
    system = Tvm(tuning="template", trials=2)
    system.compile(network, plan, tmp_path)
    from dlas.systems.tvm.contest import Contests
    from dlas.tuning.store import FILE

    assert (tmp_path / FILE).exists()
    monkeypatch.setattr(Contests, "hold", lambda *_: pytest.fail("measured again"))
    system.compile(network, plan, tmp_path)
