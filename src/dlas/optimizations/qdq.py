"""A network with QuantizeLinear and DequantizeLinear around what is computed on 8 bits, written by
ONNX Runtime's quantizer from ranges that are given."""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Literal

import numpy as np
import onnx

from dlas.network import Network
from dlas.optimizations.clipping import Range

#: What is computed on 8-bit values. Not Concat: values that one branch quantized would be rounded
#: again to the range of all (and OpenVINO 2026.4 crashes on a quantized one before a Mul).
QUANTIZED = (
    "Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "Sigmoid", "MaxPool", "AveragePool",
    "GlobalAveragePool", "Pad", "Slice", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze",
)  # fmt: skip


def quantized(
    network: Network,
    ranges: Mapping[str, Range],
    activations: Literal["uint8", "int8"],
    keep: Collection[str],
) -> Network:
    """``ranges``: (≤ 0, ≥ 0) of every activation; ``keep``: names of nodes that stay float32."""
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    kinds = {"uint8": ort.QuantType.QUInt8, "int8": ort.QuantType.QInt8}
    tensors = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    with _quiet():
        quantizer = ort.QDQQuantizer(
            network.edited(), per_channel=True, reduce_range=False,
            weight_qType=ort.QuantType.QInt8, activation_qType=kinds[activations],
            tensors_range=TensorsData(ort.CalibrationMethod.MinMax, tensors), nodes_to_quantize=[],
            nodes_to_exclude=[*keep, *_float_nodes(network.model.graph)],
            op_types_to_quantize=list(QUANTIZED), extra_options={},
        )  # fmt: skip
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    model = quantizer.model.model
    _release_scores(model.graph)
    del model.graph.value_info[:]
    del model.metadata_props[:]
    model.metadata_props.extend(network.model.metadata_props)
    return Network(model)


def _float_nodes(graph: onnx.GraphProto) -> list[str]:
    """The names of the nodes that multiply by or add a constant."""
    constants = {tensor.name for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type in ("Mul", "Add") and constants.intersection(node.input)
    ]


def _release_scores(graph: onnx.GraphProto) -> None:
    """Take the last rounding away: 256 steps would tie the scores of many classes."""
    scores = graph.output[0].name
    producers = {name: node for node in graph.node for name in node.output}
    back = producers[scores]
    there = producers.get(back.input[0])
    if back.op_type != "DequantizeLinear" or there is None or there.op_type != "QuantizeLinear":
        return
    unrounded = there.input[0]
    last = producers[unrounded]
    if any(unrounded in node.input for node in graph.node if node != there):
        return
    last.output[list(last.output).index(unrounded)] = scores
    graph.node.remove(back)
    graph.node.remove(there)
    used = {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)


@contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's quantizer prints, and logs by the root logger, which sets logging up."""
    root, handler = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
