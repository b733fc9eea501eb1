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
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from dlas.errors import Refused
from dlas.network.network import Network
from dlas.network.opening import BATCH, IR_VERSION, OPSET

Pair = int | tuple[int, int]
INPUT, OUTPUT = "input", "logits"


class Builder:
    """Methods take and return tensor names, the image's being ``"input"``; ``shapes`` has every
    tensor's shape without the batch, (C, H, W) or (features,).

    The same calls with the same ``seed`` draw the same weights."""

    def __init__(self, input_shape: tuple[int, int, int], seed: int = 0, name: str = "net") -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {INPUT: input_shape}
        self.random = np.random.default_rng(seed)

    # -- layers with weights -------------------------------------------------------------------

    def conv(  # noqa: PLR0913  a convolution has these
        self,
        x: str,
        name: str,
        channels: int,
        kernel: Pair,
        stride: Pair = 1,
        pad: Pair | None = None,
        groups: int = 1,
        dilation: Pair = 1,
        bias: bool = False,
    ) -> str:
        """Convolution; ``pad`` on each side defaults to dilation · (kernel - 1) // 2.

        Weights are normal with variance 2 / fan out (He et al. 2015, "Delving Deep into
        Rectifiers", eq. 14), biases zero. Refused where the image is smaller than the kernel."""
        c, h, w = self.shapes[x]
        (kh, kw), (sh, sw), (dh, dw) = _pair(kernel), _pair(stride), _pair(dilation)
        ph, pw = (dh * (kh - 1) // 2, dw * (kw - 1) // 2) if pad is None else _pair(pad)
        fan_out = channels // groups * kh * kw
        weight = self.random.normal(0, math.sqrt(2 / fan_out), (channels, c // groups, kh, kw))
        inputs = [x, self.constant(f"{name}.weight", weight)]
        if bias:
            inputs.append(self.constant(f"{name}.bias", np.zeros(channels)))
        y = self.node(
            "Conv",
            inputs,
            name,
            kernel_shape=[kh, kw],
            strides=[sh, sw],
            pads=[ph, pw, ph, pw],
            group=groups,
            dilations=[dh, dw],
        )
        oh = self._slid(x, h, dh * (kh - 1) + 1, sh, ph)
        ow = self._slid(x, w, dw * (kw - 1) + 1, sw, pw)
        return self.shaped(y, (channels, oh, ow))

    def batch_norm(self, x: str, name: str, epsilon: float = 1e-5) -> str:
        c = self.shapes[x][0]
        values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        inputs = [x, *(self.constant(f"{name}.{k}", np.full(c, v)) for k, v in values.items())]
        return self.same(self.node("BatchNormalization", inputs, name, epsilon=epsilon), x)

    def dense(self, x: str, name: str, features: int, std: float | None = None) -> str:
        """(in) → (features), bias included. Weights and biases are uniform within ±1 / √in, as
        PyTorch has them; with ``std``, weights are normal and biases zero."""
        (inputs,) = self.shapes[x]
        if std is None:
            bound = 1 / math.sqrt(inputs)
            weight = self.random.uniform(-bound, bound, (features, inputs))
            bias = self.random.uniform(-bound, bound, features)
        else:
            weight, bias = self.random.normal(0, std, (features, inputs)), np.zeros(features)
        given = [x, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        return self.shaped(self.node("Gemm", given, name, transB=1), (features,))

    # -- activations and arithmetic ------------------------------------------------------------

    def relu(self, x: str) -> str:
        return self.same(self.node("Relu", [x]), x)

    def relu6(self, x: str) -> str:
        limits = [self.constant("zero", 0.0), self.constant("six", 6.0)]
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
        channels = sum(self.shapes[x][0] for x in xs)
        return self.shaped(self.node("Concat", xs, axis=1), (channels, *self.shapes[xs[0]][1:]))

    # -- shapes and pooling --------------------------------------------------------------------

    def max_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        """Refused where the image is smaller than the kernel."""
        return self._pool("MaxPool", x, kernel, stride, pad)

    def average_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        """Padded zeros are not counted. Refused where the image is smaller than the kernel."""
        return self._pool("AveragePool", x, kernel, stride, pad)

    def global_average_pool(self, x: str) -> str:
        """(C, H, W) → (C, 1, 1)."""
        return self.shaped(self.node("GlobalAveragePool", [x]), (self.shapes[x][0], 1, 1))

    def flatten(self, x: str) -> str:
        """(C, H, W) → (C · H · W,)."""
        return self.shaped(self.node("Flatten", [x], axis=1), (math.prod(self.shapes[x]),))

    def subsample(self, x: str, step: int) -> str:
        """Every ``step``-th row and column, as option-A shortcuts do (He et al. 2015, "Deep
        Residual Learning", section 4.2)."""
        limits = {"starts": [0, 0], "ends": [2**31 - 1] * 2, "axes": [2, 3], "steps": [step] * 2}
        inputs = [self.integers(f"subsample{step}.{key}", value) for key, value in limits.items()]
        c, h, w = self.shapes[x]
        return self.shaped(self.node("Slice", [x, *inputs]), (c, -(-h // step), -(-w // step)))

    def pad_channels(self, x: str, before: int, after: int) -> str:
        """Zero channels on both sides."""
        sides = [0, before, 0, 0, 0, after, 0, 0]
        pads = self.integers(f"pad_channels{before}_{after}", sides)
        c, h, w = self.shapes[x]
        return self.shaped(self.node("Pad", [x, pads]), (c + before + after, h, w))

    # -- the graph -----------------------------------------------------------------------------

    def constant(self, name: str, value: ArrayLike) -> str:
        self.constants[name] = np.asarray(value, np.float32)
        return name

    def integers(self, name: str, value: Sequence[int]) -> str:
        self.constants[name] = np.asarray(value, np.int64)
        return name

    def node(self, op: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """Any operator with one output. Its shape is still to be said: ``shaped`` or ``same``."""
        name = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name + ".out"], name, **attributes))
        return name + ".out"

    def shaped(self, y: str, shape: tuple[int, ...]) -> str:
        self.shapes[y] = shape
        return y

    def same(self, y: str, x: str) -> str:
        return self.shaped(y, self.shapes[x])

    def network(self, scores: str) -> Network:
        """The finished network; ``scores`` is its (classes,) output, drawn last."""
        assert self.nodes[-1].output[0] == scores, "the scores come last"
        self.nodes[-1].output[0] = OUTPUT
        given, result = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, *self.shapes[tensor]])
            for name, tensor in ((INPUT, INPUT), (OUTPUT, scores))
        )
        weights = [numpy_helper.from_array(v, k) for k, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, self.name, [given], [result], weights)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="dlas"
        )
        onnx.checker.check_model(model)
        return Network(model)

    def _pool(self, op: str, x: str, kernel: int, stride: int, pad: int) -> str:
        c, h, w = self.shapes[x]
        oh, ow = (self._slid(x, size, kernel, stride, pad) for size in (h, w))
        y = self.node(op, [x], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        return self.shaped(y, (c, oh, ow))

    def _slid(self, x: str, size: int, window: int, stride: int, pad: int) -> int:
        """How often a window fits along one side."""
        if size + 2 * pad < window:
            _, h, w = self.shapes[x]
            raise Refused(
                f"{self.name} needs larger images: a {window}-wide window does not fit "
                f"a {h}×{w} feature map"
            )
        return (size + 2 * pad - window) // stride + 1


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
