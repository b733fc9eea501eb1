"""``compact``: a network without the channels that decide nothing.

Pruning may leave a layer in its original shape: filters of zeros, or weights of zero for what the
layer before computes. What such channels hold never reaches the scores, so they go for good.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

from dlas.network.channel_flow import Flow, Mask, Mixing, channel_flow
from dlas.network.cleanup import drop_unused
from dlas.network.fold import fold_batch_norm
from dlas.network.layers import tensor_shapes
from dlas.network.network import Network


class Kept(msgspec.Struct, frozen=True):
    """The channels of one layer that decide something, ascending, as the layer numbers them: those
    it writes and those it reads."""

    outputs: tuple[int, ...]
    inputs: tuple[int, ...]


def compact(network: Network) -> Network:
    """The same scores, but for the order of sums, by fewer channels; itself where all are needed.

    A channel goes if nothing that stays reads it by a weight other than zero, or if it is zero for
    every image; weights for channels of zeros count as zeros. Channels that sums, products,
    concatenation or depthwise convolutions tie together stay or go together. The image's channels
    and the scores stay, as do those that meet an operator through which none are followed
    (``dlas.network.channel_flow``). A layer keeps one channel at least, and groups keep equally
    many.

    BatchNormalization is folded (``fold_batch_norm``); nodes keep their names."""
    model = fold_batch_norm(network.model)
    channels = _Channels(model)
    if all(mask.all() for mask in channels.keep.values()):
        return network
    channels.remove()
    return Network(model)


def kept(network: Network) -> Mapping[str, Kept]:
    """What each layer of the network keeps in ``compact``, by the layer's name."""
    channels = _Channels(fold_batch_norm(network.model))
    mixing = {node.name: flow for node, flow in channels.flows if isinstance(flow, Mixing)}
    found = {}
    for row in network.layers:
        if row.name in mixing:
            flow = mixing[row.name]
            masks = channels.keep[flow.output], channels.keep[flow.input]
        else:
            masks = np.ones(row.out_channels, bool), np.ones(row.in_channels, bool)
        outputs, inputs = (tuple(np.flatnonzero(mask).tolist()) for mask in masks)
        found[row.name] = Kept(outputs, inputs)
    return found


class _Channels:
    """Of a graph without BatchNormalization: which channels of every tensor are ``zero``, and the
    fewest to ``keep``."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        shapes = tensor_shapes(model)
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.flows = [
            (node, channel_flow(node, shapes, self.constants)) for node in model.graph.node
        ]
        self.zero = {
            name: np.zeros(shape[1] if len(shape) > 1 else 0, bool)
            for name, shape in shapes.items()
        }
        self.keep = {name: mask.copy() for name, mask in self.zero.items()}
        self.readers: dict[str, list[Flow]] = defaultdict(list)
        for node, flow in self.flows:
            if flow is not None:
                self.zero[flow.output] = flow.zeros(self.zero)
                for name in (*node.input, *node.output):
                    self.readers[name].append(flow)
        self._follow()

    def _follow(self) -> None:
        """The least ``keep`` that has all that any operator needs."""
        ends = [value.name for value in (*self.model.graph.input, *self.model.graph.output)]
        for node, flow in self.flows:
            if flow is None:
                ends += [*node.input, *node.output]
        self._stay((x, np.ones_like(self.keep[x])) for x in ends if x in self.keep)
        layers = [flow for _, flow in reversed(self.flows) if isinstance(flow, Mixing)]
        # What stays so that groups match is a choice; what it needs of the layers before is none.
        while any([self._stay(layer.level(self.keep)) for layer in layers]):
            pass

    def _stay(self, needed: Iterable[tuple[str, Mask]]) -> bool:
        """Keep these channels and all that they need; whether any was not kept yet."""
        grew, pending = False, deque([needed])
        while pending:
            for name, mask in pending.popleft():
                if (mask & ~self.keep[name]).any():
                    grew = True
                    self.keep[name] |= mask
                    pending += [flow.needs(self.zero, self.keep) for flow in self.readers[name]]
        return grew

    def remove(self) -> None:
        """Leave nothing but ``keep`` in the graph."""
        tensors = {tensor.name: tensor for tensor in self.model.graph.initializer}
        readers = Counter(name for node in self.model.graph.node for name in node.input)
        for node, flow in self.flows:
            if flow is None:
                continue
            for place, left in flow.cut(node, self.keep).items():
                name = node.input[place]
                if np.array_equal(left, self.constants[name]):
                    continue
                if readers[name] > 1:  # the others may keep other channels
                    name = f"{name}.{node.name}"
                    while name in tensors:
                        name += "_"
                    node.input[place] = name
                    tensors[name] = self.model.graph.initializer.add()
                tensors[name].CopyFrom(numpy_helper.from_array(left, name))
        drop_unused(self.model)
