"""Folding BatchNorm where its neighbours make that hard."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dlas.evaluate import scores
from dlas.network import Network
from dlas.network.fold import fold_batch_norm
from dlas.testing.networks import noise_images

SHAPE = (4, 5, 6)
RANDOM = np.random.default_rng(0)


def floats(*shape: int) -> NDArray[np.float32]:
    return RANDOM.uniform(0.5, 1.5, shape).astype(np.float32)


def batch_norm(x: str, y: str, **more: Any) -> onnx.NodeProto:
    return helper.make_node("BatchNormalization", [x, "s", "b", "m", "v"], [y], f"{y}_norm", **more)


def folded(*nodes: onnx.NodeProto, channels: int = 4, **constants: Any) -> tuple[Network, Network]:
    """The graph x → y and its folded form, checked to compute the same."""
    statistics = {name: floats(channels) for name in "sbmv"}
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SHAPE])
    result = onnx.ValueInfoProto(name="y")
    result.type.tensor_type.elem_type = TensorProto.FLOAT
    arrays = {**statistics, **constants}
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()]
    graph = helper.make_graph(nodes, "net", [given], [result], tensors)
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    model.graph.output[0].CopyFrom(onnx.shape_inference.infer_shapes(model).graph.output[0])
    before = model.SerializeToString(deterministic=True)
    network, after = Network(model), Network(fold_batch_norm(model))
    assert model.SerializeToString(deterministic=True) == before, "the given model is changed"
    onnx.checker.check_model(after.model, full_check=True)
    images = noise_images(SHAPE, 2)
    np.testing.assert_allclose(scores(after, images), scores(network, images), 1e-4, 1e-5)
    return network, after


def operators(network: Network) -> list[str]:
    return [node.op_type for node in network.model.graph.node]


def conv(x: str, y: str, *more: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [x, "w", *more], [y], y)


@pytest.mark.parametrize("bias", [(), ("c",)])
def test_into_a_convolution(bias: tuple[str, ...]) -> None:
    constants = {"w": floats(4, 4, 3, 3), **{name: floats(4) for name in bias}}
    _, after = folded(conv("x", "h", *bias), batch_norm("h", "y", epsilon=0.1), **constants)
    assert operators(after) == ["Conv"]
    assert after.model.graph.node[0].name == "h"
    assert set(after.initializers) == {"w", bias[0] if bias else "w.bias"}


@pytest.mark.parametrize("transposed", [0, 1])
def test_into_a_dense_layer(transposed: int) -> None:
    weight = floats(4, 120) if transposed else floats(120, 4)
    _, after = folded(
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "c"], ["h"], transB=transposed),
        batch_norm("h", "y"),
        w=weight,
        c=floats(4),
    )
    assert operators(after) == ["Flatten", "Gemm"]


def test_before_a_convolution_it_becomes_mul_and_add() -> None:
    _, after = folded(
        batch_norm("x", "h"),
        helper.make_node("Relu", ["h"], ["r"]),
        conv("r", "y"),
        w=floats(3, 4, 1, 1),
    )
    assert operators(after) == ["Mul", "Add", "Relu", "Conv"]
    assert {v.shape for k, v in after.initializers.items() if k != "w"} == {(4, 1, 1)}


def test_behind_a_layer_with_another_reader() -> None:
    _, after = folded(
        conv("x", "h"),
        batch_norm("h", "n"),
        helper.make_node("Add", ["h", "n"], ["y"]),
        w=floats(4, 4, 1, 1),
    )
    assert operators(after) == ["Conv", "Mul", "Add", "Add"]


def test_a_shared_weight_is_not_changed_for_the_other_layer() -> None:
    _, after = folded(
        conv("x", "h"),
        batch_norm("h", "n"),
        conv("n", "i"),
        batch_norm("i", "j"),
        conv("j", "y"),
        w=floats(4, 4, 1, 1),
    )
    assert operators(after) == ["Conv", "Conv", "Conv"]
    assert len({node.input[1] for node in after.model.graph.node}) == 3


def test_of_flat_features() -> None:
    _, after = folded(
        helper.make_node("Flatten", ["x"], ["f"]),
        batch_norm("f", "y"),
        channels=120,
    )
    assert operators(after) == ["Flatten", "Mul", "Add"]


def test_statistics_that_are_computed_stay() -> None:
    _, after = folded(
        helper.make_node("Exp", ["v"], ["e"]),
        helper.make_node("BatchNormalization", ["x", "s", "b", "m", "e"], ["y"]),
    )
    assert operators(after) == ["Exp", "BatchNormalization"]


def test_tiny_statistics_do_not_overflow() -> None:
    """A dead channel: variance 0, so its filter grows by 1 / sqrt(epsilon)."""
    _, after = folded(
        conv("x", "h"),
        batch_norm("h", "y"),
        w=floats(4, 4, 1, 1) * np.float32(1e-8),
        v=np.zeros(4, np.float32),
    )
    assert np.isfinite(after.initializers["w"]).all()
