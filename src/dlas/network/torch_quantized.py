"""A network with QuantizeLinear and DequantizeLinear as a PyTorch module that can be trained, and
back: the module holds weights and biases as float32 numbers and rounds the weights in every pass.

Imports torch: import this file inside functions only.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from dlas.errors import Refused
from dlas.network.cleanup import drop_unused
from dlas.network.layers import attributes
from dlas.network.network import Network
from dlas.network.torch_module import Drawing, Link, TorchNetwork
from dlas.network.torch_ops import FORMS, Given, same, unsupported

Array = NDArray[Any]


class FakeQuantization(nn.Module):
    """Every number becomes the nearest scale · (q - zero) with q an 8-bit integer. Backwards,
    rounding is passed through and saturation stops the gradient (Jacob et al. 2018, section 3). A
    ``learned`` scale gets the gradient and its factor of Esser et al. 2020 ("LSQ", section 2.2)."""

    scale: Tensor
    zero: Tensor

    def __init__(self, scale: Array, zero: Array, rank: int, axis: int, learned: bool) -> None:
        super().__init__()
        self.spread = [1] * rank
        self.spread[axis] = -1
        tensor = torch.from_numpy(scale.copy())
        limits = np.iinfo(zero.dtype)
        self.low, self.high = int(limits.min), int(limits.max)
        self.register_buffer("zero", torch.from_numpy(zero.astype(np.float32)))
        if learned:
            self.scale = nn.Parameter(tensor)
        else:
            self.register_buffer("scale", tensor)

    def forward(self, x: Tensor) -> Tensor:
        scale, zero = self.steps()
        if scale.requires_grad:
            sharing = x.numel() // scale.numel()
            factor = 1 / math.sqrt(sharing * (self.high - self.low) / 2)
            scale.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
        return (self.levels(x, scale, zero) - zero) * scale

    def steps(self) -> tuple[Tensor, Tensor]:
        """Scale, positive also where training overshot, and zero point, ready to be broadcast."""
        scale = self.scale.abs().clamp_min(torch.finfo(torch.float32).tiny)
        return scale.reshape(self.spread), self.zero.reshape(self.spread)

    def levels(self, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        """q, as float32."""
        position = x / scale
        nearest = position + (position.round() - position).detach()
        return torch.clamp(nearest + zero, self.low, self.high)


def to_trainable(network: Network, *, learned: bool) -> TorchNetwork:
    """The module in training mode; ``learned`` makes scales parameters too. Links of a weight name
    the initializer of its integers. Raises Refused for an operator without PyTorch form."""
    module = _QuantizedDrawing(network.model, learned).finished()
    module.requires_grad_(True)
    module.train(True)
    return module


def write_integers(network: Network, module: TorchNetwork) -> Network:
    """The network, its graph as it was, with the module's weights, biases and scales in integers
    and scales of the same types."""
    return _Writing(network, module).finished()


class _QuantizedDrawing(Drawing):
    def __init__(self, model: onnx.ModelProto, learned: bool) -> None:
        super().__init__(model)
        self.forms = FORMS | {"QuantizeLinear": self._activation, "DequantizeLinear": same}
        self.learned = learned
        self.stored = dict(self.constants)
        self.quantizers: dict[tuple[str, ...], str] = {}

    def _activation(self, draw: Drawing, node: onnx.NodeProto, given: Given) -> fx.Node:
        """Tensors that share a scale, as those around a pooling, share the module."""
        parameters = tuple(node.input[1:])
        if parameters not in self.quantizers:
            scale, zero = (self.constants.get(name) for name in parameters)
            if scale is None or zero is None or scale.size > 1:
                raise unsupported(node, "anything but one constant scale and zero point")
            path = self._path(parameters[0])
            self.attributes[path] = FakeQuantization(scale, zero, 1, 0, self.learned)
            self.quantizers[parameters] = path
            self._link_scale(path, parameters[0], node)
        return self.graph.call_module(self.quantizers[parameters], (self.tensor(node.input[0]),))

    def _link_scale(self, path: str, scale: str, node: onnx.NodeProto) -> None:
        if self.learned:
            shape = self.stored[scale].shape
            self.links.append(Link(path, "scale", scale, node.output[0], 1, shape, False))

    def finished(self) -> TorchNetwork:
        module = super().finished()
        dequantized = {n.output[0]: n for n in self.model.graph.node if n.input[0] in self.stored}
        drawn, self.links = self.links, []
        for link in drawn:
            node = dequantized.get(link.tensor)
            if link.name == "weight" and node is not None and node.op_type == "DequantizeLinear":
                link = self._weight(module, link, node)
            self.links.append(link)
        tensors = [link.tensor for link in self.links if link.name == "original"]
        if len(set(tensors)) < len(tensors):
            raise Refused("two layers share a quantized weight; training would make them two")
        module.links = tuple(self.links)
        return module

    def _weight(self, module: TorchNetwork, link: Link, node: onnx.NodeProto) -> Link:
        scale, zero = (self.stored[name] for name in node.input[1:])
        axis = int(attributes(node).get("axis", 1)) % len(link.shape)
        axis = len(link.shape) - 1 - axis if link.transposed else axis
        rounding = FakeQuantization(scale, zero, len(link.shape), axis, self.learned)
        layer = module.get_submodule(link.layer)
        parametrize.register_parametrization(layer, "weight", rounding)
        path = f"{link.layer}.parametrizations.weight"
        self._link_scale(f"{path}.0", node.input[1], node)
        return replace(link, layer=path, name="original", tensor=node.input[0])


class _Writing:
    def __init__(self, network: Network, module: TorchNetwork) -> None:
        self.model, self.module = network.edited(), module
        self.before = network.initializers
        self.after: dict[str, Array] = {}
        self.producers = {name: n for n in self.model.graph.node for name in n.output}

    def finished(self) -> Network:
        # Biases take their scale from those of the data and the weight, so they come last.
        for link in sorted(self.module.links, key=lambda link: link.name == "bias"):
            layer = self.module.get_submodule(link.layer)
            value = getattr(layer, link.name)
            if link.name == "scale":
                assert isinstance(layer, FakeQuantization)
                self.after[link.tensor] = layer.steps()[0].detach().numpy().reshape(link.shape)
            elif link.name == "original":
                rounding = layer[0]  # type: ignore[index]
                levels = rounding.levels(value, *rounding.steps())
                self.after[link.tensor] = link.to_onnx(levels).astype(
                    self.before[link.tensor].dtype
                )
            elif link.name == "bias" and link.tensor not in self.before:
                self._bias(link, link.to_onnx(value))
            else:
                self.after[link.tensor] = link.to_onnx(value)
        for tensor in self.model.graph.initializer:
            if tensor.name in self.after:
                tensor.CopyFrom(numpy_helper.from_array(self.after[tensor.name], tensor.name))
        drop_unused(self.model)
        return Network(self.model)

    def _bias(self, link: Link, bias: Array) -> None:
        """32-bit integers, in steps of the product of the data's and the weight's scale."""
        integers, name, *_ = self.producers[link.tensor].input
        layer = self.producers[link.node]
        scale = self.before[name].astype(np.float64)
        for operand in layer.input[:2]:
            factor = self.producers[operand].input[1]
            scale = scale * (self.after.get(factor, self.before[factor]) / self.before[factor])
        limits = np.iinfo(np.int32)
        self.after[name] = scale.astype(np.float32)
        levels = np.clip(np.rint(bias / scale), limits.min, limits.max)
        self.after[integers] = levels.astype(np.int32)
