"""The system tvm on whole small networks, against ONNX Runtime."""

from __future__ import annotations

import subprocess
import sys
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dlas.context import Context
from dlas.errors import Refused
from dlas.layer import member
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.network.fold import fold_batch_norm
from dlas.optimizations.int8 import Int8
from dlas.plan import Plan
from dlas.systems.tvm import Tvm
from dlas.testing.networks import DTYPES, TINY, DType, noise, noise_images, tiny

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

PRIMITIVES = ("direct", "gemm", "spatial_pack")
TOLERANCE = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 1e-3, "int8": 1e-5}
#: Every network in every type, and the primitives in turn.
NETWORKS = ((name, dtype) for name in TINY for dtype in DTYPES)
CASES = [(*network, a) for network, a in zip(NETWORKS, cycle(PRIMITIVES), strict=False)]
CASES += [("grouped", dtype, "grouped_spatial_pack") for dtype in DTYPES]
Array = NDArray[np.float32]


def plan_of(network: Network, algorithm: str) -> Plan:
    made: Plan = member("algorithms", algorithm)().plan(network)  # type: ignore[attr-defined]
    return made


def expected(network: Network, images: Array) -> Array:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(network.model.SerializeToString(), options)
    scores: Array = session.run(None, {network.input_name: images})[0]
    return scores


def executed(network: Network, plan: Plan, images: Array, folder: Path, threads: int = 1) -> Array:
    system = Tvm(threads=threads)
    system.compile(network, plan, folder)
    run = system.load(folder)
    return np.concatenate([run(images[i : i + 1]) for i in range(len(images))])


def deviation(found: Array, truth: Array) -> float:
    """The largest difference, as a share of the largest score."""
    return float(np.abs(found - truth).max() / np.abs(truth).max())


@pytest.mark.parametrize("name, dtype, algorithm", CASES)
def test_agrees_with_onnxruntime(name: str, dtype: DType, algorithm: str, tmp_path: Path) -> None:
    network = tiny(name, dtype)
    images = noise_images(network.input_shape, 4, seed=1)
    found = executed(network, plan_of(network, algorithm), images, tmp_path)
    truth = expected(network, images)
    assert deviation(found, truth) < TOLERANCE[dtype]
    np.testing.assert_array_equal(found.argmax(1), truth.argmax(1))


def test_follows_the_plan_layer_by_layer(tmp_path: Path) -> None:
    network = tiny("residual")
    steps = plan_of(network, "direct").steps
    chosen = {"conv1": "direct", "conv2": "gemm", "conv3": "spatial_pack", "downsample": "gemm"}
    plan = Plan(
        "mixed", tuple(replace(s, primitive=chosen.get(s.layer, s.primitive)) for s in steps)
    )
    images = noise_images(network.input_shape, 2)
    assert deviation(executed(network, plan, images, tmp_path), expected(network, images)) < 1e-5
    assert sorted(kernels(network, plan)) == ["direct", "gemm", "gemm1", "gemm2", "spatial_pack"]


def kernels(network: Network, plan: Plan) -> dict[str, Any]:
    """The kernels of the layers before fusion, by name."""
    from dlas.systems.tvm.frontend import translate

    functions = translate(network, plan).functions_items()
    found = {name.name_hint: function for name, function in functions}
    return {name: f for name, f in found.items() if name.startswith(PRIMITIVES)}


@pytest.mark.parametrize("algorithm", PRIMITIVES)
def test_quantized_layers_multiply_integers(algorithm: str) -> None:
    network = tiny("residual", "int8")
    found = kernels(network, plan_of(network, algorithm))
    assert len(found) == len(network.layers)
    for kernel in found.values():
        data, weight = (str(parameter.dtype) for parameter in kernel.params[:2])
        assert (data, weight) == ("uint8", "int8")


class Reader:
    """Calibration images for ONNX Runtime's quantizer."""

    def __init__(self, network: Network) -> None:
        images = noise_images(network.input_shape, 8)
        self.batches = iter([{network.input_name: images}])

    def get_next(self) -> dict[str, Array] | None:
        return next(self.batches, None)


