"""Empirical bias correction (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization
and Bias Correction", section 4.2 and appendix D): rounding weights shifts the mean of what a layer
computes; its bias takes the shift back.

Layer after layer in graph order, with the layers before corrected: the mean over calibration images
and positions of each output channel, before the activation, minus the same in float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dlas.context import Context
from dlas.network import Network
from dlas.network.cleanup import drop_unused
from dlas.optimizations.calibration import CalibrationImages, batch_size, tap

Means = dict[str, NDArray[np.float64]]


def with_biases(network: Network) -> Network:
    """Every Conv and Gemm gets a bias, of zeros where it has none, to be corrected later."""
    model = network.edited()
    channels = {row.name: row.out_channels for row in network.layers}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm") and node.name in channels and len(node.input) == 2:
            zeros = np.zeros(channels[node.name], np.float32)
            model.graph.initializer.append(numpy_helper.from_array(zeros, f"{node.name}.no_bias"))
            node.input.append(f"{node.name}.no_bias")
    return Network(model)


def corrected(
    network: Network, original: Network, images: CalibrationImages, context: Context
) -> Network:
    """``network``: the quantized form of ``original``, whose layers have the same names. Layers
    whose bias is not in 32-bit integers stay as they are: those kept in float32, and MatMuls."""
    model = network.edited()
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    outputs = {node.name: node.output[0] for node in original.model.graph.node}
    found = [node for node in model.graph.node if _integer_bias(node, producers)]
    float_means = _means(original, [outputs[node.name] for node in found], images)
    for done, node in enumerate(found):
        context.progress(done / len(found), f"correcting the bias of {node.name}")
        output = node.output[0]
        means = _means(Network(_up_to(model, output)), [output], images)
        error = means[output] - float_means[outputs[node.name]]
        stored, scale, _ = (constants[name] for name in producers[node.input[2]].input)
        steps = np.rint(error / numpy_helper.to_array(scale))
        value = (numpy_helper.to_array(stored) - steps).clip(-(2**31), 2**31 - 1)
        stored.CopyFrom(numpy_helper.from_array(value.astype(np.int32), stored.name))
    return Network(model)


def _integer_bias(node: onnx.NodeProto, producers: Mapping[str, onnx.NodeProto]) -> bool:
    if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
        return False
    return node.input[2] in producers and producers[node.input[2]].op_type == "DequantizeLinear"


def _means(network: Network, names: Iterable[str], images: CalibrationImages) -> Means:
    """Of each channel of these tensors, (N, C, ...), over all images and positions."""
    run = tap(network, list(names))
    size = batch_size(images.network)
    total: Means = {}
    for batch in images.batches(size):
        for name, values in run(batch).items():
            means = values.mean(axis=(0, *range(2, values.ndim)), dtype=np.float64)
            total[name] = total.get(name, 0) + means * (len(batch) / images.samples)
    return total


def _up_to(model: onnx.ModelProto, tensor: str) -> onnx.ModelProto:
    """The part of the graph that this tensor depends on, which becomes its output."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.output[:]
    part.graph.output.append(helper.make_empty_tensor_value_info(tensor))
    drop_unused(part)
    return part
