"""The layer table: a row per convolution and dense layer, with shapes, MACs and non-zeros."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dlas.errors import InputError

INDEX_BYTES = 4
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
#: What computing in a narrower type promises.
DTYPE_SPEEDUP = {"float32": 1.0, "float16": 2.0, "bfloat16": 2.0, "int8": 4.0, "mixed": 1.0}

#: Elements of an initializer that may be a shape or a limit, and not a weight, are fewer.
LARGE = 64

Shapes = Mapping[str, tuple[int, ...]]


class LayerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One convolution or dense layer of one inference (batch 1).

    ``name``: the ONNX node's name. ``weight``: the initializer's name, behind any
    DequantizeLinear or Cast. A dense layer is a 1×1 convolution of a 1×n image, where n is how
    often it is applied (1, or the number of tokens). ``pads`` is (top, left, bottom, right)."""

    name: str
    op: str  # conv | dense
    weight: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int
    input_hw: tuple[int, int]
    output_hw: tuple[int, int]
    nonzeros: int
    dtype: str  # float32 | float16 | bfloat16 | int8

    @property
    def weights(self) -> int:
        """Weights, zero or not; biases are not counted."""
        taps = self.kernel[0] * self.kernel[1]
        return self.out_channels * self.in_channels // self.groups * taps

    @property
    def macs(self) -> int:
        return self.weights * self.output_hw[0] * self.output_hw[1]

    @property
    def effective_macs(self) -> int:
        return self.nonzeros * self.output_hw[0] * self.output_hw[1]

    @property
    def sparse_bytes(self) -> int:
        """The smaller of the dense weights and CSR: value and 4-byte column per non-zero, and a
        4-byte pointer per output channel."""
        item = ITEM_BYTES[self.dtype]
        csr = self.nonzeros * (item + INDEX_BYTES) + (self.out_channels + 1) * INDEX_BYTES
        return min(self.weights * item, csr)


def layer_rows(model: onnx.ModelProto) -> tuple[LayerRow, ...]:
    """The rows of a graph, in graph order. InputError names a layer that has no row: its shapes
    cannot be inferred, it is not two-dimensional, or its weights are of another type."""
    shapes = tensor_shapes(model)
    arrays = {t.name: t for t in model.graph.initializer}
    producers = {out: node for node in model.graph.node for out in node.output}
    rows = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        found = weight_source(node, arrays, producers)
        if found is None:  # a product of two activations, as in attention
            continue
        weight, dequantize = found
        array = numpy_helper.to_array(weight)
        dtype = str(array.dtype) if dequantize is None else "int8"
        if dtype not in ITEM_BYTES:
            raise InputError(
                f"layer {node.name!r} has {dtype} weights; dlas knows {', '.join(ITEM_BYTES)}"
            )
        make = _conv_row if node.op_type == "Conv" else _dense_row
        nonzeros = _count_nonzeros(array, dequantize, arrays)
        rows.append(make(node, weight.name, array, nonzeros, dtype, shapes))
    return tuple(rows)


def weight_source(
    node: onnx.NodeProto,
    arrays: Mapping[str, onnx.TensorProto],
    producers: Mapping[str, onnx.NodeProto],
) -> tuple[onnx.TensorProto, onnx.NodeProto | None] | None:
    """The initializer that a layer's weight comes from, and the DequantizeLinear on the way, if
    there is one; None where the second operand is no weight."""
    name, dequantize = node.input[1], None
    while name not in arrays:
        producer = producers.get(name)
        if producer is None or producer.op_type not in (
            "DequantizeLinear",
            "QuantizeLinear",
            "Cast",
        ):
            return None
        if producer.op_type == "DequantizeLinear":
            dequantize = producer
        name = producer.input[0]
    return arrays[name], dequantize


