"""What mends int8: equalization, bias correction, float32 layers, SiLU before its rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.context import Context
from dlas.evaluate import scores
from dlas.executable import compile_network, load
from dlas.layer import member
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.network.fold import fold_batch_norm
from dlas.optimizations.calibration import tap
from dlas.optimizations.equalization import pairs
from dlas.optimizations.int8 import Int8
from dlas.testing.networks import TINY, noise, randomized, tiny


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path, tmp_path)


def separable(spread: float) -> Network:
    """Expand, depthwise, project with ReLU; channels whose ranges differ by 2 to the ``spread``."""
    b = Builder((3, 12, 12), seed=1)
    x = b.relu(b.batch_norm(b.conv("input", "expand", 24, 1), "bn1"))
    x = b.relu(b.batch_norm(b.conv(x, "depthwise", 24, 3, groups=24), "bn2"))
    x = b.batch_norm(b.conv(x, "project", 8, 1), "bn3")
    model = randomized(b.network(b.dense(b.flatten(x), "fc", 10))).edited()
    random = np.random.default_rng(2)
    for tensor in model.graph.initializer:
        if tensor.name in ("bn1.weight", "bn2.weight", "bn1.bias", "bn2.bias"):
            factors = np.exp2(random.uniform(-spread, 0, 24)).astype(np.float32)
            value = numpy_helper.to_array(tensor) * factors
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        if tensor.name in ("depthwise.weight", "project.weight"):  # makes up for it
            value = numpy_helper.to_array(tensor)
            axis = 0 if tensor.name == "depthwise.weight" else 1
            peaks = np.exp2(random.uniform(0, spread, 24)).astype(np.float32)
            value = value * peaks.reshape([-1 if i == axis else 1 for i in range(4)])
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return Network(model)


def error(network: Network, int8: Int8, context: Context) -> float:
    """Relative distance of the scores of images it was not calibrated on."""
    quantized = int8.apply(network, noise(network), context)
    images = noise(network, 32, seed=1).test.images()
    expected = scores(network, images)
    difference = scores(quantized, images) - expected
    return float(np.linalg.norm(difference) / np.linalg.norm(expected))


PAIRS = {
    "residual": [("conv2", "conv3")],
    "pre_activation": [("conv2", "conv3")],
    "inverted_residual": [],  # ReLU6
    "oblong": [("conv1", "conv2")],
    "grouped": [],
    "squeeze_excite": [],
    "option_a": [],  # the shortcut reads it too
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_that_are_equalized(name: str) -> None:
    network = Network(fold_batch_norm(tiny(name).model))
    found = [(pair.first.name, pair.second.name) for pair in pairs(network)]
    assert found == PAIRS[name]
    both = tuple(layer for pair in PAIRS[name] for layer in pair)
    assert pairs(network, both) == []
    assert len(pairs(network, both[:1])) == len(found), "one quantized layer is enough"


def test_equalization_brings_unequal_channels_back(context: Context) -> None:
    network = separable(10)
    naive, mended = (error(network, Int8(samples=16, equalization=e), context) for e in (0, 1))
    assert naive > 0.05
    assert mended < naive / 3


@pytest.mark.parametrize("activations", ["uint8", "int8"])
@pytest.mark.parametrize("name", ["plain", "residual", "squeeze_excite", "dense_block"])
def test_corrected_layers_have_the_mean_of_float32(
    name: str, activations: str, context: Context
) -> None:
    """Up to half a step of the bias, and what float32 sums round."""
    network = tiny(name)
    data = noise(network)
    images = data.calibration.images()
    original = Network(fold_batch_norm(network.model))
    errors = {}
    for correct in (False, True):
        int8 = Int8(samples=16, bias_correction=correct, activations=activations)  # type: ignore[arg-type]
        quantized = int8.apply(network, data, context)
        errors[correct] = mean_errors(original, quantized, images)
    steps = {layer: step for layer, (_, step) in errors[True].items()}
    assert set(steps) == {row.name for row in network.layers}
    for layer, (found, step) in errors[True].items():
        assert (np.abs(found) <= 0.6 * step + 1e-5).all(), layer
    assert any((np.abs(found) > 2 * steps[n]).any() for n, (found, _) in errors[False].items())


def mean_errors(
    original: Network, quantized: Network, images: NDArray[np.float32]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """(mean error of each output channel, step of its bias) by layer."""
    producers = {name: node for node in quantized.model.graph.node for name in node.output}
    before = {node.name: node.output[0] for node in original.model.graph.node}
    found = {}
    for node in quantized.model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            wanted, given = before[node.name], node.output[0]
            difference = (
                tap(quantized, [given])(images)[given] - tap(original, [wanted])(images)[wanted]
            )
            axes = (0, *range(2, difference.ndim))
            bias = [producers[name] for name in node.input[2:]]
            step = quantized.initializers[bias[0].input[1]] if bias else np.zeros(1, np.float32)
            found[node.name] = difference.mean(axis=axes, dtype=np.float64), step
    return found


@pytest.mark.parametrize("name", TINY)
def test_kept_layers_stay_float32(name: str, context: Context) -> None:
    network = tiny(name)
    kept = tuple(row.name for row in network.layers[::2])
    quantized = Int8(samples=16, keep=kept).apply(network, noise(network), context)
    kinds = {row.name: row.dtype for row in quantized.layers}
    assert kinds == {n: "float32" if n in kept else "int8" for n in kinds}
    assert quantized.dtype == "mixed"
    folded = Network(fold_batch_norm(network.model))
    for row in quantized.layers:
        if row.name in kept:
            given = folded.initializers[row.weight]
            np.testing.assert_array_equal(quantized.initializers[row.weight], given)
    images = noise(network).test.images()
    assert np.isfinite(scores(quantized, images)).all()


def test_all_layers_kept_computes_in_float32_what_is_weighted(context: Context) -> None:
    network = tiny("plain")
    every = tuple(row.name for row in network.layers)
    assert Int8(samples=16, keep=every).apply(network, noise(network), context).dtype == "float32"


def test_a_layer_that_is_none_is_not_kept() -> None:
    sentence = "int8 keeps 'conv9', which is no layer; did you mean 'conv1'?"
    assert Int8(keep=("fc1", "conv9")).refuses(tiny("plain")) == sentence
    assert Int8(keep=("fc1",)).refuses(tiny("plain")) is None


@pytest.mark.parametrize("name,swishes", [("squeeze_excite", 3), ("hard_swish", 2)])
def test_fused_swishes_read_what_layers_compute(name: str, swishes: int, context: Context) -> None:
    network = tiny(name)
    quantized = {
        swish: Int8(samples=16, swish=swish).apply(network, noise(network), context)  # type: ignore[arg-type]
        for swish in ("rounded", "fused")
    }
    for swish, found in quantized.items():
        producers = {out: node for node in found.model.graph.node for out in node.output}
        read = [
            producers[node.input[0]].op_type
            for node in found.model.graph.node
            if node.op_type == "HardSwish"
            or (node.op_type == "Sigmoid" and "widen" not in node.input[0])
        ]
        wanted = {"rounded": "DequantizeLinear", "fused": "Conv"}[swish]
        assert read == [wanted] * swishes
    images = noise(network, 32, seed=1).test.images()
    expected = scores(network, images)
    rounded, fused = (
        np.linalg.norm(scores(quantized[swish], images) - expected) for swish in quantized
    )
    assert fused < rounded


@pytest.mark.parametrize("system", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "int8",
    [
        Int8(samples=16, swish="fused", activations="int8"),
        Int8(samples=16, activations="int8", equalization=True, bias_correction=True),
        Int8(samples=16, keep=("depthwise", "conv2")),
    ],
    ids=Int8.label,
)
def test_every_form_runs(int8: Int8, system: str, tmp_path: Path) -> None:
    missing = member("systems", system).missing()
    if missing:
        pytest.skip(missing)
    for name in ("squeeze_excite", "hard_swish", "inverted_residual"):
        network = tiny(name)
        names = {row.name for row in network.layers}
        chosen = Int8(
            **{f: getattr(int8, f) for f in int8.__struct_fields__ if f != "keep"},
            keep=tuple(layer for layer in int8.keep if layer in names),
        )
        quantized = chosen.apply(network, noise(network), Context(tmp_path, tmp_path))
        images = noise(network, 2, seed=1).test.images()
        plan = member("algorithms", "vendor")().plan(quantized)  # type: ignore[attr-defined]
        folder = tmp_path / f"{name}-{chosen.label()}"
        folder.mkdir()
        compile_network(member("systems", system)(), quantized, plan, folder)  # type: ignore[arg-type]
        run = load(folder)
        found = np.concatenate([run(image[None]) for image in images])
        expected = scores(quantized, images)
        assert np.linalg.norm(found - expected) <= 0.05 * np.linalg.norm(expected)
