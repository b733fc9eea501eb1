"""``Builder``: draws a network as an ONNX graph, layer by layer, with seeded initial weights.

Initializers are named as PyTorch names parameters (``layer1.0.conv1.weight``,
``bn1.running_mean``), so that published weights load by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dlas.network.network import OPSET, Network

Pair = int | tuple[int, int]


class Builder:
    """Methods take and return tensor names; ``shape`` of a tensor is kept as (C, H, W)."""

    def __init__(self, input_shape: tuple[int, int, int], seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {"input": input_shape}
        self.random = np.random.default_rng(seed)
        self.input_shape = input_shape

    # -- layers with weights -------------------------------------------------------------------

    def conv(
        self, x: str, name: str, channels: int, kernel: Pair, stride: Pair = 1,
        pad: Pair | None = None, groups: int = 1, dilation: Pair = 1, bias: bool = False,
    ) -> str:  # fmt: skip
        """Convolution; ``pad`` defaults to (dilation · (kernel - 1)) // 2. Kaiming normal, fan out."""
        c, h, w = self.shapes[x]
        (kh, kw), (sh, sw), (dh, dw) = _pair(kernel), _pair(stride), _pair(dilation)
        ph, pw = (dh * (kh - 1) // 2, dw * (kw - 1) // 2) if pad is None else _pair(pad)
        fan_out = channels // groups * kh * kw
        weight = self.random.normal(0, math.sqrt(2 / fan_out), (channels, c // groups, kh, kw))
        inputs = [x, self.constant(f"{name}.weight", weight)]
        if bias:
            inputs.append(self.constant(f"{name}.bias", np.zeros(channels)))
        y = self.node(
            "Conv", inputs, name, kernel_shape=[kh, kw], strides=[sh, sw], pads=[ph, pw, ph, pw],
            group=groups, dilations=[dh, dw],
        )  # fmt: skip
        oh = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1
        ow = (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
        self.shapes[y] = (channels, oh, ow)
        return y

    def batch_norm(self, x: str, name: str, epsilon: float = 1e-5) -> str:
        c = self.shapes[x][0]
        values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        inputs = [x, *(self.constant(f"{name}.{k}", np.full(c, v)) for k, v in values.items())]
        return self.same(self.node("BatchNormalization", inputs, name, epsilon=epsilon), x)

    def dense(self, x: str, name: str, features: int) -> str:
        """(in) → (features), bias included. PyTorch's default initialization."""
        (inputs,) = self.shapes[x]
        bound = 1 / math.sqrt(inputs)
        weight = self.constant(f"{name}.weight", self.random.uniform(-bound, bound, (features, inputs)))
        bias = self.constant(f"{name}.bias", self.random.uniform(-bound, bound, features))
        y = self.node("Gemm", [x, weight, bias], name, transB=1)
        self.shapes[y] = (features,)
        return y

    # -- activations and arithmetic ------------------------------------------------------------

    def relu(self, x: str) -> str:
        return self.same(self.node("Relu", [x]), x)

    def relu6(self, x: str) -> str:
        limits = [self.constant("zero", np.array(0.0)), self.constant("six", np.array(6.0))]
        return self.same(self.node("Clip", [x, *limits]), x)

    def sigmoid(self, x: str) -> str:
        return self.same(self.node("Sigmoid", [x]), x)

    def silu(self, x: str) -> str:
        return self.mul(x, self.sigmoid(x))

    def hard_swish(self, x: str) -> str:
        return self.same(self.node("HardSwish", [x]), x)

    def add(self, x: str, y: str) -> str:
        return self.same(self.node("Add", [x, y]), x)

    def mul(self, x: str, y: str) -> str:
        """x · y, where y may be (C, 1, 1)."""
        return self.same(self.node("Mul", [x, y]), x)

    def concat(self, xs: Sequence[str]) -> str:
        """Along channels."""
        y = self.node("Concat", list(xs), axis=1)
        self.shapes[y] = (sum(self.shapes[x][0] for x in xs), *self.shapes[xs[0]][1:])
        return y

    # -- shapes and pooling --------------------------------------------------------------------

    def max_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        return self._pool("MaxPool", x, kernel, stride, pad)

    def average_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        return self._pool("AveragePool", x, kernel, stride, pad)

    def global_average_pool(self, x: str) -> str:
        """(C, H, W) → (C, 1, 1)."""
        y = self.node("GlobalAveragePool", [x])
        self.shapes[y] = (self.shapes[x][0], 1, 1)
        return y

    def flatten(self, x: str) -> str:
        y = self.node("Flatten", [x], axis=1)
        self.shapes[y] = (math.prod(self.shapes[x]),)
        return y

    def subsample(self, x: str, step: int) -> str:
        """Every ``step``-th row and column, as option-A shortcuts do (He et al. 2015, section 4.2)."""
        limits = {"starts": [0, 0], "ends": [2**31 - 1] * 2, "axes": [2, 3], "steps": [step, step]}
        inputs = [self.integers(f"subsample{step}.{key}", value) for key, value in limits.items()]
        y = self.node("Slice", [x, *inputs])
        c, h, w = self.shapes[x]
        self.shapes[y] = (c, -(-h // step), -(-w // step))
        return y

    def pad_channels(self, x: str, before: int, after: int) -> str:
        """Zero channels on both sides."""
        pads = self.integers(f"pad_channels{before}_{after}", [0, before, 0, 0, 0, after, 0, 0])
        y = self.node("Pad", [x, pads])
        self.shapes[y] = (self.shapes[x][0] + before + after, *self.shapes[x][1:])
        return y

    # -- the graph -----------------------------------------------------------------------------

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = value.astype(np.float32)
        return name

    def integers(self, name: str, value: Sequence[int]) -> str:
        self.constants[name] = np.asarray(value, np.int64)
        return name

    def node(self, op: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        name = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name + ".out"], name, **attributes))
        return name + ".out"

    def same(self, y: str, x: str) -> str:
        self.shapes[y] = self.shapes[x]
        return y

    def network(self, scores: str) -> Network:
        """The finished network; ``scores`` is its (classes,) output."""
        assert self.nodes[-1].output[0] == scores, "the scores come last"
        self.nodes[-1].output[0] = "logits"
        given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *self.input_shape])
        result = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", *self.shapes[scores]])
        weights = [numpy_helper.from_array(v, k) for k, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, "network", [given], [result], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        onnx.checker.check_model(model)
        return Network(model)

    def _pool(self, op: str, x: str, kernel: int, stride: int, pad: int) -> str:
        y = self.node(
            op, [x], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
        )  # padded zeros are not counted in averages: ONNX's default
        c, h, w = self.shapes[x]
        self.shapes[y] = (c, (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1)
        return y


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
