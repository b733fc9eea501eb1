"""The PyTorch form computes what ONNX Runtime computes, and its state finds the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dlas.errors import Refused
from dlas.evaluate import scores
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.testing.networks import DTYPES, TINY, DType, noise_images, tiny

torch = pytest.importorskip("torch")

SHAPE = (4, 9, 8)
#: Relative distance that rounding in another order explains; int8 scores may move by whole steps.
ROUNDING = {"float32": 1e-6, "float16": 5e-3, "bfloat16": 1e-3, "int8": 5e-2}


def torch_scores(network: Network, images: NDArray[np.float32]) -> NDArray[np.float32]:
    from dlas.network.torch_module import to_torch

    with torch.no_grad():
        found: NDArray[np.float32] = to_torch(network, trainable=False)(
            torch.from_numpy(images)
        ).numpy()
    return found


def distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    assert a.shape == b.shape
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TINY)
def test_networks_agree_with_onnxruntime(name: str, dtype: DType) -> None:
    network, images = tiny(name, dtype), noise_images((3, 16, 16), 5)
    assert distance(torch_scores(network, images), scores(network, images)) < ROUNDING[dtype]


def network_of(*nodes: onnx.NodeProto, **constants: Any) -> Network:
    """x (N, 4, 9, 8) → y of any shape, not a classifier."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SHAPE])
    result = onnx.ValueInfoProto(name="y")
    result.type.tensor_type.elem_type = TensorProto.FLOAT
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "net", [given], [result], tensors)
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    model.graph.output[0].CopyFrom(inferred.graph.output[0])
    onnx.checker.check_model(model)
    return Network(model)


def one(op: str, **more: Any) -> Network:
    """A network of one node; its constants are the arrays among ``more``, in order."""
    constants = {k: v for k, v in more.items() if isinstance(v, np.ndarray)}
    given = {k: v for k, v in more.items() if k not in constants}
    return network_of(
        helper.make_node(op, ["x", *constants], ["y"], op.lower(), **given), **constants
    )


def floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


