"""int8: what the quantized network looks like, what stays, and what is refused."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from dlas.context import Context
from dlas.data import Data, Split
from dlas.errors import InputError
from dlas.network import Network
from dlas.network.layers import attributes
from dlas.network.opening import normalized
from dlas.optimizations.int8 import Int8
from dlas.testing.networks import TINY, noise, tiny


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path, tmp_path)


def with_weights(network: Network, weights: dict[str, NDArray[np.float32]]) -> Network:
    model = network.edited()
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return Network(model)


def half_pruned(network: Network, seed: int = 0) -> Network:
    """Half of every layer's weights zero, and the first output channel of each altogether."""
    random = np.random.default_rng(seed)
    pruned = {}
    for row in network.layers:
        weight = network.initializers[row.weight].copy()
        weight[random.random(weight.shape) < 0.5] = 0
        weight[0] = 0
        pruned[row.weight] = weight
    return with_weights(network, pruned)


@pytest.mark.parametrize("name", TINY)
def test_weights_are_symmetric_and_per_channel(name: str) -> None:
    network = tiny(name, "int8")
    constants = network.initializers
    by_weight = {n.input[0]: n for n in network.model.graph.node if n.op_type == "DequantizeLinear"}
    for row in network.layers:
        node = by_weight[row.weight]
        assert constants[row.weight].dtype == np.int8
        assert np.abs(constants[row.weight].astype(int)).max() <= 127
        assert constants[node.input[1]].shape == (row.out_channels,)
        assert attributes(node)["axis"] == 0
        assert not constants[node.input[2]].any()


@pytest.mark.parametrize("name", TINY)
def test_activations_are_unsigned_and_ends_are_float32(name: str) -> None:
    graph = tiny(name, "int8").model.graph
    constants = tiny(name, "int8").initializers
    zero_points = [constants[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"]
    assert {(z.dtype, z.shape) for z in zero_points} == {(np.dtype(np.uint8), ())}
    ends = (graph.input[0], graph.output[0])
    assert [e.type.tensor_type.elem_type for e in ends] == [TensorProto.FLOAT] * 2
    assert graph.node[-1].op_type == "Gemm", "the scores are not rounded"


@pytest.mark.parametrize("name", TINY)
def test_zeros_stay_zeros(name: str, context: Context) -> None:
    network = half_pruned(tiny(name))
    quantized = Int8(samples=16).apply(network, noise(network), context)
    weights = {row.name: quantized.initializers[row.weight] for row in quantized.layers}
    for row in network.layers:
        was_zero = network.initializers[row.weight] == 0
        assert not weights.pop(row.name)[was_zero].any()
    assert not weights
    (scores,) = ReferenceEvaluator(quantized.model).run(
        None, {network.input_name: noise(network).test.images()}
    )
    assert np.isfinite(scores).all()


def test_the_given_network_and_our_form_are_kept(context: Context) -> None:
    network = tiny("residual")
    before = network.model.SerializeToString(deterministic=True)
    quantized = Int8(samples=16).apply(network, noise(network), context)
    assert network.model.SerializeToString(deterministic=True) == before
    assert normalized(quantized.model) == quantized.model
    assert quantized.size_bytes < network.size_bytes


def test_equal_inputs_give_equal_bytes() -> None:
    code = (
        "import hashlib; from dlas.testing.networks import tiny\n"
        "for name in ('dense_block', 'squeeze_excite'):\n"
        "    model = tiny(name, 'int8').model.SerializeToString(deterministic=True)\n"
        "    print(hashlib.sha256(model).hexdigest())"
    )
    digests = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert digests[0] == digests[1]


def test_percentile_cuts_the_range(context: Context) -> None:
    network = tiny("residual")
    spiked = noise(network).calibration.images().copy()
    spiked[0, 0, 0, 0] = 100
    split = Split(np.zeros(len(spiked), np.int64), lambda chosen: spiked[chosen])
    data = replace(noise(network), calibration=split)

    def first_scale(int8: Int8) -> float:
        quantized = int8.apply(network, data, context)
        first = next(n for n in quantized.model.graph.node if n.op_type == "QuantizeLinear")
        return float(quantized.initializers[first.input[1]])

    assert first_scale(Int8(samples=16)) > 0.4
    assert first_scale(Int8(samples=16, calibration="percentile", percentile=99.9)) < 0.1


def test_says_nothing(context: Context, capfd: pytest.CaptureFixture[str]) -> None:
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    network = tiny("dense_block")
    Int8(samples=16, calibration="percentile", percentile=99.9).apply(
        network, noise(network), context
    )
    assert capfd.readouterr() == ("", "")
    assert (logging.getLogger().handlers, logging.getLogger().level) == (handlers, level)


def test_reports_progress(tmp_path: Path) -> None:
    seen: list[tuple[float, str]] = []
    context = Context(tmp_path, tmp_path, progress=lambda *report: seen.append(report))
    network = tiny("oblong")
    Int8(samples=20).apply(network, noise(network, 20), context)
    assert seen == [(0.0, "calibrating"), (1 / 3, "calibrating"), (2 / 3, "calibrating")]


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_refuses_what_is_no_longer_float32(dtype: str) -> None:
    network = tiny("plain", dtype)  # type: ignore[arg-type]
    sentence = f"int8 takes a float32 network; this one's layers are {dtype}"
    assert Int8().refuses(network) == sentence
    assert Int8().refuses(tiny("plain")) is None


def test_too_few_images(context: Context) -> None:
    network = tiny("plain")
    message = "int8 calibrates on 128 images and the data set has 16: lower samples"
    with pytest.raises(InputError, match=message):
        Int8().apply(network, noise(network), context)


def broken(data: Data) -> Data:
    images = data.calibration.images().copy()
    images[3, 0, 1, 2] = np.nan
    return replace(data, calibration=Split(data.calibration.labels, lambda i: images[i]))


def test_nan(context: Context) -> None:
    network = tiny("plain")
    with pytest.raises(InputError, match="the calibration images hold NaN"):
        Int8(samples=16).apply(network, broken(noise(network)), context)
    weight = np.full((10, 16), np.inf, np.float32)
    with pytest.raises(InputError, match=r"the network's fc2.weight holds NaN or infinite"):
        Int8(samples=16).apply(
            with_weights(network, {"fc2.weight": weight}), noise(network), context
        )
