"""Small networks on 8-bit integers and bfloat16, compiled by schedule templates, agree with ONNX
Runtime: integers to a step on all outputs but one in a thousand."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from dlas.algorithms.base import Algorithm
from dlas.algorithms.best import Best
from dlas.algorithms.planned import Planned
from dlas.context import Context
from dlas.evaluate import scores
from dlas.layer import member
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.optimizations.int8 import Int8
from dlas.plan import Plan
from dlas.systems.tvm import Tvm
from dlas.target import Target, host
from dlas.testing.networks import OPTIMIZATIONS, TINY, DType, noise, noise_images, randomized, tiny

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

from dlas.systems.tvm.choice import with_way
from dlas.systems.tvm.dots import DotLayers

Array = NDArray[np.float32]
Tuning = Literal["untuned", "template"]
NARROW: tuple[DType, ...] = ("int8", "bfloat16")
#: Of the largest score: float32 sums in another order, some of which round to another bfloat16.
TOLERANCE = 1e-2
IMAGES = 16


def without_matrices() -> Target:
    """This machine without its matrix unit."""
    features = tuple(name for name in host().features if not name.startswith("amx_"))
    return replace(host(), features=features)


@pytest.fixture(scope="module", autouse=True)
def unoptimized() -> Iterator[None]:
    """LLVM takes two thirds of the time for optimizations that change no loop of ours."""
    from dlas.systems.tvm import lower

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lower, "OPTIMIZATION", 0)
        yield


def executed(
    network: Network, algorithm: str | Algorithm, images: Array, threads: int, tuning: Tuning
) -> Array:
    system = Tvm(tuning=tuning, trials=1, threads=threads)
    if isinstance(algorithm, str):
        algorithm = cast(Algorithm, member("algorithms", algorithm)())
    plan = algorithm.plan(network)
    with TemporaryDirectory() as folder:
        system.compile(network, plan, Path(folder))
        run = system.load(Path(folder))
        return np.concatenate([run(image[None]) for image in images])


def last_step(network: Network) -> float:
    """The scale of the last tensor that is rounded to steps."""
    nodes = network.model.graph.node
    scale = [node.input[1] for node in nodes if node.op_type == "QuantizeLinear"][-1]
    return float(network.initializers[scale].item())


def disagreement(
    network: Network, algorithm: str | Algorithm, threads: int = 1, tuning: Tuning = "template"
) -> str | None:
    images = noise_images(network.input_shape, IMAGES, seed=1)
    found = executed(network, algorithm, images, threads, tuning)
    truth = scores(network, images)
    worst, largest = np.abs(found - truth).max(), np.abs(truth).max()
    if network.dtype == "bfloat16":
        return f"{worst / largest:.1e} of the scores" if worst > TOLERANCE * largest else None
    step = last_step(network)
    beyond = (np.abs(found - truth) > step).mean()
    if beyond > 1e-3:
        return f"{beyond:.2%} of the scores are beyond a step, the worst {worst / step:.1f} steps"
    best = np.sort(truth, axis=1)
    clear = best[:, -1] - best[:, -2] > 2 * step
    labels = (found.argmax(1) != truth.argmax(1)) & clear
    return f"{labels.sum()} labels differ" if labels.any() else None


ALGORITHMS = cycle(("direct", "gemm", "spatial_pack", "cheapest"))
CASES = [(n, d, next(ALGORITHMS), i % 2) for d in NARROW for i, n in enumerate(TINY)]
CASES += [
    ("grouped", "int8", "grouped_spatial_pack", 0),
    ("squeeze_excite", "int8", "depthwise", 1),
]


@pytest.mark.parametrize("name, dtype, algorithm, plain", CASES)
def test_agrees_with_onnxruntime(
    name: str, dtype: DType, algorithm: str, plain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other one without a matrix unit and on two threads."""
    if plain:
        monkeypatch.setattr("dlas.systems.tvm.compiling.host", without_matrices)
    assert disagreement(tiny(name, dtype), algorithm, threads=1 + plain) is None


