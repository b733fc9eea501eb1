"""How channels pass through one operator: which of its output's are always zero, which have to stay
where others stay, and what is left of its constants when the others go.

A channel is a slice along axis 1 of a tensor: a feature map of (N, C, H, W), a number of (N, C).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from dlas.network.channels import Constants, Shapes, along_channels, spatial_axes
from dlas.network.layers import attributes

Array = NDArray[Any]
Mask = NDArray[np.bool_]  # (channels,)
Masks = Mapping[str, Mask]  # by the tensor's name

#: Operators of one tensor that leave every channel in its place, and make zero of zero.
KEEPING_ZERO = frozenset({
    "Abs", "AveragePool", "Cast", "Dropout", "Elu", "Erf", "Gelu", "GlobalAveragePool",
    "GlobalMaxPool", "HardSwish", "Identity", "LeakyRelu", "MaxPool", "Mish", "Neg", "Relu",
    "Selu", "Softsign", "Sqrt", "Tanh",
})  # fmt: skip
#: The same, but zero becomes something else.
LOSING_ZERO = frozenset({"Exp", "HardSigmoid", "Sigmoid", "Softplus"})
#: The same where the axes that this input names are rows or columns.
SPATIAL = {
    "ReduceMax": 1, "ReduceMean": 1, "ReduceSum": 1, "Slice": 3, "Squeeze": 1, "Unsqueeze": 1,
}  # fmt: skip

#: Operators of several tensors, and whether their result is zero where all operands are, any is, or
#: the first is.
ZERO_IF = {
    "Add": "all", "Div": "first", "Max": "all", "Min": "all", "Mul": "any", "PRelu": "first",
    "Sub": "all",
}  # fmt: skip


def channel_flow(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> Flow | None:
    """How channels pass through the node; None where that is not known."""
    names = [name for name in (*node.input, *node.output) if name and name not in constants]
    if sum(map(bool, node.output)) != 1 or node.output[0] not in names:
        return None
    if any(len(shapes.get(name, ())) < 2 or 0 in shapes[name] for name in names):
        return None
    if node.op_type in KEEPING_ZERO | LOSING_ZERO | SPATIAL.keys() | {"Clip"}:
        return _in_place(node, shapes, constants)
    make = _MAKERS.get(node.op_type)
    return make(node, shapes, constants) if make else None


class Flow(ABC):
    """A node through which channels are followed. ``zero`` and ``keep`` have a mask of every
    tensor: channels that are zero for every image, and those that have to stay."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.output = str(node.output[0])

    @abstractmethod
    def zeros(self, zero: Masks) -> Mask:
        """The channels of the output that are always zero."""

    @abstractmethod
    def needs(self, zero: Masks, keep: Masks) -> Iterator[tuple[str, Mask]]:
        """Tensors, and which of their channels have to stay because those of ``keep`` do."""

    def cut(self, node: onnx.NodeProto, keep: Masks) -> dict[int, Array]:
        """Inputs of the node that are constants, by position, with nothing left but what belongs
        to the channels that stay; attributes are changed in place."""
        return {}


# -- operators of which each output reads its own channel ------------------------------------------


@dataclass(frozen=True)
class Link:
    """Where an operand's channels go. ``source``: (channels of the output,) the operand's channel
    that each reads, or -1. ``repeated``: all read the same one, by broadcasting."""

    tensor: str
    source: NDArray[np.intp]
    repeated: bool = False


class Linked(Flow):
    """Channels stay apart, so those that are linked stay or go together."""

    def __init__(self, node: onnx.NodeProto, links: Sequence[Link], keeps_zero: bool = True):
        super().__init__(node)
        self.links, self.keeps_zero = links, keeps_zero

    def zeros(self, zero: Masks) -> Mask:
        """What reads no channel, as padding does, is zero."""
        found = [zero[link.tensor][link.source] | (link.source < 0) for link in self.links]
        return np.asarray(np.all(found, axis=0) & self.keeps_zero)

    def needs(self, zero: Masks, keep: Masks) -> Iterator[tuple[str, Mask]]:
        for link in self.links:
            operand, reads = keep[link.tensor], link.source >= 0
            read = link.source[reads & keep[self.output]]
            yield link.tensor, np.bincount(read, minlength=len(operand)) > 0
            if not link.repeated:
                yield self.output, reads & operand[link.source]


class Reshaped(Linked):
    """Rows and columns become channels, or the other way round; a Flatten or a Reshape."""

    def __init__(self, node: onnx.NodeProto, links: Sequence[Link], image: Sequence[int]) -> None:
        super().__init__(node, links)
        self.image = image

    def cut(self, node: onnx.NodeProto, keep: Masks) -> dict[int, Array]:
        if node.op_type == "Flatten" or keep[self.output].all():
            return {}
        return {1: np.array([0, -1, *self.image], np.int64)}


