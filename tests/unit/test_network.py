"""The layer table and the counts of a network, and the builder that draws one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dlas.errors import InputError, Refused
from dlas.network import LayerRow, Network
from dlas.network.builder import Builder


def drawn(**conv: object) -> Network:
    """A convolution of 4 channels, 9×7, to 8, and a dense layer to 3 classes."""
    b = Builder((4, 9, 7))
    y = b.conv("input", "conv", 8, **{"kernel": 3, **conv})  # type: ignore[arg-type]
    return b.network(b.dense(b.flatten(b.global_average_pool(y)), "fc", 3))


def network_of(nodes: list[onnx.NodeProto], arrays: dict[str, np.ndarray]) -> Network:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 4, 4])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    weights = [numpy_helper.from_array(value, name) for name, value in arrays.items()]
    graph = helper.make_graph(nodes, "test", [given], [result], weights)
    return Network(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))


def ends() -> list[onnx.NodeProto]:
    return [
        helper.make_node("GlobalAveragePool", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["y"]),
    ]


# -- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "conv,expected",
    [
        ({}, {"output_hw": (9, 7), "pads": (1, 1, 1, 1), "weights": 288}),
        ({"stride": 2}, {"output_hw": (5, 4), "stride": (2, 2)}),
        ({"stride": (2, 1), "pad": 0}, {"output_hw": (4, 5), "pads": (0, 0, 0, 0)}),
        ({"groups": 4}, {"groups": 4, "in_channels": 4, "weights": 72}),
        ({"dilation": 2}, {"dilation": (2, 2), "pads": (2, 2, 2, 2), "output_hw": (9, 7)}),
        ({"kernel": (1, 5)}, {"kernel": (1, 5), "pads": (0, 2, 0, 2), "weights": 160}),
    ],
)
def test_row_of_a_convolution(conv: dict[str, object], expected: dict[str, object]) -> None:
    row = drawn(**conv).layers[0]
    assert {name: getattr(row, name) for name in expected} == expected
    assert row.macs == row.weights * row.output_hw[0] * row.output_hw[1]
    assert (row.name, row.op, row.weight, row.dtype) == ("conv", "conv", "conv.weight", "float32")


def test_row_of_a_dense_layer() -> None:
    row = drawn().layers[1]
    assert (row.op, row.in_channels, row.out_channels) == ("dense", 8, 3)
    assert (row.macs, row.kernel, row.output_hw) == (24, (1, 1), (1, 1))


@pytest.mark.parametrize(
    "auto,pads,hw",
    [
        ("SAME_UPPER", (0, 0, 1, 1), (2, 2)),
        ("SAME_LOWER", (1, 1, 0, 0), (2, 2)),
        ("VALID", (0, 0, 0, 0), (1, 1)),
    ],
)
def test_pads_that_a_node_leaves_to_the_reader(
    auto: str, pads: tuple[int, ...], hw: tuple[int, int]
) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["a"], "conv", auto_pad=auto, strides=[2, 2])
    row = network_of([conv, *ends()], {"w": np.ones((3, 2, 3, 3), np.float32)}).layers[0]
    assert (row.pads, row.output_hw) == (pads, hw)


def test_quantized_weights_count_from_their_zero_point() -> None:
    weight = np.full((3, 2, 1, 1), 7, np.int8)
    weight[2] = [[[5]], [[0]]]
    zero_point = np.array([7, 0, 5], np.int8)  # channel 0 is all zero, 1 has none, 2 has one
    scale = np.ones(3, np.float32)
    dequantize = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0)
    nodes = [dequantize, helper.make_node("Conv", ["x", "w"], ["a"], "conv"), *ends()]
    network = network_of(nodes, {"q": weight, "s": scale, "z": zero_point})
    (row,) = network.layers
    assert (row.dtype, row.weight, row.nonzeros, network.dtype) == ("int8", "q", 3, "int8")
    assert (network.parameters, row.sparse_bytes) == (6, 6)


def test_float16_weights_behind_a_cast() -> None:
    cast = helper.make_node("Cast", ["h"], ["w"], to=TensorProto.FLOAT)
    nodes = [cast, helper.make_node("Conv", ["x", "w"], ["a"], "conv"), *ends()]
    network = network_of(nodes, {"h": np.ones((3, 2, 1, 1), np.float16)})
    assert (network.layers[0].dtype, network.layers[0].weight) == ("float16", "h")
    assert network.sparse_bytes == 12


def test_dense_layer_of_tokens_is_applied_to_each() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "tokens"], ["t"]),
        helper.make_node("MatMul", ["t", "w"], ["m"], "dense"),
        helper.make_node("Add", ["m", "bias"], ["n"]),
        helper.make_node("ReduceMean", ["n", "axes"], ["y"], keepdims=0),
    ]
    network = network_of(nodes, {
        "tokens": np.array([0, 16, 2]), "axes": np.array([1]), "bias": np.ones(3, np.float32),
        "w": np.ones((2, 3), np.float32),
    })  # fmt: skip
    (row,) = network.layers
    assert (row.output_hw, row.macs, network.parameters) == ((1, 16), 96, 9)


def test_product_of_activations_is_no_layer() -> None:
    nodes = [helper.make_node("MatMul", ["x", "x"], ["a"]), *ends()]
    assert network_of(nodes, {}).layers == ()


@pytest.mark.parametrize(
    "weight,sentence",
    [
        (np.ones((3, 2, 1, 1), np.float64), "layer 'conv' has float64 weights"),
        (np.ones((3, 2, 1, 1, 1), np.float32), "layer 'conv' convolves 3 dimensions; dlas knows 2"),
    ],
)
def test_layer_without_a_row(weight: np.ndarray, sentence: str) -> None:
    network = network_of(
        [helper.make_node("Conv", ["x", "w"], ["a"], "conv"), *ends()], {"w": weight}
    )
    with pytest.raises(InputError, match=sentence):
        _ = network.layers


# -- counts --------------------------------------------------------------------------------------


def test_counts() -> None:
    b = Builder((1, 6, 6))
    y = b.relu(b.batch_norm(b.conv("input", "conv", 2, 3, bias=True), "bn"))
    network = b.network(b.dense(b.flatten(b.global_average_pool(y)), "fc", 3))
    assert network.parameters == (18 + 2) + (2 + 2) + (6 + 3)
    assert network.statistics == ("bn.running_mean", "bn.running_var")
    assert network.macs == 18 * 36 + 6
    assert network.sparsity == 0
    assert (network.input_shape, network.classes, network.dtype) == ((1, 6, 6), 3, "float32")


def test_zeros_are_counted() -> None:
    model = drawn().edited()
    tensor = next(t for t in model.graph.initializer if t.name == "conv.weight")
    value = numpy_helper.to_array(tensor).copy()
    value[:4] = 0
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    network = Network(model)
    conv = network.layers[0]
    assert conv.nonzeros == 144
    assert conv.effective_macs == conv.macs // 2
    assert network.sparsity == pytest.approx(144 / (288 + 24))
    assert conv.sparse_bytes == 288 * 4  # 144 values with their columns take as much, and rows more


def test_csr_counts_where_it_is_smaller() -> None:
    row = drawn().layers[0]
    sparse = LayerRow(
        **{name: getattr(row, name) for name in row.__struct_fields__} | {"nonzeros": 10}
    )
    assert sparse.sparse_bytes == 10 * 8 + 9 * 4


def test_nothing_of_a_network_can_be_written_to() -> None:
    network = drawn()
    with pytest.raises(ValueError, match="read-only"):
        network.initializers["fc.bias"][0] = 1
    with pytest.raises(TypeError):
        network.initializers["fc.bias"] = np.zeros(3)  # type: ignore[index]
    before = network.model.SerializeToString(deterministic=True)
    network.edited().graph.node[0].name = "changed"
    assert network.model.SerializeToString(deterministic=True) == before


# -- builder -------------------------------------------------------------------------------------


def test_builder_knows_the_shapes_that_inference_finds() -> None:
    b = Builder((3, 13, 11))
    x = b.relu6(b.conv("input", "conv", 6, (3, 5), stride=(2, 1), dilation=(2, 1)))
    x = b.max_pool(x, 3, 2, pad=1)
    x = b.concat([x, b.pad_channels(b.subsample(x, 1), 1, 2)])
    x = b.average_pool(b.subsample(x, 2), 2, 1)
    network = b.network(b.dense(b.flatten(x), "fc", 5))
    inferred = onnx.shape_inference.infer_shapes(network.model, strict_mode=True)
    for value in inferred.graph.value_info:
        dims = value.type.tensor_type.shape.dim
        assert tuple(d.dim_value for d in dims[1:]) == b.shapes[value.name], value.name


def test_builder_refuses_an_image_that_vanishes() -> None:
    b = Builder((1, 4, 4), name="net")
    with pytest.raises(
        Refused, match="net needs larger images: a 5-wide window does not fit a 4×4"
    ):
        b.max_pool("input", 5, 1)


def test_initial_weights_have_the_variance_of_their_fan_out() -> None:
    b = Builder((64, 4, 4))
    b.conv("input", "dense", 64, 3)
    b.conv("input", "grouped", 64, 3, groups=8)
    weights = b.constants
    assert weights["dense.weight"].std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert weights["grouped.weight"].std() == pytest.approx((2 / (8 * 9)) ** 0.5, rel=0.05)