def tensor_shapes(model: onnx.ModelProto, batch: int = 1) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that shape inference reaches, for images in batches of ``batch``;
    () where it knows no shape, 0 where it does not know a dimension."""
    model = skeleton(model)
    weights = {value.name for value in model.graph.input[1:]}
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    # Another batch in the output would clash with this one.
    model.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    return {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in values
        if v.name not in weights
    }


def skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy for shape inference, which would spend its time copying the weights: large
    initializers become inputs of their shape, and recorded intermediate shapes are left out."""
    graph = model.graph
    large = [t for t in graph.initializer if math.prod(t.dims) > LARGE]
    small = [t for t in graph.initializer if math.prod(t.dims) <= LARGE]
    weights = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in large]
    copy = helper.make_graph(
        graph.node, graph.name, [*graph.input, *weights], graph.output, initializer=small
    )
    return helper.make_model(copy, ir_version=model.ir_version, opset_imports=model.opset_import)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values; those left at their defaults are absent."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def conv_pads(
    given: Mapping[str, Any],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    input_hw: tuple[int, int],
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right), also where the node says SAME or VALID."""
    auto = given.get("auto_pad", b"NOTSET")
    if auto == b"VALID":
        return 0, 0, 0, 0
    if auto == b"NOTSET":
        top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
        return top, left, bottom, right
    before, after = [], []
    for size, k, s, d in zip(input_hw, kernel, stride, dilation, strict=True):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        small, large = total // 2, total - total // 2
        before.append(small if auto == b"SAME_UPPER" else large)
        after.append(large if auto == b"SAME_UPPER" else small)
    return before[0], before[1], after[0], after[1]


def _conv_row(
    node: onnx.NodeProto,
    weight: str,
    array: NDArray[Any],
    nonzeros: int,
    dtype: str,
    shapes: Shapes,
) -> LayerRow:
    if array.ndim != 4:
        raise InputError(f"layer {node.name!r} convolves {array.ndim - 2} dimensions; dlas knows 2")
    given = attributes(node)
    _, channels, *image = _known_shape(node, node.input[0], shapes)
    _, _, *output = _known_shape(node, node.output[0], shapes)
    groups = int(given.get("group", 1))
    _check_features(node, channels, array.shape[1] * groups)
    input_hw, output_hw = (image[0], image[1]), (output[0], output[1])
    kernel = (array.shape[2], array.shape[3])
    stride = tuple(given.get("strides", (1, 1)))
    dilation = tuple(given.get("dilations", (1, 1)))
    return LayerRow(
        name=node.name, op="conv", weight=weight, in_channels=array.shape[1] * groups,
        out_channels=array.shape[0], kernel=kernel, stride=stride,
        pads=conv_pads(given, kernel, stride, dilation, input_hw), dilation=dilation,
        groups=groups, input_hw=input_hw, output_hw=output_hw, nonzeros=nonzeros, dtype=dtype,
    )  # fmt: skip


def _dense_row(
    node: onnx.NodeProto,
    weight: str,
    array: NDArray[Any],
    nonzeros: int,
    dtype: str,
    shapes: Shapes,
) -> LayerRow:
    if array.ndim != 2:
        raise InputError(
            f"layer {node.name!r} has weights of shape {array.shape}; a dense layer has two"
        )
    transposed = node.op_type == "Gemm" and attributes(node).get("transB", 0)
    out_features, in_features = array.shape if transposed else array.shape[::-1]
    if not attributes(node).get("transA", 0):
        _check_features(node, _known_shape(node, node.input[0], shapes)[-1], in_features)
    applied = (1, math.prod(_known_shape(node, node.output[0], shapes)[:-1]))
    return LayerRow(
        name=node.name, op="dense", weight=weight, in_channels=in_features,
        out_channels=out_features, kernel=(1, 1), stride=(1, 1), pads=(0, 0, 0, 0),
        dilation=(1, 1), groups=1, input_hw=applied, output_hw=applied, nonzeros=nonzeros,
        dtype=dtype,
    )  # fmt: skip


def _known_shape(node: onnx.NodeProto, tensor: str, shapes: Shapes) -> tuple[int, ...]:
    shape = shapes.get(tensor, ())
    if not shape or 0 in shape:
        raise InputError(f"the shapes around layer {node.name!r} cannot be inferred")
    return shape


def _check_features(node: onnx.NodeProto, given: int, expected: int) -> None:
    if given != expected:
        raise InputError(f"layer {node.name!r} gets {given} features, its weights take {expected}")


def _count_nonzeros(
    array: NDArray[Any], dequantize: onnx.NodeProto | None, arrays: Mapping[str, onnx.TensorProto]
) -> int:
    """Weights that stand for a number other than zero: where integers have a zero point, others."""
    zero_point = dequantize.input[2] if dequantize is not None and len(dequantize.input) > 2 else ""
    if zero_point not in arrays or not np.issubdtype(array.dtype, np.integer):
        return int(np.count_nonzero(array))
    zero = numpy_helper.to_array(arrays[zero_point])
    if zero.ndim == 1 and dequantize is not None:  # one per slice along an axis
        axis = attributes(dequantize).get("axis", 1) % array.ndim
        zero = zero.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
    return int(np.count_nonzero(array != zero))
