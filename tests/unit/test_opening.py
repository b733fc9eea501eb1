"""``Network.open``: what near forms become, and the sentence that every other file gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dlas.errors import InputError
from dlas.evaluate import scores
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.network.opening import OPSET, external_files

FLOAT = TensorProto.FLOAT
Dims = list[str | int]
Array = np.ndarray
WEIGHT = np.random.default_rng(0).normal(size=(3, 2, 1, 1)).astype(np.float32)
IMAGES = np.random.default_rng(1).normal(size=(5, 2, 4, 4)).astype(np.float32)
#: Of the graph below, by hand.
SCORES = np.einsum("nchw,kc->nk", IMAGES / 16, WEIGHT[:, :, 0, 0])


def graph(
    batch: str | int = "N",
    nodes: list[onnx.NodeProto] | None = None,
    arrays: dict[str, Array] | None = None,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """1×1 convolution, average, flatten; ``nodes`` stand between tensors "x" and "y"."""
    nodes = (
        nodes
        if nodes is not None
        else [*conv_and_pool(), helper.make_node("Flatten", ["b"], ["y"])]
    )
    weights = [numpy_helper.from_array(v, k) for k, v in ({"w": WEIGHT} | (arrays or {})).items()]
    given = helper.make_tensor_value_info("x", FLOAT, [batch, 2, 4, 4])
    result = helper.make_tensor_value_info("y", FLOAT, [batch, 3])
    made = helper.make_graph(nodes, "test", [given], [result], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def conv_and_pool() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
        helper.make_node("GlobalAveragePool", ["a"], ["b"], "pool"),
    ]


def opened(model: onnx.ModelProto, folder: Path) -> Network:
    file = folder / "net.onnx"
    file.write_bytes(model.SerializeToString())
    return Network.open(file)


def check_same_scores(network: Network) -> None:
    np.testing.assert_allclose(scores(network, IMAGES), SCORES, rtol=1e-4, atol=1e-6)


# -- near forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18, 20, 21, 22])
def test_other_opsets_are_converted(opset: int, tmp_path: Path) -> None:
    network = opened(graph(opset=opset), tmp_path)
    assert network.model.opset_import[0].version in range(18, OPSET + 1)
    check_same_scores(network)


@pytest.mark.parametrize("batch", ["batch_size", "N", 1, 2, 5])
def test_batch_becomes_symbolic(batch: str | int, tmp_path: Path) -> None:
    network = opened(graph(batch), tmp_path)
    for value in (network.model.graph.input[0], network.model.graph.output[0]):
        assert value.type.tensor_type.shape.dim[0].dim_param == "N"
    check_same_scores(network)


@pytest.mark.parametrize("sizes", [[1, 3], [1, -1], [-1, 3]])
def test_fixed_batch_in_a_reshape_is_freed(sizes: list[int], tmp_path: Path) -> None:
    nodes = [*conv_and_pool(), helper.make_node("Reshape", ["b", "sizes"], ["y"])]
    nodes[-1].attribute.append(helper.make_attribute("allowzero", 1))  # as torch.export writes
    check_same_scores(opened(graph(1, nodes, {"sizes": np.array(sizes)}), tmp_path))


def test_computed_batch_in_a_reshape_is_freed(tmp_path: Path) -> None:
    """As exporters by tracing write ``x.view(x.size(0), -1)``."""
    nodes = [
        *conv_and_pool(),
        helper.make_node("Shape", ["b"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["batch1"]),
        helper.make_node("Concat", ["batch1", "rest"], ["sizes"], axis=0),
        helper.make_node("Reshape", ["b", "sizes"], ["y"]),
    ]
    arrays = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    network = opened(graph("N", nodes, arrays), tmp_path)
    assert [node.op_type for node in network.model.graph.node] == [
        "Conv",
        "GlobalAveragePool",
        "Reshape",
    ]
    check_same_scores(network)


def test_constants_become_initializers(tmp_path: Path) -> None:
    """Also the copies and transposes that exporters put between a weight and its layer."""
    columns = numpy_helper.from_array(np.eye(3, dtype=np.float32))
    nodes = [
        *conv_and_pool(),
        helper.make_node("Identity", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("Constant", [], ["eye"], value=columns),
        helper.make_node("Transpose", ["eye"], ["turned"]),
        helper.make_node("MatMul", ["f", "turned"], ["m"]),
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Mul", ["m", "one"], ["y"]),
    ]
    network = opened(graph(nodes=nodes), tmp_path)
    kinds = [node.op_type for node in network.model.graph.node]
    assert kinds == ["Conv", "GlobalAveragePool", "Flatten", "MatMul", "Mul"]
    assert [row.weight for row in network.layers] == ["w", "turned"]
    check_same_scores(network)


def test_every_node_gets_a_name_of_its_own(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "same"),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["b"], "same"),
        helper.make_node("Flatten", ["b"], ["y"], "kept"),
    ]
    names = [node.name for node in opened(graph(nodes=nodes), tmp_path).model.graph.node]
    assert len(set(names)) == 4
    assert all(names)
    assert names[3] == "kept"


def test_weights_listed_as_inputs_are_not_inputs(tmp_path: Path) -> None:
    model = graph(opset=9)
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, WEIGHT.shape))
    check_same_scores(opened(model, tmp_path))


def test_functions_are_inlined(tmp_path: Path) -> None:
    body = [helper.make_node("Flatten", ["p"], ["q"])]
    opsets = [helper.make_opsetid("", OPSET)]
    nodes = [*conv_and_pool(), helper.make_node("Flat", ["b"], ["y"], domain="own")]
    model = graph(nodes=nodes)
    model.functions.append(helper.make_function("own", "Flat", ["p"], ["q"], body, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    check_same_scores(opened(model, tmp_path))


def test_weights_in_a_file_beside_are_read(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    onnx.save(graph(), file, save_as_external_data=True, location="net.data", size_threshold=0)
    assert external_files(file) == ("net.data",)
    check_same_scores(Network.open(file))


def test_our_own_form_comes_back_equal(tmp_path: Path) -> None:
    b = Builder((2, 4, 4))
    network = b.network(b.dense(b.flatten(b.conv("input", "conv", 3, 3)), "fc", 3))
    network.save(tmp_path)
    assert Network.open(tmp_path).model == network.model
    assert Network.open(tmp_path / "network.onnx").model == network.model
    assert (tmp_path / "layers.json").exists()


# -- files that are no such network --------------------------------------------------------------


@pytest.mark.parametrize(
    "content,sentence",
    [
        (b"PK\x03\x04" + bytes(200), "is not an ONNX file, or is cut short"),
        (b"not a network at all\n" * 20, "is not an ONNX file, or is cut short"),
        (graph().SerializeToString()[:-20], "is not an ONNX file, or is cut short"),
        (b"", "holds no ONNX graph"),
    ],
)
def test_file_that_is_no_onnx(content: bytes, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"net.onnx {sentence}"):
        Network.open(file)


def test_file_cut_anywhere(tmp_path: Path) -> None:
    content, file = graph().SerializeToString(), tmp_path / "net.onnx"
    for length in range(0, len(content), 5):
        file.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"net\.onnx"):
            Network.open(file)


def test_name_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(graph().SerializeToString().replace(b"pool", b"p\xff\xffl"))
    with pytest.raises(InputError, match=r"net\.onnx: it is damaged: a name in it is not text"):
        Network.open(file)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"net\.onnx: there is no such file"):
        Network.open(tmp_path / "net.onnx")
    with pytest.raises(InputError, match=r"network\.onnx: there is no such file"):
        Network.open(tmp_path)


@pytest.mark.parametrize("location", ["gone.data", "../outside.data", "/etc/hostname"])
def test_weights_elsewhere_are_not_read(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    onnx.save(
        graph(),
        folder / "net.onnx",
        save_as_external_data=True,
        location="w.data",
        size_threshold=0,
    )
    (folder / "w.data").rename(tmp_path / "outside.data")
    content = (folder / "net.onnx").read_bytes()
    model = onnx.ModelProto.FromString(content)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    with pytest.raises(InputError, match=r"net\.onnx: its weights file cannot be read"):
        opened(model, folder)


def _two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", FLOAT, [1]))


def _two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("a", FLOAT, ["N", 3, 4, 4]))


def _input(kind: int, dims: Dims) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, dims))

    return change


def _image_out(model: onnx.ModelProto) -> None:
    del model.graph.node[2]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("b", FLOAT, ["N", 3, 1, 1]))


def _custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _control_flow(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "If"


def _training(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute.append(helper.make_attribute("training_mode", 1))


def _unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "GlobalAveragePol"


def _undefined_tensor(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[1] = "nowhere"


def _wrong_weight(model: onnx.ModelProto) -> None:
    weight = np.zeros((3, 5, 1, 1), np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))


def _unknown_type(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 90


def _nan(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHT * np.nan, "w"))


def _future_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def _no_opset(model: onnx.ModelProto) -> None:
    del model.opset_import[:]


@pytest.mark.parametrize(
    "change,sentence",
    [
        (_two_inputs, r"has 2 inputs \(x, mask\); dlas needs one"),
        (_two_outputs, r"has 2 outputs \(y, a\); dlas needs one"),
        (_input(FLOAT, ["N", 2]), r"the input 'x' has shape \(N, 2\), not \(N, C, H, W\)"),
        (_input(FLOAT, ["N", 2, "h", "w"]), r"has shape \(N, 2, h, w\); export it with fixed"),
        (_input(TensorProto.UINT8, ["N", 2, 4, 4]), "'x' is uint8, dlas passes float32"),
        (_image_out, r"the output 'b' has shape \(N, 3, 1, 1\), not \(N, classes\)"),
        (_custom_operator, r"outside the ONNX standard: com\.microsoft\.GlobalAveragePool"),
        (_control_flow, r"uses control flow \(If\)"),
        (_training, "is in training mode"),
        (_unknown_operator, "the graph is not valid ONNX: .*GlobalAveragePol"),
        (_undefined_tensor, "the graph is not valid ONNX: .*nowhere"),
        (_wrong_weight, "layer 'conv' gets 2 features, its weights take 5"),
        (_unknown_type, "the constant 'w' is damaged"),
        (_nan, "the constant 'w' holds NaN"),
        (_future_opset, "its opset 99 cannot be converted; export it with one from 19 to 20"),
        (_no_opset, "it names no opset"),
    ],
)
def test_graph_that_is_no_classifier(
    change: Callable[[onnx.ModelProto], None], sentence: str, tmp_path: Path
) -> None:
    model = graph()
    change(model)
    with pytest.raises(InputError, match=rf"net\.onnx: .*{sentence}") as caught:
        opened(model, tmp_path)
    assert "\n" not in str(caught.value)


def test_batch_that_cannot_be_freed(tmp_path: Path) -> None:
    nodes = [
        *conv_and_pool(),
        helper.make_node("Reshape", ["b", "across"], ["c"]),  # mixes the images of a batch
        helper.make_node("Reshape", ["c", "sizes"], ["y"]),
    ]
    arrays = {"across": np.array([3, 2]), "sizes": np.array([2, 3])}
    with pytest.raises(InputError, match="computes batches of 2 only; export it with a dynamic"):
        opened(graph(2, nodes, arrays), tmp_path)
