"""Compacting removes what cannot matter, and only that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dlas.context import Context
from dlas.evaluate import scores
from dlas.network import Network
from dlas.network.channels import fixed_layers
from dlas.network.compact import Kept, compact, kept
from dlas.network.fold import fold_batch_norm
from dlas.spec import parse_member
from dlas.testing.networks import TINY, noise, noise_images, tiny

SHAPE = (4, 8, 8)
UNEVEN = ("option_a", "grouped")  # their layers lose other shares than others
RANDOM = np.random.default_rng(0)


def with_constants(network: Network, change: Callable[[str, NDArray[Any]], None]) -> Network:
    model = network.edited()
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor).copy()
        change(tensor.name, value)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return Network(model)


def without_odd_filters(network: Network) -> Network:
    """Every second filter of each layer but the last is zero, and all that BatchNorm adds."""
    last = network.layers[-1].weight.rpartition(".")[0]

    def zero(name: str, value: NDArray[Any]) -> None:
        layer, _, kind = name.rpartition(".")
        if layer != last and kind in ("weight", "bias", "running_mean"):
            value[1::2] = 0

    return with_constants(network, zero)


def without_odd_readers(network: Network) -> Network:
    """No layer but the first reads the second, fourth, ... channel."""
    weights = {row.weight for row in network.layers[1:]}

    def zero(name: str, value: NDArray[Any]) -> None:
        if name in weights and value.shape[1] > 1:  # not depthwise
            value[:, 1::2] = 0

    return with_constants(network, zero)


def assert_compact(network: Network, tolerance: float = 1e-5) -> Network:
    """The compacted network, checked to compute the same."""
    before = network.model.SerializeToString(deterministic=True)
    found = compact(network)
    assert network.model.SerializeToString(deterministic=True) == before, "the network is changed"
    onnx.checker.check_model(found.model, full_check=True)
    assert [row.name for row in found.layers] == [row.name for row in network.layers]
    images = noise_images(network.input_shape, 2)
    expected = scores(network, images)
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(scores(found, images), expected, 1e-4, tolerance * max(scale, 1))
    assert compact(found) is found
    return found


# -- networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_a_network_without_zeros_comes_back(name: str) -> None:
    assert compact(tiny(name)) is tiny(name)
    layers = tiny(name).layers
    assert kept(tiny(name)) == {
        row.name: Kept(tuple(range(row.out_channels)), tuple(range(row.in_channels)))
        for row in layers
    }


@pytest.mark.parametrize(
    "name,kill",
    [
        *((name, without_odd_filters) for name in TINY if name not in UNEVEN),
        # The dense layer of "plain" reads pixels, of which every channel has one that matters.
        *((name, without_odd_readers) for name in TINY if name not in {*UNEVEN, "plain"}),
    ],
)
def test_dead_channels_go(name: str, kill: Callable[[Network], Network]) -> None:
    network = tiny(name)
    found = assert_compact(kill(network))
    fixed = fixed_layers(network.model)
    for before, after in zip(network.layers, found.layers, strict=True):
        whole = before.name in fixed
        assert after.out_channels == (
            before.out_channels if whole else -(-before.out_channels // 2)
        ), before.name


def test_channels_of_padding_go_with_those_they_are_added_to() -> None:
    found = assert_compact(without_odd_readers(tiny("option_a")))
    assert [row.out_channels for row in found.layers] == [4, 8, 10]
    assert "Pad" in {node.op_type for node in found.model.graph.node}


def test_groups_lose_equally_many() -> None:
    found = assert_compact(without_odd_filters(tiny("grouped")))
    rows = [(row.in_channels, row.out_channels, row.groups) for row in found.layers]
    assert rows == [(3, 8, 1), (8, 16, 4), (16, 8, 4), (8, 10, 1)]


@pytest.mark.parametrize(
    "dead,groups",
    [
        ({1: range(4), 2: range(8), 3: range(4)}, 3),
        ({1: range(4)}, 4),
        ({1: [0, 1, 2, 4]}, 4),
        ({2: [1, 3]}, 4),
    ],
)
def test_what_groups_cannot_lose_equally_stays(dead: dict[int, list[int]], groups: int) -> None:
    """Whole groups go; where one has fewer channels than another, it keeps zeros."""

    def zero(name: str, value: NDArray[Any]) -> None:
        layer, _, kind = name.rpartition(".")
        if layer != "fc" and kind in ("weight", "bias", "running_mean"):
            value[list(dead.get(int(layer[-1]), []))] = 0

    found = assert_compact(with_constants(tiny("grouped"), zero))
    rows = [(row.out_channels, row.groups) for row in found.layers]
    assert rows == [(4 * groups, 1), (8 * groups, groups), (4 * groups, groups), (10, 1)]


@pytest.mark.parametrize("name", TINY)
def test_a_layer_keeps_a_channel(name: str) -> None:
    def zero(name: str, value: NDArray[Any]) -> None:
        if value.dtype == np.float32 and value.ndim > 0:
            value[...] = 0

    found = assert_compact(with_constants(tiny(name), zero))
    fewest = 2 if name == "option_a" else 1  # its block's first is its padding's, not its image's
    assert {row.out_channels for row in found.layers[:-1]} == {1, fewest}
    assert found.layers[-1].out_channels == 10


@pytest.mark.parametrize(
    "spec,shape",
    [
        ({"resnet": 20}, (3, 32, 32)),
        ({"resnet": 18, "form": "cifar", "width": 0.25}, (3, 32, 32)),
        ({"name": "mobilenetv2", "form": "cifar", "width": 0.5}, (3, 32, 32)),
        ({"densenet": 121}, (3, 32, 32)),
        ({"efficientnet": "b0"}, (3, 32, 32)),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_built_in_models(spec: dict[str, Any], shape: tuple[int, int, int], tmp_path: Path) -> None:
    from dlas.testing.noise import noise_data

    data = noise_data(shape, 10)
    network = parse_member("models", spec, "$").build(data)
    assert compact(network) is network
    chosen = np.random.default_rng(0)
    layers = {row.weight: row for row in network.layers}

    def zero(name: str, value: NDArray[Any]) -> None:
        if name in layers and layers[name].op == "conv":
            value[chosen.random(len(value)) < 0.3] = 0
            if value.shape[1] > 3:
                value[:, chosen.random(value.shape[1]) < 0.3] = 0

    found = assert_compact(with_constants(network, zero))
    assert found.macs < 0.8 * network.macs
    for kill in (without_odd_filters, without_odd_readers):
        assert assert_compact(kill(network)).macs < 0.6 * network.macs


def test_precisions(tmp_path: Path) -> None:
    """Half-precision networks lose channels; of quantized ones none are followed."""
    from dlas.optimizations.float16 import Float16
    from dlas.optimizations.int8 import Int8

    network, context = without_odd_filters(tiny("residual")), Context(tmp_path, tmp_path)
    half = Float16().apply(network, noise(network), context)
    assert [row.out_channels for row in assert_compact(half, 1e-2).layers] == [4, 8, 8, 8, 10]
    quantized = Int8(samples=4).apply(network, noise(network), context)
    assert compact(quantized) is quantized


# -- operators -------------------------------------------------------------------------------------


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], output, **attributes)


def between(*nodes: onnx.NodeProto, channels: int = 4, **constants: Any) -> Network:
    """A convolution x → a of which channel 1 is zero, the nodes a → b, and a dense layer that reads
    each of the ``channels`` of b."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SHAPE])
    weight = RANDOM.uniform(0.5, 1, (4, 4, 1, 1))
    weight[1] = 0
    arrays = {"first": weight, "last": RANDOM.uniform(0.5, 1, (channels, 3)), **constants}
    tensors = [
        numpy_helper.from_array(v if v.dtype == np.int64 else v.astype(np.float32), k)
        for k, v in ((k, np.asarray(v)) for k, v in arrays.items())
    ]
    mean = [node("GlobalAveragePool", "b", "mean"), node("Flatten", "mean", "flat")]
    graph = helper.make_graph(
        [node("Conv", "x first", "a"), *nodes, *mean, node("MatMul", "flat last", "y")],
        "net",
        [given],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        tensors,
    )
    opset = [helper.make_opsetid("", 20)]
    return Network(helper.make_model(graph, opset_imports=opset, ir_version=10))