class Padded(Linked):
    """Zeros around rows and columns, and channels of zeros before and after the others."""

    def __init__(self, node: onnx.NodeProto, links: Sequence[Link], pads: Array) -> None:
        super().__init__(node, links)
        self.pads = pads

    def cut(self, node: onnx.NodeProto, keep: Masks) -> dict[int, Array]:
        stays, pads = keep[self.output], self.pads.copy()
        before, after = 1, len(pads) // 2 + 1
        pads[before] = stays[: pads[before]].sum()
        pads[after] = stays[len(stays) - pads[after] :].sum()
        return {1: pads}


class Elementwise(Linked):
    """Sums, products and the like. ``constants``: the operands that are constants, by position;
    ``axes``: how many the output has."""

    def __init__(
        self, node: onnx.NodeProto, links: Sequence[Link], constants: Mapping[int, Array], axes: int
    ) -> None:
        divisor = constants.get(1)
        divides = node.op_type == "Div"
        super().__init__(node, links, not divides or bool(divisor is not None and divisor.all()))
        self.op, self.constants, self.axes = node.op_type, constants, axes
        self.places = range(len(node.input))

    def zeros(self, zero: Masks) -> Mask:
        tensors = iter(zero[link.tensor][link.source] for link in self.links)
        given = [
            self._zero_channels(place) if place in self.constants else next(tensors)
            for place in self.places
        ]
        zero_operands = np.stack(np.broadcast_arrays(*given))  # (operands, channels)
        if ZERO_IF[self.op] == "first":
            return np.asarray(zero_operands[0] & self.keeps_zero)
        return _any(zero_operands, 0) if ZERO_IF[self.op] == "any" else ~_any(~zero_operands, 0)

    def cut(self, node: onnx.NodeProto, keep: Masks) -> dict[int, Array]:
        stays, found = keep[self.output], {}
        for place, constant in self.constants.items():
            axis = constant.ndim - self.axes + 1
            if axis >= 0 and constant.shape[axis] == len(stays):
                found[place] = constant.compress(stays, axis)
        return found

    def _zero_channels(self, place: int) -> Mask:
        """(channels,) or (1,)."""
        constant = self.constants[place]
        aligned = constant.reshape((1,) * (self.axes - constant.ndim) + constant.shape)
        return ~_any(aligned, (0, *range(2, self.axes)))


# -- layers: every output of a group reads every input of it ---------------------------------------


class Mixing(Flow):
    """A convolution or a dense layer. ``weight``: (G, K/G, C/G, ...), where K outputs read C inputs
    in G groups; ``bias``: the constants added to each output, along the last axis, or None."""

    def __init__(
        self, node: onnx.NodeProto, weight: Array, bias: Array | None, transposed: bool = False
    ) -> None:
        super().__init__(node)
        self.input = str(node.input[0])
        self.weight, self.bias, self.transposed = weight, bias, transposed
        self.groups, outputs, inputs = weight.shape[:3]
        self.nonzero = _any(weight.reshape(self.groups, outputs, inputs, -1), 3)

    def zeros(self, zero: Masks) -> Mask:
        silent = ~_any(self._reads(zero), 2).reshape(-1)
        if self.bias is not None:
            silent &= ~_any(self.bias.reshape(-1, self.bias.shape[-1]), 0)
        return silent

    def needs(self, zero: Masks, keep: Masks) -> Iterator[tuple[str, Mask]]:
        written = self._by_group(self.output, keep)[:, :, None]
        yield self.input, _any(self._reads(zero) & written, 1).reshape(-1)

    def level(self, keep: Masks) -> Iterator[tuple[str, Mask]]:
        """What has to stay besides ``keep``, so that groups of which anything stays have equally
        many inputs and outputs, at least one: the first ones. At least one group stays."""
        inputs, outputs = self._by_group(self.input, keep), self._by_group(self.output, keep)
        stays = _any(inputs, 1) | _any(outputs, 1)
        if not stays.any():
            stays[0] = True
        for name, mask in ((self.input, inputs), (self.output, outputs)):
            count = max(1, int(mask.sum(axis=1).max()))
            chosen = np.argsort(~mask, axis=1, kind="stable")[:, :count]
            levelled = np.zeros_like(mask)
            np.put_along_axis(levelled, chosen, True, axis=1)
            yield name, (levelled & stays[:, None]).reshape(-1)

    def cut(self, node: onnx.NodeProto, keep: Masks) -> dict[int, Array]:
        inputs, outputs = self._by_group(self.input, keep), self._by_group(self.output, keep)
        groups = np.flatnonzero(_any(outputs, 1))
        rows, columns = (
            np.nonzero(mask[groups])[1].reshape(len(groups), -1) for mask in (outputs, inputs)
        )
        left = self.weight[groups[:, None, None], rows[:, :, None], columns[:, None, :]]
        weight = left.reshape(-1, *left.shape[2:])
        found = {1: weight.T if self.transposed else weight}
        if self.bias is not None and self.bias.shape[-1] == outputs.size:
            found[2] = self.bias[..., keep[self.output]]
        for attribute in node.attribute:
            if attribute.name == "group":
                attribute.i = len(groups)
        return found

    def _reads(self, zero: Masks) -> NDArray[np.bool_]:
        """(G, K/G, C/G): whether the output depends on the input."""
        return self.nonzero & ~self._by_group(self.input, zero)[:, None, :]

    def _by_group(self, tensor: str, masks: Masks) -> NDArray[np.bool_]:
        return masks[tensor].reshape(self.groups, -1)


