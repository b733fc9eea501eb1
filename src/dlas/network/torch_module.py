"""A network as a PyTorch module, and back: drawn from the ONNX graph, trained or pruned there, and
written into the same graph again.

Imports torch: import this file inside functions only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, fx, nn

from dlas.errors import Refused
from dlas.network.channels import dense_with_bias, is_flatten
from dlas.network.cleanup import drop_unused
from dlas.network.layers import attributes, tensor_shapes
from dlas.network.network import Network
from dlas.network.torch_ops import FORMS, Form, State, describe


@dataclass(frozen=True)
class Link:
    """A parameter or statistic of the module and its place in the ONNX graph.

    ``layer``: the submodule's path, ``name``: its attribute; ``tensor``: the initializer's name;
    ``node``: the reading node's first output; ``position``: the place among the node's inputs;
    ``shape``: what it had in the graph; ``transposed``: the module holds the transposed matrix."""

    layer: str
    name: str
    tensor: str
    node: str
    position: int
    shape: tuple[int, ...]
    transposed: bool

    @property
    def parameter(self) -> str:
        """The name in the module's ``state_dict``."""
        return f"{self.layer}.{self.name}"

    def to_torch(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(array.T if self.transposed else array, order="C"))

    def to_onnx(self, value: Tensor) -> NDArray[Any]:
        array: NDArray[Any] = value.detach().contiguous().numpy()
        return np.array(array.T if self.transposed else array, order="C")


class TorchNetwork(fx.GraphModule):
    """(N, C, H, W) float32 → (N, classes) float32.

    ``links`` tie its state to initializers. An initializer that several nodes read is a parameter
    per node: exporters merge equal constants, which does not mean that they are one."""

    links: tuple[Link, ...]


def to_torch(network: Network, *, trainable: bool) -> TorchNetwork:
    """The network in PyTorch: in training mode with gradients, or for inference without.

    QuantizeLinear and DequantizeLinear are emulated in float with ONNX's semantics (round half to
    even, saturate). Constants that are not a layer's stay as they are in training. Raises Refused
    for an operator without PyTorch form, and for training in anything but float32."""
    if trainable and network.dtype != "float32":
        raise Refused(f"training takes a float32 network; this one's layers are {network.dtype}")
    module = Drawing(network.model).finished()
    module.requires_grad_(trainable)
    module.train(trainable)
    return module