VECTOR = np.arange(1.0, 5.0).reshape(4, 1, 1)
FOLLOWED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "leaky": ([node("LeakyRelu", "a", "b")], {}),
    "clip": ([node("Clip", "a low high", "b")], {"low": -1.0, "high": 1.0}),
    "clip without limits": ([node("Clip", "a", "b")], {}),
    "prelu": ([node("PRelu", "a slope", "b")], {"slope": VECTOR}),
    "product by a vector": ([node("Mul", "a v", "b")], {"v": VECTOR}),
    "vector first": ([node("Mul", "v a", "b")], {"v": VECTOR}),
    "vector with the batch's axis": ([node("Mul", "a v", "b")], {"v": VECTOR[None]}),
    "quotient": ([node("Div", "a v", "b")], {"v": VECTOR}),
    "sum with a vector": (
        [node("Add", "a v", "b")],
        {"v": np.array([3.0, 0, 1, 2]).reshape(4, 1, 1)},
    ),
    "sum with an image": ([node("Mul", "a v", "b")], {"v": np.ones((4, 8, 8))}),
    "gate for all channels": (
        [
            node("ReduceMean", "x axis", "m"),
            node("Sigmoid", "m", "s"),
            node("Conv", "s one", "g"),
            node("Mul", "a g", "b"),
        ],
        {"axis": np.array([2, 3]), "one": np.ones((1, 4, 1, 1))},
    ),
    "hard swish in pieces": (
        [
            node("Add", "a three", "p"),
            node("Clip", "p zero six", "q"),
            node("Mul", "a q", "r"),
            node("Div", "r six", "b"),
        ],
        {"three": 3.0, "zero": 0.0, "six": 6.0},
    ),
    "padded pool": (
        [node("MaxPool", "a", "b", kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
        {},
    ),
    "mean without the axes": (
        [
            node("ReduceMean", "a axis", "m", keepdims=0),
            node("Reshape", "m shape", "b"),
        ],
        {"axis": np.array([2, 3]), "shape": np.array([0, 4, 1, 1])},
    ),
    "slice": (
        [node("Slice", "a zero end axis", "b")],
        {"zero": np.array([0]), "end": np.array([4]), "axis": np.array([3])},
    ),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_channels_are_followed_through(name: str) -> None:
    nodes, constants = FOLLOWED[name]
    network = between(*nodes, **constants)
    found = assert_compact(network)
    assert found.layers[0].out_channels == 3
    assert found.layers[-1].in_channels == 3
    assert kept(network)["a"] == Kept((0, 2, 3), (0, 1, 2, 3))
    assert kept(network)["y"] == Kept((0, 1, 2), (0, 2, 3))


STAYING: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "sigmoid": ([node("Sigmoid", "a", "b")], {}),
    "clip above zero": ([node("Clip", "a low", "b")], {"low": 0.1}),
    "sum with a vector": ([node("Add", "a v", "b")], {"v": VECTOR}),
    "quotient by what may be zero": (
        [node("Conv", "x w", "d"), node("Div", "a d", "b")],
        {"w": np.ones((4, 4, 1, 1))},
    ),
    "channels in reverse": (
        [node("Slice", "a begin end axis step", "b")],
        {k: np.array([v]) for k, v in {"begin": 3, "end": -9, "axis": 1, "step": -1}.items()},
    ),
    "softmax": ([node("Softmax", "a", "b", axis=1)], {}),
    "shuffle": (
        [
            node("Reshape", "a split", "p"),
            node("Transpose", "p", "q", perm=[0, 2, 1, 3, 4]),
            node("Reshape", "q join", "b"),
        ],
        {"split": np.array([0, 2, 2, 8, 8]), "join": np.array([0, 4, 8, 8])},
    ),
    "reduced channels": (
        [node("ReduceMax", "a axis", "m"), node("Add", "m x", "b")],
        {"axis": np.array([1])},
    ),
    "windows of padding": (
        [node("MaxPool", "a", "b", kernel_shape=[2, 2], pads=[1] * 4, dilations=[9, 9])],
        {},
    ),
    "padding with ones": (
        [node("Pad", "a pads one", "b")],
        {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "one": 1.0},
    ),
}


@pytest.mark.parametrize("name", STAYING)
def test_channels_stay_where_zero_is_lost(name: str) -> None:
    nodes, constants = STAYING[name]
    network = between(*nodes, **constants)
    assert compact(network) is network
    assert kept(network)["a"].outputs == (0, 1, 2, 3)


def test_pixels_become_features() -> None:
    def zero(name: str, value: NDArray[Any]) -> None:
        if name == "fc1.weight":
            value[:, 2 * 64 : 4 * 64] = 0  # 8×8 pixels of each channel

    network = with_constants(tiny("plain"), zero)
    found = assert_compact(network)
    assert [row.in_channels for row in found.layers] == [3, 6 * 64, 16]
    assert kept(network)["conv1"].outputs == (0, 1, 4, 5, 6, 7)


def test_a_vector_shared_by_others_is_cut_for_each() -> None:
    network = between(
        node("Mul", "a v", "c"),
        node("Mul", "x v", "d"),
        node("Concat", "c d", "b", axis=1),
        channels=8,
        v=VECTOR,
    )
    found = assert_compact(network)
    assert {"v", "v.c"} <= found.initializers.keys()
    assert (found.initializers["v"].shape, found.initializers["v.c"].shape) == (
        (4, 1, 1),
        (3, 1, 1),
    )
    assert found.layers[-1].in_channels == 7


def test_the_bias_of_a_matmul_stays_one() -> None:
    """It is an Add: its vector is cut, and keeps its one axis."""
    nodes = [
        node("GlobalAveragePool", "a", "p"),
        node("Flatten", "p", "f"),
        node("MatMul", "f w", "m"),
        node("Add", "m v", "s"),
        node("Reshape", "s shape", "b"),
    ]
    weight = np.ones((4, 5))
    weight[:, 2] = 0
    found = assert_compact(
        between(
            *nodes, channels=5, w=weight, v=[1.0, 2.0, 0.0, 3.0, 4.0], shape=np.array([-1, 5, 1, 1])
        )
    )
    assert found.initializers["v"].shape == (4,)
    assert "v" in found.trainable
    assert [(row.in_channels, row.out_channels) for row in found.layers] == [(4, 3), (3, 4), (4, 3)]


def test_what_only_the_dead_read_is_dead() -> None:
    """Nothing reads the last of three convolutions, so nothing of the two before it either."""
    nodes = [node("Conv", f"{x} w{y}", y) for x, y in (("a", "c"), ("c", "d"), ("d", "e"))]
    weights = {f"w{y}": RANDOM.uniform(0.5, 1, (4, 4, 3, 3)) for y in "cde"}
    weights["we"][[0, 1, 3]] = 0
    weights["we"][2, :3] = 0
    weights["wd"][3, 1:] = 0
    pads = node("Pad", "e pads", "b")
    found = assert_compact(
        between(*nodes, pads, pads=np.array([0, 0, 3, 3, 0, 0, 3, 3]), **weights)
    )
    shapes = [(row.in_channels, row.out_channels) for row in found.layers]
    assert shapes == [(4, 3), (3, 1), (1, 1), (1, 1), (1, 3)]


def test_a_branch_that_nothing_reads_keeps_a_channel() -> None:
    """Of two in a chain, one of which spreads a single channel over four."""
    nodes = [node("Conv", "x one", "c"), node("Mul", "c v", "e"), node("Conv", "e w", "d")]
    last = np.ones((8, 3))
    last[4:] = 0
    constants = {"one": np.ones((1, 4, 1, 1)), "v": VECTOR, "w": np.ones((4, 4, 1, 1))}
    network = between(*nodes, node("Concat", "a d", "b", axis=1), last=last, **constants)
    shapes = [(row.in_channels, row.out_channels) for row in assert_compact(network).layers]
    assert shapes == [(4, 3), (4, 1), (4, 1), (4, 3)]  # what stays, stays with all that it reads


def test_what_reads_only_zeros_is_zero() -> None:
    """Of a, channel 1 is zero, so channel 3 of c is, so channel 0 of d."""
    weights = {name: RANDOM.uniform(0.5, 1, (4, 4, 3, 3)) for name in ("wc", "wd")}
    weights["wc"][3, [0, 2, 3]] = 0
    weights["wd"][0, :3] = 0
    relu, pads = node("Relu", "d", "r"), node("Pad", "r pads", "b")
    network = between(
        node("Conv", "a wc", "c"), node("Conv", "c wd", "d"), relu, pads,
        pads=np.array([0, 0, 2, 2, 0, 0, 2, 2]), **weights,
    )  # fmt: skip
    assert_compact(network)
    outputs = {name: channels.outputs for name, channels in kept(network).items()}
    assert outputs == {"a": (0, 2, 3), "c": (0, 1, 2), "d": (1, 2, 3), "y": (0, 1, 2)}


def test_folding_is_not_undone() -> None:
    found = assert_compact(without_odd_filters(tiny("pre_activation")))
    folded = Network(fold_batch_norm(tiny("pre_activation").model))
    names = [[each.name for each in network.model.graph.node] for network in (found, folded)]
    assert names[0] == names[1]