# -- which operator is which -----------------------------------------------------------------------


def _in_place(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> Flow | None:
    source, op = str(node.input[0]), node.op_type
    limits = [constants.get(name) for name in node.input[1:] if name]
    if source in constants or any(limit is None for limit in limits):
        return None
    if op in SPATIAL and not spatial_axes(SPATIAL[op])(node, shapes, constants):
        return None
    keeps_zero = op not in LOSING_ZERO and not _reads_padding_only(node)
    if op == "Clip":
        lowest, highest = (constants.get(name, 0) for name in [*node.input[1:], "", ""][:2])
        keeps_zero = bool(np.all(lowest <= 0) and np.all(highest >= 0))
    return Linked(node, [Link(source, _channels(shapes[source]))], keeps_zero)


def _reads_padding_only(node: onnx.NodeProto) -> bool:
    """Whether windows of a pool may lie outside the image, where there is neither a greatest
    element nor a mean."""
    given = attributes(node)
    padded = any(given.get("pads", ())) or given.get("auto_pad", b"NOTSET") != b"NOTSET"
    return padded and (set(given.get("dilations", (1,))) != {1} or given.get("ceil_mode", 0) != 0)


def _elementwise(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> Flow | None:
    shape, links = shapes[node.output[0]], []
    for name in node.input:
        if name in constants:
            continue
        if len(shapes[name]) != len(shape):
            return None
        repeated = shapes[name][1] != shape[1]
        source = np.zeros(shape[1], np.intp) if repeated else _channels(shape)
        links.append(Link(name, source, repeated))
    given = {place: constants[x] for place, x in enumerate(node.input) if x in constants}
    return Elementwise(node, links, given, len(shape)) if links else None


def _concat(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> Flow | None:
    if not along_channels(node, shapes, constants) or constants.keys() & set(node.input):
        return None
    links, start = [], 0
    for name in node.input:
        source = np.full(shapes[node.output[0]][1], -1, np.intp)
        source[start : start + shapes[name][1]] = _channels(shapes[name])
        start += shapes[name][1]
        links.append(Link(name, source))
    return Linked(node, links)


def _reshape(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> Flow | None:
    given, before, after = attributes(node), shapes[node.input[0]], shapes[node.output[0]]
    pieces = after[1] // before[1]  # of an image, each a channel of its own
    if before[0] != after[0] or after[1] != pieces * before[1]:
        return None
    if node.op_type == "Flatten":
        known = given.get("axis", 1) % len(before) == 1
    else:
        known = node.input[1] in constants and not given.get("allowzero", 0)
    if not known:
        return None
    return Reshaped(node, [Link(node.input[0], _channels(after) // pieces)], after[2:])


def _pad(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> Flow | None:
    pads, channels = constants.get(node.input[1]), shapes[node.input[0]][1]
    value = constants.get(node.input[2], 1) if len(node.input) > 2 and node.input[2] else 0
    if pads is None or len(node.input) > 3 or (pads < 0).any() or pads[0] + pads[len(pads) // 2]:
        return None
    if np.any(value != 0) or attributes(node).get("mode", b"constant") != b"constant":
        return None
    source = np.full(shapes[node.output[0]][1], -1, np.intp)
    source[pads[1] : pads[1] + channels] = np.arange(channels)
    return Padded(node, [Link(node.input[0], source)], pads)


def _mixing(node: onnx.NodeProto, shapes: Shapes, constants: Constants) -> Flow | None:
    names = [name for name in node.input[1:] if name]
    if node.input[0] in constants or not constants.keys() >= set(names):
        return None
    weight, bias = constants[names[0]], constants[names[1]] if names[1:] else None
    given = attributes(node)
    if node.op_type == "Conv":
        groups, transposed = int(given.get("group", 1)), False
    elif weight.ndim != 2 or len(shapes[node.input[0]]) != 2 or given.get("transA", 0):
        return None
    else:
        groups, transposed = 1, not given.get("transB", 0)
    weight = weight.T if transposed else weight
    weight = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
    return Mixing(node, weight, bias if bias is None else np.atleast_1d(bias), transposed)


def _any(array: Array, axis: int | tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether anything along the axis is not zero."""
    return np.asarray(np.any(array != 0, axis=axis))


def _channels(shape: tuple[int, ...]) -> NDArray[np.intp]:
    return np.arange(shape[1], dtype=np.intp)


_MAKERS: dict[str, Callable[[onnx.NodeProto, Shapes, Constants], Flow | None]] = {
    **dict.fromkeys(ZERO_IF, _elementwise),
    **dict.fromkeys(("Flatten", "Reshape"), _reshape),
    **dict.fromkeys(("Conv", "Gemm", "MatMul"), _mixing),
    "Concat": _concat,
    "Pad": _pad,
}
