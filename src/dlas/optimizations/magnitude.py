"""Which weights go: single ones or blocks, those of least magnitude."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.network import Network
from dlas.network.layers import attributes
from dlas.training import Masks

#: Output channels × input channels at one tap of the kernel, input channels within a group.
Block = tuple[int, int]
SINGLE: Block = (1, 1)

#: Values of the upper half of a positive float32.
BINS = 1 << 15


def magnitude_masks(
    network: Network, share: float, scope: Literal["global", "layer"], block: Block = SINGLE
) -> dict[str, NDArray[np.bool_]]:
    """Where weights stay, per initializer: all but the share of least magnitude and all that is
    zero. A block goes or stays as a whole, by its mean magnitude; of equals the first go. The share
    is exact to rounding for single weights, and less by up to a block for blocks; at the edges
    of a layer that the block does not divide, blocks are smaller."""
    names = list(dict.fromkeys(row.weight for row in network.layers))
    pools = [names] if scope == "global" else [[name] for name in names]
    sizes = {name: network.initializers[name].size for name in names}
    found: dict[str, NDArray[np.bool_]] = {}
    for pool in pools:
        zeros = round(share * sum(sizes[name] for name in pool))
        found |= _masks(network, pool, zeros, block)
    return found


def masks_with_zeros(
    network: Network, zeros: Mapping[str, int], block: Block = SINGLE
) -> dict[str, NDArray[np.bool_]]:
    """The same with a number of zeros for each initializer."""
    found: dict[str, NDArray[np.bool_]] = {}
    for name, count in zeros.items():
        found |= _masks(network, [name], count, block)
    return found


def zeroed(network: Network, masks: Masks) -> Network:
    """The network with zeros where the masks are false."""
    model = network.edited()
    for tensor in model.graph.initializer:
        if tensor.name in masks:
            weight = network.initializers[tensor.name]
            pruned = np.where(masks[tensor.name], weight, np.zeros_like(weight))
            tensor.CopyFrom(numpy_helper.from_array(pruned, tensor.name))
    return Network(model)


def _masks(
    network: Network, names: Sequence[str], zeros: int, block: Block
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    weights = [network.initializers[name] for name in names]
    turned = _turned(network)
    blocks = [block[::-1] if name in turned else block for name in names]
    means: list[NDArray[np.float32]] = []
    nonzeros: list[NDArray[np.int32]] = []
    for weight, shape in zip(weights, blocks, strict=True):
        sums = _summed(np.abs(weight), shape)
        means.append(np.divide(sums, _sizes(weight.shape, shape), dtype=np.float32))
        nonzeros.append(_summed((weight != 0).astype(np.int32), shape))
    nonzero = sum(int(count.sum()) for count in nonzeros)
    present = sum(weight.size for weight in weights) - nonzero
    going = _least(means, nonzeros, zeros - present)
    for name, weight, shape, gone in zip(names, weights, blocks, going, strict=True):
        spread = gone.repeat(shape[0], 0).repeat(shape[1], 1)
        yield name, (weight != 0) & ~spread[: weight.shape[0], : weight.shape[1]]


def _turned(network: Network) -> set[str]:
    """Matrices of dense layers that hold input × output features."""
    nodes = {node.name: node for node in network.model.graph.node}
    dense = [row for row in network.layers if row.op == "dense"]
    return {row.weight for row in dense if not attributes(nodes[row.name]).get("transB", 0)}


def _summed(values: NDArray[Any], block: Block) -> NDArray[Any]:
    """Sums of the blocks along the first two axes."""
    for axis, size in enumerate(block):
        if size > 1:
            starts = np.arange(0, values.shape[axis], size)
            values = np.add.reduceat(values, starts, axis=axis)
    return values


def _sizes(shape: tuple[int, ...], block: Block) -> NDArray[np.float32]:
    """How many weights each block has, to be broadcast against the sums."""
    rows, columns = (
        np.minimum(size, length - np.arange(0, length, size))
        for length, size in zip(shape, block, strict=False)
    )
    sizes = np.outer(rows, columns).astype(np.float32)
    return sizes.reshape(*sizes.shape, *[1] * (len(shape) - 2))


def _least(
    scores: Sequence[NDArray[np.float32]], costs: Sequence[NDArray[np.int32]], budget: int
) -> list[NDArray[np.bool_]]:
    """The least scores, as many as cost ``budget`` together at most; of equals the first.

    Positive float32 are in the order of their bits, so a histogram of the upper half of the bits
    leaves one bin to be sorted: the weights of VGG-16 take seconds."""
    bins = [np.ascontiguousarray(score, np.float32).view(np.uint32) >> 16 for score in scores]
    spent = np.zeros(BINS)
    for bin_, cost in zip(bins, costs, strict=True):
        spent += np.bincount(bin_.ravel(), cost.ravel(), BINS)
    spent = spent.cumsum()
    edge = int(np.searchsorted(spent, budget, side="right"))
    going = [bin_ < edge for bin_ in bins]
    places = [np.flatnonzero(bin_ == edge) for bin_ in bins]
    tied = np.concatenate([score.flat[place] for score, place in zip(scores, places, strict=True)])
    price = np.concatenate([cost.flat[place] for cost, place in zip(costs, places, strict=True)])
    order = np.argsort(tied, kind="stable")
    fits = price[order].cumsum() <= budget - (spent[edge - 1] if edge else 0)
    chosen = np.zeros(len(tied), np.bool_)
    chosen[order[fits]] = True
    ends = np.cumsum([len(place) for place in places])[:-1]
    for gone, place, part in zip(going, places, np.split(chosen, ends), strict=True):
        gone.flat[place] = part
    return going
