"""What one layer alone loses in a narrower type, measured as for pruning: the mean Kullback-Leibler
divergence from the float32 network's class probabilities (``dlas.optimizations.sensitivity``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import msgspec
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from dlas.context import Context
from dlas.data import Data
from dlas.errors import InputError
from dlas.network import Network
from dlas.network.cleanup import drop_unused
from dlas.network.fold import fold_batch_norm
from dlas.optimizations.bfloat16 import nearest
from dlas.optimizations.int8 import Int8
from dlas.optimizations.sensitivity import divergence, log_probabilities

Alone = Callable[[str], Network]


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """``loss_nats``: the rise of the cross-entropy when this layer alone is narrower, by type."""

    layer: str
    macs: int
    loss_nats: dict[str, float]


def measured(
    network: Network, data: Data, samples: int, alone: dict[str, Alone], context: Context
) -> tuple[Sensitivity, ...]:
    """A row per layer in graph order, on the first ``samples`` calibration images. ``alone``: by
    type, the network with only the layer of that name in it. InputError for too few images."""
    if len(data.calibration) < samples:
        raise InputError(
            f"layers are measured on {samples} images and the data set has "
            f"{len(data.calibration)}: lower samples, or give the data set more calibration images"
        )
    images = data.calibration.images(slice(samples))
    expected = log_probabilities(network, images)
    rows = []
    for index, row in enumerate(network.layers):
        context.progress(index / len(network.layers), f"measuring {row.name} alone")
        lost = {
            dtype: divergence(expected, log_probabilities(narrowed(row.name), images))
            for dtype, narrowed in alone.items()
        }
        rows.append(Sensitivity(layer=row.name, macs=row.macs, loss_nats=lost))
    return tuple(rows)


def int8_alone(network: Network, int8: Int8, data: Data, context: Context) -> Alone:
    """By this ``int8``, which calibrates anew for every layer. What is not a layer stays too."""
    nodes = [node.name for node in fold_batch_norm(network.model).graph.node]
    quiet = Context(context.folder, context.checkpoints, context.threads)

    def narrowed(layer: str) -> Network:
        keep = tuple(name for name in nodes if name != layer)
        return msgspec.structs.replace(int8, keep=keep).apply(network, data, quiet)

    return narrowed


def bfloat16_alone(network: Network) -> Alone:
    """Both operands of the layer rounded to bfloat16."""
    folded = fold_batch_norm(network.model)
    taken = {name for node in folded.graph.node for name in (*node.input, *node.output)}
    free = (name for number in count() if (name := f"rounded.{number}") not in taken)

    def narrowed(layer: str) -> Network:
        model = type(folded)()
        model.CopyFrom(folded)
        graph = model.graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        place = next(i for i, node in enumerate(graph.node) if node.name == layer)
        for position, name in enumerate(graph.node[place].input[:2]):
            wide = next(free)
            graph.node[place].input[position] = wide
            if name in constants:
                value = nearest(numpy_helper.to_array(constants[name])).astype(np.float32)
                graph.initializer.append(numpy_helper.from_array(value, wide))
                continue
            narrow = next(free)
            casts = (name, narrow, TensorProto.BFLOAT16), (narrow, wide, TensorProto.FLOAT)
            for source, target, kind in casts:
                graph.node.insert(place, helper.make_node("Cast", [source], [target], to=kind))
                place += 1
        drop_unused(model)
        return Network(model)

    return narrowed


def by_loss(rows: tuple[Sensitivity, ...], dtype: str) -> Iterator[str]:
    """Names of layers, the most sensitive first."""
    return (row.layer for row in sorted(rows, key=lambda row: -row.loss_nats[dtype]))