OPERATORS = {
    "conv with uneven pads": one("Conv", w=floats(6, 4, 3, 2), pads=[1, 0, 2, 1]),
    "conv same upper": one("Conv", w=floats(6, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    "conv same lower": one("Conv", w=floats(6, 4, 2, 2), auto_pad="SAME_LOWER"),
    "conv valid": one("Conv", w=floats(6, 4, 3, 3), auto_pad="VALID", dilations=[2, 1]),
    "add vector": one("Add", c=floats(4, 1, 1)),
    "sub number": one("Sub", c=np.array(0.5, np.float32)),
    "mul": one("Mul", c=floats(1, 4, 1, 8)),
    "div": one("Div", c=floats(8)),
    "tanh": one("Tanh"),
    "hard sigmoid": one("HardSigmoid"),
    "hard sigmoid of hard swish": one("HardSigmoid", alpha=1 / 6),
    "softmax": one("Softmax", axis=1),
    "clip": one("Clip", low=np.array(-0.5, np.float32)),
    "relu6": one("Clip", low=np.array(0, np.float32), high=np.array(0.5, np.float32)),
    "max pool": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "uneven max pool": one("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[0, 0, 1, 1]),
    "max pool up": one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "average pool": one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average pool counting pads": one(
        "AveragePool", kernel_shape=[3, 3], pads=[0, 1, 1, 2], count_include_pad=1
    ),
    "reduce mean": one("ReduceMean", axes=ints(2, 3), keepdims=0),
    "reduce mean keeping": one("ReduceMean", axes=ints(-1)),
    "flatten": one("Flatten"),
    "reshape": one("Reshape", to=ints(0, 2, 2, -1)),
    "unsqueeze": one("Unsqueeze", axes=ints(-1, 1)),
    "transpose": one("Transpose", perm=[0, 3, 1, 2]),
    "pad": one("Pad", pads=ints(0, 0, 1, 0, 0, 0, 2, 3)),
    "pad channels": one("Pad", pads=ints(0, 1, 0, 0, 0, 2, 0, 0), value=np.array(0.5, np.float32)),
    "pad axes": one(
        "Pad", pads=ints(1, 2), value=np.array(0, np.float32), axes=ints(3)
    ),
    "slice": one(
        "Slice", starts=ints(1, 0), ends=ints(8, 2**62), axes=ints(2, -1), steps=ints(3, 2)
    ),
    "slice from the end": one("Slice", starts=ints(-3), ends=ints(-1), axes=ints(1)),
    "concat": network_of(helper.make_node("Concat", ["x", "x"], ["y"], axis=-3)),
    "squeeze": network_of(
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Squeeze", ["p", "axes"], ["y"]),
        axes=ints(2, 3),
    ),
    "number first": network_of(
        helper.make_node("Sub", ["one", "x"], ["y"]), one=np.array(1, np.float32)
    ),
    "cast": network_of(
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    ),
    "gemm of columns": network_of(
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
        w=floats(288, 5),
        b=floats(5),
    ),
    "matmul and bias": network_of(
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["m"]),
        helper.make_node("Add", ["b", "m"], ["y"]),
        w=floats(288, 5),
        b=floats(5),
    ),
    "matmul": one("MatMul", t=floats(8, 3)),
    "product of activations": network_of(
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ),
    "constants computed": network_of(
        helper.make_node("Mul", ["a", "b"], ["c"]),
        helper.make_node("Dropout", ["x"], ["d"]),
        helper.make_node("Add", ["d", "c"], ["y"]),
        a=floats(8),
        b=floats(8),
    ),
    "sizes computed from the batch": network_of(
        helper.make_node("Shape", ["x"], ["all"], start=0, end=1),
        helper.make_node("Concat", ["all", "rest"], ["sizes"], axis=0),
        helper.make_node("Reshape", ["x", "sizes"], ["y"]),
        rest=ints(-1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_agree_with_onnxruntime(name: str) -> None:
    images = noise_images(SHAPE, 3)
    expected = scores(OPERATORS[name], images)
    assert distance(torch_scores(OPERATORS[name], images), expected) < 1e-6


@pytest.mark.parametrize("zero", [np.array(3, np.int8), np.array(200, np.uint8)])
def test_quantization_rounds_half_to_even_and_saturates(zero: NDArray[Any]) -> None:
    network = network_of(
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        scale=np.array(0.5, np.float32),
        zero=zero,
    )
    halves = np.arange(-144, 144, dtype=np.float32).reshape(1, *SHAPE) / 4 * 8
    ties = np.arange(-144, 144, dtype=np.float32).reshape(1, *SHAPE) / 4
    for images in (halves, ties):
        np.testing.assert_array_equal(torch_scores(network, images), scores(network, images))


def test_quantization_per_channel() -> None:
    scale = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    network = network_of(
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], axis=1),
        scale=scale,
        zero=np.array([0, 1, -2, 3], np.int8),
    )
    images = noise_images(SHAPE, 2)
    np.testing.assert_array_equal(torch_scores(network, images), scores(network, images))


def test_an_operator_without_form_is_refused() -> None:
    sentence = r"has the operator Erf, for which dlas has no PyTorch form; .* onnxruntime"
    with pytest.raises(Refused, match=sentence):
        torch_scores(one("Erf"), noise_images(SHAPE, 1))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_only_float32_is_trained(dtype: DType) -> None:
    from dlas.network.torch_module import to_torch

    with pytest.raises(Refused, match=f"this one's layers are {dtype}"):
        to_torch(tiny("plain", dtype), trainable=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TINY)
def test_what_did_not_change_is_written_back_to_the_bit(name: str, dtype: DType) -> None:
    from dlas.network.torch_module import to_torch, write_back

    network = tiny(name, dtype)
    written = write_back(network, to_torch(network, trainable=False))
    if dtype in ("int8", "bfloat16"):  # weights are computed, and stand in float32 then
        images = noise_images((3, 16, 16), 2)
        assert distance(scores(written, images), scores(network, images)) < ROUNDING[dtype]
    else:
        assert written.model.graph.SerializeToString(deterministic=True) == (
            network.model.graph.SerializeToString(deterministic=True)
        )


def test_links_name_the_initializers() -> None:
    from dlas.network.torch_module import to_torch

    network = tiny("residual")
    module = to_torch(network, trainable=True)
    state = module.state_dict()
    assert {link.tensor for link in module.links} == set(network.initializers)
    for link in module.links:
        np.testing.assert_array_equal(
            link.to_onnx(state[link.parameter]), network.initializers[link.tensor]
        )
    assert {name for name, _ in module.named_parameters()} <= {m.parameter for m in module.links}
    assert "conv1.weight" in state  # published names survive where they can


@pytest.mark.parametrize("name", ["plain", "residual", "squeeze_excite"])
def test_changed_state_is_written_back(name: str) -> None:
    from dlas.network.torch_module import to_torch, write_back

    network, images = tiny(name), noise_images((3, 16, 16), 4)
    module = to_torch(network, trainable=True)
    module(torch.from_numpy(images))  # moves the running statistics
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.1)
        written = write_back(network, module)
        expected = module.eval()(torch.from_numpy(images)).numpy()
    assert distance(scores(written, images), expected) < ROUNDING["float32"]
    assert [n.name for n in written.model.graph.node] == [n.name for n in network.model.graph.node]
    assert set(written.initializers) == set(network.initializers)


def test_a_shared_constant_becomes_a_parameter_per_node() -> None:
    from dlas.network.torch_module import to_torch, write_back

    network = network_of(
        helper.make_node("Conv", ["x", "w"], ["c"], "first"),
        helper.make_node("Conv", ["c", "w"], ["d"], "second"),
        helper.make_node("Conv", ["d", "v"], ["e"], "third"),
        helper.make_node("Mul", ["e", "v"], ["y"], "fourth"),
        w=floats(4, 4, 1, 1),
        v=floats(1, 4, 1, 1),
    )
    module, images = to_torch(network, trainable=True), noise_images(SHAPE, 2)
    with torch.no_grad():
        for factor, parameter in enumerate(module.parameters(), start=1):
            parameter.mul_(factor)
        written = write_back(network, module)
        expected = module(torch.from_numpy(images)).numpy()
    assert distance(scores(written, images), expected) < ROUNDING["float32"]
    np.testing.assert_array_equal(written.initializers["v"], network.initializers["v"])


def test_a_reshape_that_flattens_follows_fewer_channels() -> None:
    from dlas.network.torch_module import to_torch, write_back

    network = network_of(
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Reshape", ["c", "sizes"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"]),
        w=floats(6, 4, 3, 3),
        sizes=ints(0, 6 * 7 * 6),
        v=floats(6 * 7 * 6, 3),
    )
    module, images = to_torch(network, trainable=False), noise_images(SHAPE, 2)
    conv, dense = module.get_submodule("w"), module.get_submodule("v")
    conv.weight = torch.nn.Parameter(conv.weight[:4])
    dense.weight = torch.nn.Parameter(dense.weight[:, : 4 * 7 * 6])
    written = write_back(network, module)
    onnx.checker.check_model(written.model, full_check=True)
    assert [n.op_type for n in written.model.graph.node] == ["Conv", "Flatten", "Gemm"]
    assert set(written.initializers) == {"w", "v"}
    with torch.no_grad():
        expected = module(torch.from_numpy(images)).numpy()
    assert distance(scores(written, images), expected) < ROUNDING["float32"]


