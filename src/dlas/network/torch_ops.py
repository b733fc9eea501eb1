"""The PyTorch form of every ONNX operator that dlas translates: ``FORMS``, at the end.

A form reads the node's operands from a ``Drawing`` and draws PyTorch calls on it. Imports torch:
import this file inside functions only.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import Tensor, nn

from dlas.errors import Refused
from dlas.network.channels import is_flatten
from dlas.network.layers import conv_pads

if TYPE_CHECKING:
    from dlas.network.torch_module import Drawing

Given = dict[str, Any]  # a node's attributes
Form = Callable[["Drawing", onnx.NodeProto, Given], Any]
Pads = tuple[int, int, int, int]  # top, left, bottom, right
State = tuple[str, onnx.NodeProto, int]  # a submodule's attribute is that input of the node


def describe(node: onnx.NodeProto) -> str:
    return f"the operator {node.op_type} of {node.name or node.output[0]!r}"


def unsupported(node: onnx.NodeProto, what: str) -> Refused:
    return Refused(f"{describe(node)} has {what}, for which dlas has no PyTorch form")


# -- layers with weights -----------------------------------------------------------------------


def conv(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    weight = draw.constant(node, 1)
    if weight is None or weight.ndim != 4:
        raise unsupported(node, "a kernel that is not two-dimensional")
    kernel, stride, dilation, pads = window(draw, node, given, weight.shape[2:])
    x, padding = padded(draw, draw.tensor(node.input[0]), pads, 0.0)
    groups, bias = given.get("group", 1), draw.constant(node, 2) is not None
    channels = weight.shape[1] * groups, weight.shape[0]
    windows = kernel, stride, padding, dilation
    module = nn.Conv2d(*channels, *windows, groups, bias, device="meta")
    state = [("weight", node, 1), ("bias", node, 2)]
    return draw.layer(x, module, *state[: 1 + bias])


def batch_norm(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    gamma = draw.constant(node, 1)
    if gamma is None or len(node.output) > 1 or given.get("training_mode", 0):
        raise unsupported(node, "training outputs")
    names = ("weight", "bias", "running_mean", "running_var")
    state = [(name, node, position) for position, name in enumerate(names, start=1)]
    for _, _, position in state:
        draw.constant(node, position)
    kind = nn.BatchNorm1d if len(draw.shapes[node.input[0]]) < 4 else nn.BatchNorm2d
    # ONNX's momentum is the share of the old statistics, PyTorch's that of the new.
    module = kind(len(gamma), given.get("epsilon", 1e-5), 1 - given.get("momentum", 0.9))
    return draw.layer(draw.tensor(node.input[0]), module, *state)


def gemm(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    weight, bias = draw.constant(node, 1), draw.constant(node, 2)
    scaled = given.get("alpha", 1.0) != 1 or (bias is not None and given.get("beta", 1.0) != 1)
    if weight is None or scaled or given.get("transA", 0):
        raise unsupported(node, "alpha, beta or transA")
    transposed = not given.get("transB", 0)
    outputs = weight.shape[1] if transposed else weight.shape[0]
    if bias is not None and bias.shape != (outputs,):
        raise unsupported(node, f"a bias of shape {bias.shape}")
    state = [("weight", node, 1), ("bias", node, 2)][: 1 + (bias is not None)]
    return linear(draw, node, transposed, state)


def matmul(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    weight = draw.constants.get(node.input[1])
    if weight is None or weight.ndim != 2:
        return draw.call(torch.matmul, *map(draw.tensor, node.input))
    state = [("weight", node, 1)]
    add = draw.biases.get(node.output[0])
    if add is not None:
        state.append(("bias", add, list(add.input).index(node.output[0]) ^ 1))
    return linear(draw, node, True, state)


def linear(draw: Drawing, node: onnx.NodeProto, transposed: bool, state: list[State]) -> Any:
    shape = draw.constants[node.input[1]].shape
    outputs, inputs = shape[::-1] if transposed else shape
    module = nn.Linear(inputs, outputs, len(state) > 1, device="meta")
    return draw.layer(draw.tensor(node.input[0]), module, *state, transposed=transposed)


# -- activations and arithmetic ----------------------------------------------------------------


def plain(function: Callable[..., Any]) -> Form:
    """For operators that take their tensors in PyTorch's order and have no attributes."""

    def form(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
        return draw.call(function, *map(draw.tensor, node.input))

    return form


def same(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    return draw.tensor(node.input[0])


def clip(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    low, high = draw.constant(node, 1), draw.constant(node, 2)
    x = draw.tensor(node.input[0])
    if low is not None and high is not None:
        return draw.call(F.hardtanh, x, low.item(), high.item())
    limits = (None if limit is None else limit.item() for limit in (low, high))
    return draw.call(torch.clamp, x, *limits)


def hard_sigmoid(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    x, alpha, beta = draw.tensor(node.input[0]), given.get("alpha", 0.2), given.get("beta", 0.5)
    if beta == 0.5 and np.float32(alpha) == np.float32(1 / 6):
        return draw.call(F.hardsigmoid, x)
    line = draw.call(operator.add, draw.call(operator.mul, x, alpha), beta)
    return draw.call(F.hardtanh, line, 0.0, 1.0)


def softmax(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    return draw.call(torch.softmax, draw.tensor(node.input[0]), given.get("axis", -1))


def cast(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    name = TensorProto.DataType.Name(given["to"])
    kind = getattr(torch, {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower()))
    return draw.call(Tensor.to, draw.tensor(node.input[0]), kind)


# -- quantization, emulated in float -----------------------------------------------------------


def quantize(x: Tensor, scale: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
    """The integers of QuantizeLinear, kept in x's type."""
    return torch.clamp(torch.round(x / scale) + zero, low, high)


def dequantize(x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    return (x - zero) * scale


def quantize_linear(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    zero = draw.constant(node, 2)
    limits = np.iinfo(np.uint8 if zero is None else zero.dtype)
    return draw.call(quantize, *_quantized(draw, node, given), limits.min, limits.max)


def dequantize_linear(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    return draw.call(dequantize, *_quantized(draw, node, given))


def _quantized(draw: Drawing, node: onnx.NodeProto, given: Given) -> list[Any]:
    """x, scale and zero point; the two ready to be broadcast along the axis."""
    scale, zero = draw.constant(node, 1), draw.constant(node, 2)
    if scale is None or given.get("block_size", 0):
        raise unsupported(node, "scales per block")
    zero = np.zeros_like(scale) if zero is None else zero.astype(scale.dtype)
    if scale.size > 1:
        axis = given.get("axis", 1) % len(draw.shapes[node.input[0]])
        spread = (-1, *[1] * (len(draw.shapes[node.input[0]]) - axis - 1))
        scale, zero = scale.reshape(spread), zero.reshape(spread)
    name = node.output[0]
    return [
        draw.tensor(node.input[0]),
        draw.buffer(f"{name}.scale", scale),
        draw.buffer(f"{name}.zero", zero),
    ]


# -- windows -----------------------------------------------------------------------------------


def window(
    draw: Drawing, node: onnx.NodeProto, given: Given, kernel: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], Pads]:
    """Kernel, stride, dilation and pads of a convolution or pooling."""
    if len(kernel) != 2:
        raise unsupported(node, "a window that is not two-dimensional")
    stride, dilation = tuple(given.get("strides", (1, 1))), tuple(given.get("dilations", (1, 1)))
    height, width = draw.shapes[node.input[0]][2:]
    pads = conv_pads(given, kernel, stride, dilation, (height, width))
    return kernel, stride, dilation, pads


def padded(draw: Drawing, x: Any, pads: Pads, value: float) -> tuple[Any, tuple[int, int]]:
    """What is left to pad by the layer itself, after uneven pads have been drawn."""
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return x, (top, left)
    return draw.call(F.pad, x, (left, right, top, bottom), "constant", value), (0, 0)


def max_pool(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    if len(node.output) > 1:
        raise unsupported(node, "indices")
    kernel, stride, dilation, pads = window(draw, node, given, tuple(given["kernel_shape"]))
    x, padding = padded(draw, draw.tensor(node.input[0]), pads, float("-inf"))
    ceil = bool(given.get("ceil_mode", 0))
    return draw.call(F.max_pool2d, x, kernel, stride, padding, dilation, ceil)


def average_pool(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    kernel, stride, dilation, pads = window(draw, node, given, tuple(given["kernel_shape"]))
    if dilation != (1, 1):
        raise unsupported(node, "dilations")
    counted = bool(given.get("count_include_pad", 0))
    x, padding = padded(draw, draw.tensor(node.input[0]), pads, 0.0)
    if any(pads) and padding == (0, 0) and not counted:
        raise unsupported(node, "uneven pads that are not counted")
    ceil = bool(given.get("ceil_mode", 0))
    return draw.call(F.avg_pool2d, x, kernel, stride, padding, ceil, counted)


def global_average_pool(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    return draw.call(torch.mean, draw.tensor(node.input[0]), (2, 3), keepdim=True)


def reduce_mean(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    axes, x = draw.constant(node, 1), draw.tensor(node.input[0])
    if axes is None or axes.size == 0:
        if given.get("noop_with_empty_axes", 0):
            return x
        raise unsupported(node, "no axes")
    return draw.call(torch.mean, x, tuple(axes.tolist()), keepdim=bool(given.get("keepdims", 1)))


# -- shapes ------------------------------------------------------------------------------------


def concat(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    return draw.call(torch.cat, [draw.tensor(name) for name in node.input], given["axis"])


def flatten(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    axis = given.get("axis", 1) % len(draw.shapes[node.input[0]])
    if axis != 1:
        raise unsupported(node, f"axis {axis}")
    return draw.call(torch.flatten, draw.tensor(node.input[0]), 1)


def reshape(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    """By the inferred sizes behind the batch, which leads."""
    x, after = draw.tensor(node.input[0]), draw.shapes.get(node.output[0], ())
    if is_flatten(node, draw.shapes):
        return draw.call(torch.flatten, x, 1)
    if not after or not all(after[1:]):
        raise unsupported(node, "sizes that cannot be inferred")
    return draw.call(torch.reshape, x, (-1, *after[1:]))


def squeeze(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    axes = draw.constant(node, 1)
    if axes is None:
        raise unsupported(node, "no axes")
    return draw.call(torch.squeeze, draw.tensor(node.input[0]), tuple(axes.tolist()))


def unsqueeze(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    axes, rank = draw.constant(node, 1), len(draw.shapes[node.output[0]])
    assert axes is not None  # ONNX requires it
    x = draw.tensor(node.input[0])
    for axis in sorted(axes.reshape(-1) % rank):
        x = draw.call(torch.unsqueeze, x, int(axis))
    return x


def transpose(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    backwards = range(len(draw.shapes[node.input[0]]))[::-1]
    order = tuple(given.get("perm", backwards))
    return draw.call(torch.permute, draw.tensor(node.input[0]), order)


def pad(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    pads, value, axes = (draw.constant(node, position) for position in (1, 2, 3))
    rank = len(draw.shapes[node.input[0]])
    if pads is None or given.get("mode", b"constant") != b"constant":
        raise unsupported(node, "a mode that is not constant")
    before, after = np.zeros(rank, int), np.zeros(rank, int)
    where = np.arange(rank) if axes is None else axes
    before[where], after[where] = np.split(pads, 2)
    ends = [int(n) for pair in zip(before[::-1], after[::-1], strict=True) for n in pair]
    while ends and ends[-2:] == [0, 0]:
        del ends[-2:]
    number = 0.0 if value is None else value.item()
    return draw.call(F.pad, draw.tensor(node.input[0]), tuple(ends), "constant", number)


def slice_(draw: Drawing, node: onnx.NodeProto, given: Given) -> Any:
    starts, ends, axes, steps = (draw.constant(node, position) for position in (1, 2, 3, 4))
    assert starts is not None
    assert ends is not None  # ONNX requires both
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones_like(starts) if steps is None else steps
    if (steps < 1).any():
        raise unsupported(node, "a negative step")
    cuts = [slice(None)] * len(draw.shapes[node.input[0]])
    for axis, *cut in zip(*(a.tolist() for a in (axes, starts, ends, steps)), strict=True):
        cuts[axis] = slice(*cut)
    return draw.call(operator.getitem, draw.tensor(node.input[0]), tuple(cuts))


FORMS: dict[str, Form] = {
    "Add": plain(operator.add),
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "DequantizeLinear": dequantize_linear,
    "Div": plain(operator.truediv),
    "Dropout": same,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": plain(F.hardswish),
    "Identity": same,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "Mul": plain(operator.mul),
    "Pad": pad,
    "QuantizeLinear": quantize_linear,
    "ReduceMean": reduce_mean,
    "Relu": plain(torch.relu),
    "Reshape": reshape,
    "Sigmoid": plain(torch.sigmoid),
    "Slice": slice_,
    "Softmax": softmax,
    "Squeeze": squeeze,
    "Sub": plain(operator.sub),
    "Tanh": plain(torch.tanh),
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
