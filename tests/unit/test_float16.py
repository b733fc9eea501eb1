"""float16: layers in half precision, ends in float32, and what rounding does to weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from dlas.context import Context
from dlas.network import Network
from dlas.network.opening import normalized
from dlas.optimizations.float16 import Float16
from dlas.testing.networks import TINY, noise, tiny


def halved(network: Network) -> Network:
    return Float16().apply(network, noise(network), Context(Path(), Path()))


@pytest.mark.parametrize("name", TINY)
def test_layers_are_float16_between_float32_ends(name: str) -> None:
    network = tiny(name, "float16")
    onnx.checker.check_model(network.model, full_check=True)
    assert {row.dtype for row in network.layers} == {"float16"}
    assert {a.dtype for a in network.initializers.values()} <= {
        np.dtype("float16"),
        np.dtype("int64"),
    }
    nodes = network.model.graph.node
    assert [node.op_type for node in nodes].count("Cast") == 2
    assert (nodes[0].op_type, nodes[-1].op_type) == ("Cast", "Cast")
    ends = (network.model.graph.input[0], network.model.graph.output[0])
    assert [e.type.tensor_type.elem_type for e in ends] == [TensorProto.FLOAT] * 2


def test_layers_keep_their_order_and_names() -> None:
    for name in TINY:
        before, after = tiny(name).layers, tiny(name, "float16").layers
        assert [row.name for row in before] == [row.name for row in after]


def test_the_given_network_and_our_form_are_kept() -> None:
    network = tiny("residual")
    before = network.model.SerializeToString(deterministic=True)
    first, second = halved(network), halved(network)
    assert network.model.SerializeToString(deterministic=True) == before
    assert first.model.SerializeToString(deterministic=True) == second.model.SerializeToString(
        deterministic=True
    )
    assert normalized(first.model) == first.model


def test_extreme_weights() -> None:
    network = tiny("plain")
    model = network.edited()
    given = np.zeros((10, 16), np.float32)
    given[0, :4] = 1e-12, -1e-12, 1e6, -1e6
    for tensor in model.graph.initializer:
        if tensor.name == "fc2.weight":
            tensor.CopyFrom(numpy_helper.from_array(given, tensor.name))
    found = halved(Network(model)).initializers["fc2.weight"]
    smallest, largest = np.finfo(np.float16).smallest_subnormal, np.finfo(np.float16).max
    assert found[0, :4].tolist() == [smallest, -smallest, largest, -largest]
    assert np.count_nonzero(found) == 4, "zeros stay zeros"


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_refuses_what_is_no_longer_float32(dtype: str) -> None:
    network = tiny("plain", dtype)  # type: ignore[arg-type]
    sentence = f"float16 takes a float32 network; this one's layers are {dtype}"
    assert Float16().refuses(network) == sentence
    assert Float16().refuses(tiny("plain")) is None