def write_back(network: Network, module: TorchNetwork) -> Network:
    """The network with the state of its module, whose channels may have become fewer.

    A Reshape that flattens becomes Flatten when they have: its constant names the old number."""
    model = network.edited()
    nodes = {node.output[0]: node for node in model.graph.node}
    computed = {name for node in model.graph.node for name in node.output}
    linked = {(link.node, link.position) for link in module.links}
    values = {
        name: network.initializers[name]
        for node in model.graph.node
        for position, name in enumerate(node.input)
        if name in network.initializers and (node.output[0], position) not in linked
    }
    state = module.state_dict()
    narrower = False
    for link in module.links:
        value, name, node = link.to_onnx(state[link.parameter]), link.tensor, nodes[link.node]
        while name in computed or (name in values and not _same(values[name], value)):
            name += "_"
        values[name] = value
        node.input[link.position] = name
        narrower |= value.shape != link.shape
        _set_groups(node, module.get_submodule(link.layer))
    _store(model.graph, values)
    if narrower:
        _flatten_without_sizes(model.graph, tensor_shapes(network.model))
    drop_unused(model)
    return Network(model)


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """To the bit."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _set_groups(node: onnx.NodeProto, layer: nn.Module) -> None:
    for attribute in node.attribute:
        if attribute.name == "group" and isinstance(layer, nn.Conv2d):
            attribute.i = layer.groups


def _store(graph: onnx.GraphProto, values: dict[str, NDArray[Any]]) -> None:
    known = {tensor.name: tensor for tensor in graph.initializer}
    for name, value in values.items():
        if name not in known:
            graph.initializer.append(numpy_helper.from_array(value, name))
        elif not _same(numpy_helper.to_array(known[name]), value):
            known[name].CopyFrom(numpy_helper.from_array(value, name))


def _flatten_without_sizes(graph: onnx.GraphProto, shapes: dict[str, tuple[int, ...]]) -> None:
    for node in graph.node:
        if node.op_type == "Reshape" and is_flatten(node, shapes):
            flatten = helper.make_node("Flatten", node.input[:1], node.output, node.name, axis=1)
            node.CopyFrom(flatten)


_TAKEN = ("graph", "links", "meta", "training")


class Drawing:
    """The PyTorch graph in the making: the forms of ``torch_ops`` read ONNX tensors from it by name
    and draw on it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.graph = fx.Graph()
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.shapes = tensor_shapes(model)
        self.drawn: dict[str, Any] = {}
        self.attributes: dict[str, nn.Module | Tensor] = {}
        self.links: list[Link] = []
        self.forms: Mapping[str, Form] = FORMS
        #: First output of a dense layer's MatMul → the Add of its bias.
        self.biases: dict[str, onnx.NodeProto] = {}

    # -- for the forms -------------------------------------------------------------------------

    def constant(self, node: onnx.NodeProto, position: int) -> NDArray[Any] | None:
        """An input's value; None where the node has no such input. Refused where it is computed."""
        name = node.input[position] if position < len(node.input) else ""
        if name and name not in self.constants:
            raise Refused(
                f"{describe(node)} computes its input {name}; dlas's PyTorch form needs a constant"
            )
        return self.constants[name] if name else None

    def tensor(self, name: str) -> Any:
        """An operand: what is drawn, or a constant (as a number where it has no dimensions)."""
        if name not in self.drawn:
            array = self.constants[name]
            if array.ndim == 0:
                return array.item()
            self.drawn[name] = self.buffer(name, array)
        return self.drawn[name]

    def buffer(self, name: str, array: NDArray[Any]) -> fx.Node:
        """A constant of the module."""
        path = self._path(name)
        self.attributes[path] = torch.from_numpy(array.copy())
        return self.graph.get_attr(path)

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> fx.Node:
        return self.graph.call_function(function, args, options)

    def layer(self, x: Any, module: nn.Module, *state: State, transposed: bool = False) -> fx.Node:
        """Apply a submodule whose ``state`` (attribute, node, input's position) are constants.

        ``transposed``: it holds the transpose of its weight's constant."""
        _, first, position = state[0]
        path = self._path(first.input[position].removesuffix(".weight"))
        for name, node, position in state:
            array, turned = self.constants[node.input[position]], transposed and name == "weight"
            where = node.input[position], node.output[0], position
            link = Link(path, name, *where, array.shape, turned)
            tensor = link.to_torch(array)
            setattr(module, name, tensor if name.startswith("running") else nn.Parameter(tensor))
            self.links.append(link)
        self.attributes[path] = module
        return self.graph.call_module(path, (x,))

    # -- the whole graph -----------------------------------------------------------------------

    def finished(self) -> TorchNetwork:
        nodes = self._folded_and_needed()
        self.biases = {m.output[0]: add for m, add in dense_with_bias(self.model, self.constants)}
        added = {add.output[0]: name for name, add in self.biases.items()}
        self.drawn[self.model.graph.input[0].name] = self.graph.placeholder("images")
        for node in nodes:
            if node.output[0] in added:
                self.drawn[node.output[0]] = self.drawn[added[node.output[0]]]
            elif node.op_type in self.forms and node.domain in ("", "ai.onnx"):
                self.drawn[node.output[0]] = self.forms[node.op_type](self, node, attributes(node))
            else:
                raise Refused(
                    f"the network has the operator {node.op_type}, for which dlas has no PyTorch "
                    "form; the systems onnxruntime and openvino run it"
                )
        self.graph.output(self.drawn[self.model.graph.output[0].name])
        module = TorchNetwork(self.attributes, self.graph, "TorchNetwork")
        module.links = tuple(self.links)
        return module

    def _folded_and_needed(self) -> list[onnx.NodeProto]:
        """Compute what depends on constants alone; of the rest, what the output depends on."""
        rest = []
        for node in self.model.graph.node:
            if all(name in self.constants for name in node.input if name):
                self.constants |= _evaluate(node, self.model, self.constants)
            else:
                rest.append(node)
        wanted = {self.model.graph.output[0].name}
        needed = []
        for node in reversed(rest):
            if wanted.intersection(node.output):
                needed.append(node)
                # A Reshape's sizes are inferred: they may be computed from the batch's.
                wanted.update(node.input[:1] if node.op_type == "Reshape" else node.input)
        return needed[::-1]

    def _path(self, name: str) -> str:
        """A free attribute path near the ONNX name; links say which is which."""
        parts = [re.sub(r"\W", "_", part) for part in name.split(".") if part]
        path = ".".join(parts)
        clash = not parts or parts[0] in _TAKEN or hasattr(fx.GraphModule, parts[0])
        for other in self.attributes:
            clash |= f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")
        return f"tensor_{len(self.attributes)}" if clash else path


def _evaluate(
    node: onnx.NodeProto, model: onnx.ModelProto, constants: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """The node's outputs, by ONNX's reference implementation."""
    given = {name: constants[name] for name in node.input if name}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for name, v in given.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    results = ReferenceEvaluator(alone).run(None, given)
    return dict(zip(node.output, map(np.asarray, results), strict=True))