@pytest.mark.parametrize(
    "name", ["onnx::Conv_193", "/features/0/Conv", "graph", "forward.x", "..."]
)
def test_any_onnx_name_will_do(name: str) -> None:
    network = network_of(
        helper.make_node("Conv", ["x", name], ["c"]),
        helper.make_node("Conv", ["c", name + ".weight"], ["y"]),
        **{name: floats(4, 4, 1, 1), name + ".weight": floats(4, 4, 1, 1)},
    )
    images = noise_images(SHAPE, 1)
    assert distance(torch_scores(network, images), scores(network, images)) < 1e-6


def test_compiles_and_exports() -> None:
    from dlas.network.torch_module import to_torch

    images = torch.from_numpy(noise_images((3, 16, 16), 1))
    module = to_torch(tiny("inverted_residual"), trainable=False)
    exported = torch.export.export(module, (images,)).module()
    assert torch.equal(exported(images), module(images))


def test_saved_networks_translate(tmp_path: Path) -> None:
    """``Network.open`` brings a file into dlas's form; translation reads that form too."""
    network, images = tiny("residual"), noise_images((3, 16, 16), 1)
    network.save(tmp_path)
    np.testing.assert_array_equal(
        torch_scores(Network.open(tmp_path), images), torch_scores(network, images)
    )


def test_builder_names_stay() -> None:
    """Two blocks named alike but for a prefix do not clash."""
    builder = Builder((3, 8, 8))
    x = builder.conv("input", "stage", 4, 3)
    x = builder.conv(x, "stage.0", 4, 3)
    y = builder.dense(builder.flatten(builder.global_average_pool(x)), "fc", 3)
    network, images = builder.network(y), noise_images((3, 8, 8), 2)
    assert distance(torch_scores(network, images), scores(network, images)) < 1e-6
