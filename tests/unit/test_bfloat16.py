"""bfloat16: what is rounded and where, that it is rounded once, and what runs it."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from dlas.context import Context
from dlas.errors import InputError
from dlas.evaluate import scores
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.network.opening import normalized
from dlas.optimizations.bfloat16 import SELECTING, BFloat16, nearest
from dlas.systems.base import System
from dlas.systems.onnxruntime import OnnxRuntime
from dlas.systems.openvino import OpenVino
from dlas.systems.pytorch import PyTorch
from dlas.systems.reference import Reference
from dlas.systems.tvm import Tvm
from dlas.testing.networks import TINY, noise, noise_images, tiny


def rounded(network: Network) -> Network:
    return BFloat16().apply(network, noise(network), Context(Path(), Path()))


def pairs(network: Network) -> list[str]:
    """The tensors that are rounded, in graph order."""
    return [
        node.input[0]
        for node in network.model.graph.node
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.BFLOAT16
    ]


def drawn(output: str, b: Builder) -> Network:
    return rounded(b.network(b.dense(b.flatten(b.global_average_pool(output)), "fc", 10)))


@pytest.mark.parametrize("name", TINY)
def test_both_operands_of_every_layer_are_bfloat16(name: str) -> None:
    network = tiny(name, "bfloat16")
    onnx.checker.check_model(network.model, full_check=True)
    assert network.dtype == "bfloat16"
    producers = {node.output[0]: node for node in network.model.graph.node}
    for node in network.model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        for operand in node.input[:2]:
            producer = producers[operand]
            while producer.op_type in SELECTING:
                producer = producers[producer.input[0]]
            assert producer.op_type == "Cast"
    for source in pairs(network):
        assert source not in producers or producers[source].op_type != "Cast", "rounded twice"
    kinds = {t.name: t.data_type for t in network.model.graph.initializer}
    assert {kinds[row.weight] for row in network.layers} == {TensorProto.BFLOAT16}
    assert {kind for name, kind in kinds.items() if name.endswith("bias")} == {TensorProto.FLOAT}


def test_where_a_compiled_network_stores() -> None:
    found = pairs(tiny("residual", "bfloat16"))
    assert found == ["input", "relu_2.out", "relu_5.out", "relu_11.out", "globalaveragepool_12.out"]
    inside = {"sigmoid", "logits"}
    found = pairs(tiny("squeeze_excite", "bfloat16"))
    assert not {name.partition("_")[0] for name in found} & inside
    assert len(found) == len(set(found)) == 8


def test_rounded_once_for_all_readers_and_never_again() -> None:
    b = Builder((3, 16, 16))
    x = b.conv("input", "conv1", 8, 3)
    y = b.relu(b.max_pool(b.concat([x, b.conv(x, "conv2", 8, 3)]), 2, 2))
    found = pairs(drawn(b.conv(y, "conv3", 8, 3), b))
    assert found == ["input", "conv1.out", "conv2.out", "conv3.out", found[-1]]
    assert found[-1].startswith("globalaveragepool")


def test_numbers_that_are_no_floats_are_left_alone() -> None:
    b = Builder((3, 16, 16))
    x = b.conv("input", "conv1", 3, 1)
    mask = b.node("Cast", [b.node("Greater", [x, "input"])], to=TensorProto.FLOAT)
    size = b.node("Cast", [b.node("Size", [x])], to=TensorProto.FLOAT)
    scaled = b.node("Div", [b.mul(x, mask), size])
    b.shapes[scaled] = (3, 16, 16)
    network = drawn(scaled, b)
    onnx.checker.check_model(network.model, full_check=True)
    image = noise_images((3, 16, 16), 2)
    (expected,) = ReferenceEvaluator(network.model).run(None, {"input": image})
    np.testing.assert_allclose(scores(network, image), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TINY)
def test_onnxruntime_rounds_as_the_standard_says(name: str) -> None:
    network, images = tiny(name, "bfloat16"), noise_images((3, 16, 16), 4, seed=1)
    (expected,) = ReferenceEvaluator(network.model).run(None, {"input": images})
    found, unrounded = scores(network, images), scores(tiny(name), images)
    norm = np.linalg.norm(expected)
    assert np.linalg.norm(found - expected) < 1e-5 * norm
    assert np.linalg.norm(unrounded - expected) > 1e-3 * norm


def test_ties_go_to_even_and_large_numbers_stay_finite() -> None:
    unit, largest = 2.0**-7, float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)
    given = [1 + unit / 2, 1 + 3 * unit / 2, 1 + unit * 0.51, -1 - unit / 2, 3.4e38, -3.4e38, 0, 1]
    expected = [1, 1 + 2 * unit, 1 + unit, -1, largest, -largest, 0, 1]
    assert nearest(np.array(given, np.float32)).astype(float).tolist() == expected


def test_what_is_counted() -> None:
    network, given = tiny("plain", "bfloat16"), tiny("plain")
    assert network.macs == given.macs
    assert network.nonzeros == given.nonzeros
    assert network.sparse_bytes == given.sparse_bytes // 2
    weights = sum(row.weights for row in network.layers)
    assert network.parameters == weights + 8 + 16 + 10, "weights and biases"
    row = network.layers[-1]
    weight = network.weight(row)
    assert weight.dtype == np.float32
    assert weight.shape == (10, 16, 1, 1)
    assert np.array_equal(weight, nearest(given.weight(row)).astype(np.float32))


def test_a_weight_that_others_read_too_stays_for_them() -> None:
    b = Builder((3, 16, 16))
    x = b.dense(b.flatten(b.global_average_pool("input")), "fc", 3)
    y = b.node("Add", [x, b.node("ReduceMean", ["fc.weight"], keepdims=0)])
    b.shapes[y] = (3,)
    found = rounded(b.network(y))
    assert found.initializers["fc.weight"].dtype == np.float32
    assert {row.weight for row in found.layers} == {"fc.weight.bfloat16"}
    assert found.dtype == "bfloat16"


def test_the_given_network_and_our_form_are_kept() -> None:
    network = tiny("residual")
    before = network.model.SerializeToString(deterministic=True)
    first, second = rounded(network), rounded(network)
    assert network.model.SerializeToString(deterministic=True) == before
    assert first.model.SerializeToString(deterministic=True) == second.model.SerializeToString(
        deterministic=True
    )
    assert normalized(first.model) == first.model


def test_nan_among_the_weights_is_found() -> None:
    model = tiny("plain", "bfloat16").edited()
    for tensor in model.graph.initializer:
        if tensor.name == "fc2.weight":
            value = np.full((10, 16), np.nan, ml_dtypes.bfloat16)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    with pytest.raises(InputError, match=r"'fc2.weight' holds NaN"):
        Network.adopt(model, "network.onnx")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_refuses_what_is_no_longer_float32(dtype: str) -> None:
    sentence = f"bfloat16 takes a float32 network; this one's layers are {dtype}"
    assert BFloat16().refuses(tiny("plain", dtype)) == sentence  # type: ignore[arg-type]
    assert BFloat16().refuses(tiny("plain")) is None


@pytest.mark.parametrize("system", [OnnxRuntime(), OpenVino(), PyTorch(), Tvm()])
def test_systems_that_multiply_in_float32_say_so(system: System) -> None:
    missing = system.missing()
    if missing:
        pytest.skip(missing)
    assert "float32" in system.emulates(tiny("plain", "bfloat16"))
    assert Reference().emulates(tiny("plain", "bfloat16")) == ""
