"""A network with QuantizeLinear and DequantizeLinear around what is computed on 8 bits, written by
ONNX Runtime's quantizer from ranges that are given."""

from __future__ import annotations

import io
import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Literal

import numpy as np
import onnx

from dlas.network import Network
from dlas.network.cleanup import drop_unused
from dlas.optimizations.clipping import Range

Swish = Literal["rounded", "fused"]

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
    swish: Swish,
) -> Network:
    """``ranges``: (≤ 0, ≥ 0) of every activation; ``keep``: names of nodes that stay float32."""
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    kinds = {"uint8": ort.QuantType.QUInt8, "int8": ort.QuantType.QInt8}
    tensors = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    excluded = [*keep, *_affine_nodes(network.model.graph)]
    if swish == "fused":
        excluded += [
            node.name for nodes in _swishes(network.model.graph).values() for node in nodes
        ]
    with _quiet():
        quantizer = ort.QDQQuantizer(
            network.edited(), per_channel=True, reduce_range=False,
            weight_qType=ort.QuantType.QInt8, activation_qType=kinds[activations],
            tensors_range=TensorsData(ort.CalibrationMethod.MinMax, tensors), nodes_to_quantize=[],
            nodes_to_exclude=excluded, op_types_to_quantize=list(QUANTIZED), extra_options={},
        )  # fmt: skip
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    model = quantizer.model.model
    _release_scores(model.graph)
    if swish == "fused":
        _release_swishes(model.graph)
    drop_unused(model)
    del model.metadata_props[:]
    model.metadata_props.extend(network.model.metadata_props)
    return Network(model)


def _affine_nodes(graph: onnx.GraphProto) -> list[str]:
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


def _swishes(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes of every SiLU and HardSwish, by the tensor that alone they read."""
    producers = {name: node for node in graph.node for name in node.output}
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    found = {name: nodes for name, nodes in readers.items() if _kinds(nodes) == ["HardSwish"]}
    for name, nodes in readers.items():
        if _kinds(nodes) != ["Mul", "Sigmoid"]:
            continue
        product, sigmoid = sorted(nodes, key=lambda node: node.op_type)
        if sigmoid.output[0] in product.input and _kinds(readers[sigmoid.output[0]]) == ["Mul"]:
            found[name] = nodes
    return {name: nodes for name, nodes in found.items() if name in producers}


def _kinds(nodes: list[onnx.NodeProto]) -> list[str]:
    return sorted(node.op_type for node in nodes)


def _release_swishes(graph: onnx.GraphProto) -> None:
    """Let SiLU and HardSwish read what is rounded now before them."""
    producers = {name: node for node in graph.node for name in node.output}
    for name, nodes in _swishes(graph).items():
        back = producers[name]
        there = producers.get(back.input[0])
        if back.op_type != "DequantizeLinear" or there is None:
            continue
        for node in nodes:
            node.input[list(node.input).index(name)] = there.input[0]


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