def in_float32(network: Network, file: Path, nth: int) -> Planned:
    """Every convolution in the ``nth`` of its ways in float32."""
    steps = []
    for step in Best().plan(network).steps:
        ways = [way for way in step.ways if way.precision]
        steps.append(with_way(step, ways[nth] if ways else None))
    file.write_bytes(msgspec.json.encode(Plan("edited", tuple(steps))))
    return Planned(file=str(file))


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name, nth", [("inverted_residual", 0), ("residual", -1), ("groups", -1)])
def test_layers_in_float32_agree(
    name: str, nth: int, dtype: DType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = narrowed(groups_of_lanes(), dtype) if name == "groups" else tiny(name, dtype)
    algorithm = in_float32(network, tmp_path / "plan.json", nth)
    taken = {step.primitive for step in algorithm.plan(network).steps if step.precision}
    wanted = {"inverted_residual": "depthwise", "residual": "winograd4"}
    assert wanted.get(name, "grouped_spatial_pack") in taken
    by_dots, emit = [], DotLayers.emit
    monkeypatch.setattr(DotLayers, "emit", lambda *a: (by_dots.append(a[3].name), emit(*a))[-1])
    assert disagreement(network, algorithm) is None
    assert {*by_dots} == {row.name for row in network.layers if row.op == "dense"}


def test_layers_in_float32_agree_without_templates(tmp_path: Path) -> None:
    network = tiny("residual", "int8")
    algorithm = in_float32(network, tmp_path / "plan.json", -1)
    assert disagreement(network, algorithm, tuning="untuned") is None


def test_layers_in_float32_agree_in_a_mixed_network(tmp_path: Path) -> None:
    """One layer stays in float32 anyway, on blocks between the others."""
    network = tiny("residual")
    spec = Int8(samples=16, keep=("conv2",))
    network = spec.apply(network, noise(network), Context(tmp_path, tmp_path))
    assert network.dtype == "mixed"
    algorithm = in_float32(network, tmp_path / "plan.json", -1)
    assert [s.layer for s in algorithm.plan(network).steps if not s.precision] == ["conv2", "fc"]
    assert disagreement(network, algorithm) is None


def groups_of_lanes() -> Network:
    """Groups of two channels that fill the lanes of vectors: the image's channels are reordered."""
    b = Builder((3, 8, 8), seed=2)
    x = b.relu(b.conv("input", "conv1", 32, 1))
    x = b.relu(b.conv(x, "conv2", 32, 3, stride=2, groups=16))
    return randomized(b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10)))


class Drawing:
    """A network of drawn blocks: ``blocks`` are (kind, channels, size)."""

    def __init__(self, blocks: list[tuple[str, int, int]], seed: int) -> None:
        self.b, self.number = Builder((3, 13, 11), seed), 0
        x = self.layer("input", 16, 3)
        for kind, channels, size in blocks:
            x = getattr(self, kind)(x, channels, size)
        x = self.b.relu(self.b.dense(self.b.flatten(self.b.global_average_pool(x)), "fc1", 17))
        self.network = randomized(self.b.network(self.b.dense(x, "fc2", 10)), seed)

    def layer(self, x: str, channels: int, size: int, **options: Any) -> str:
        self.number += 1
        y = self.b.conv(x, f"conv{self.number}", channels, size, **options)
        return self.b.relu(self.b.batch_norm(y, f"bn{self.number}"))

    def plain(self, x: str, channels: int, size: int) -> str:
        return self.layer(x, channels, size)

    def strided(self, x: str, channels: int, size: int) -> str:
        return self.layer(x, channels, size, stride=2)

    def grouped(self, x: str, channels: int, size: int) -> str:
        return self.layer(self.layer(x, 12, 1), 4 * channels, size, groups=4)

    def depthwise(self, x: str, channels: int, size: int) -> str:
        x = self.layer(x, channels, 1)
        return self.layer(x, channels, size, groups=channels)

    def residual(self, x: str, channels: int, size: int) -> str:
        same = self.b.shapes[x][0]
        return self.b.relu(self.b.add(x, self.layer(self.layer(x, channels, size), same, 1)))

    def dense(self, x: str, channels: int, size: int) -> str:
        return self.b.concat([x, self.layer(x, channels, size)])

    def gate(self, x: str, channels: int, size: int) -> str:
        y, same = self.b.global_average_pool(x), self.b.shapes[x][0]
        y = self.b.conv(self.layer(y, channels, 1), f"widen{self.number}", same, 1, bias=True)
        return self.b.mul(x, self.b.sigmoid(y))

    def max_pool(self, x: str, channels: int, size: int) -> str:
        return self.b.max_pool(x, 2, 1)

    def average_pool(self, x: str, channels: int, size: int) -> str:
        return self.b.average_pool(x, 2, 1)


KINDS = (
    "plain", "strided", "grouped", "depthwise", "residual", "dense", "gate", "max_pool",
    "average_pool",
)  # fmt: skip
BLOCKS = st.tuples(st.sampled_from(KINDS), st.integers(1, 40), st.sampled_from((1, 3, 5)))


@settings(max_examples=5, deadline=None, database=None, derandomize=True)
@given(
    st.lists(BLOCKS, min_size=2, max_size=4), st.sampled_from(NARROW), st.integers(0, 99),
    st.sampled_from(("direct", "gemm", "spatial_pack", "cheapest")),
)  # fmt: skip
def test_drawn_networks_agree(
    blocks: list[tuple[str, int, int]], dtype: DType, seed: int, algorithm: str
) -> None:
    network = Drawing(blocks, seed).network
    assert disagreement(narrowed(network, dtype), algorithm, threads=1 + seed % 2) is None


def narrowed(network: Network, dtype: DType) -> Network:
    with TemporaryDirectory() as folder:
        context = Context(Path(folder), Path(folder))
        return OPTIMIZATIONS[dtype].apply(network, noise(network), context)