@pytest.mark.parametrize("data_type, weight_type", [("QInt8", "QInt8"), ("QUInt8", "QUInt8")])
def test_other_forms_of_quantization(data_type: str, weight_type: str, tmp_path: Path) -> None:
    """One scale per weight tensor, signed data, weights with a zero point."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    given = Network(fold_batch_norm(tiny("residual").model))
    quantize_static(
        given.model, tmp_path / "q.onnx", Reader(given), quant_format=QuantFormat.QDQ,
        activation_type=QuantType[data_type], weight_type=QuantType[weight_type],
    )  # fmt: skip
    network = Network(onnx.load(tmp_path / "q.onnx"))
    images = noise_images(network.input_shape, 4, seed=1)
    truth = expected(network, images)
    found = executed(network, plan_of(network, "direct"), images, tmp_path)
    assert deviation(found, truth) < 1e-2  # a step of the scores' quantization
    every = kernels(network, plan_of(network, "direct")).values()
    assert {str(kernel.params[0].dtype) for kernel in every} == {data_type[1:].lower()}


def test_equal_layers_share_a_kernel(tmp_path: Path) -> None:
    """Weights, scales and zero points are data, so that layers of one shape are one kernel."""
    b = Builder((8, 8, 8))
    y = b.relu(b.conv(b.relu(b.conv("input", "conv1", 8, 3)), "conv2", 8, 3))
    network = b.network(b.dense(b.flatten(y), "fc", 10))
    quantized = Int8(samples=4).apply(network, noise(network, 4), Context(tmp_path, tmp_path))
    for each in (network, quantized):
        assert set(kernels(each, plan_of(each, "direct"))) == {"direct", "gemm"}


def test_an_executable_runs_in_a_process_without_the_compiler(tmp_path: Path) -> None:
    network = tiny("plain")
    images = noise_images(network.input_shape, 1)
    here = executed(network, plan_of(network, "gemm"), images, tmp_path)
    np.save(tmp_path / "images.npy", images)
    code = f"""
import sys
from pathlib import Path
import numpy as np
from dlas.systems.tvm import Tvm
folder = Path({str(tmp_path)!r})
np.save(folder / "scores.npy", Tvm().load(folder)(np.load(folder / "images.npy")))
print([m for m in ("tvm", "torch", "onnx") if m in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), here)


def test_scores_are_the_callers_to_keep(tmp_path: Path) -> None:
    network = tiny("plain")
    images = noise_images(network.input_shape, 2)
    Tvm().compile(network, plan_of(network, "direct"), tmp_path)
    run = Tvm().load(tmp_path)
    first = run(images[:1])
    kept = first.copy()
    run(images[1:])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("algorithm", PRIMITIVES)
def test_two_threads(algorithm: str, tmp_path: Path) -> None:
    network = tiny("inverted_residual")
    images = noise_images(network.input_shape, 2)
    found = executed(network, plan_of(network, algorithm), images, tmp_path, threads=2)
    assert deviation(found, expected(network, images)) < 1e-5


def graph(nodes: list[onnx.NodeProto], **constants: Any) -> Network:
    """(N, 1, 2, 4) → (N, 8) by these nodes."""
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 2, 4])
    result = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 8])
    arrays = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    drawn = helper.make_graph(nodes, "graph", [given], [result], arrays)
    return Network(
        helper.make_model(drawn, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    )


FLATTEN = helper.make_node("Flatten", ["y"], ["logits"], "flatten")


def test_quantization_rounds_half_to_even(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], "dequantize"),
        FLATTEN,
    ]
    network = graph(nodes, scale=np.float32(2), zero=np.uint8(3))
    images = np.array([-100, -5, -3, -1, 1, 3, 5, 1000], np.float32).reshape(1, 1, 2, 4)
    found = executed(network, Plan("direct", ()), images, tmp_path)
    np.testing.assert_array_equal(found[0], [-6, -4, -4, 0, 0, 4, 4, 504])


@pytest.mark.parametrize(
    "node, sentence",
    [
        (
            helper.make_node("Celu", ["input"], ["y"], "celu"),
            "not supported for frontend ONNX: Celu",
        ),
        (helper.make_node("Pad", ["input", "input"], ["y"], "pad"), "TVM cannot read Pad 'pad': "),
        (helper.make_node("Conv", ["input", "input"], ["y"], "conv"), "'conv' are not constants"),
    ],
)
def test_what_tvm_cannot_translate_is_refused_in_a_sentence(
    node: onnx.NodeProto, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=sentence) as caught:
        Tvm().compile(graph([node, FLATTEN]), Plan("direct", ()), tmp_path)
    assert "\n" not in str(caught.value)


def test_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Tvm.missing() is None
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert Tvm.missing() == (
        "tvm needs a C compiler to link what it generates: install gcc or clang"
    )


def test_float16_is_said_to_be_emulated() -> None:
    assert "float32" in Tvm().emulates(tiny("plain", "float16"))
    assert Tvm().emulates(tiny("plain")) == ""
