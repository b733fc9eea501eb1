"""Laws of pruning in blocks, and of sharing zeros out among layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dlas.algorithms.formats import Bsr
from dlas.network import Network
from dlas.optimizations.allocation import allocated
from dlas.optimizations.magnitude import Block, magnitude_masks, zeroed
from dlas.optimizations.sensitivity import Curve
from dlas.testing.networks import TINY, tiny

names = st.sampled_from(sorted(TINY))
shares = st.floats(0, 1, exclude_max=True)
scopes: Any = st.sampled_from(["global", "layer"])
sides = st.sampled_from([1, 2, 3, 4, 16, 1000])
blocks = st.tuples(sides, sides)


def cut(array: NDArray[Any], block: Block) -> Iterator[NDArray[Any]]:
    """The blocks of a weight (K, C/groups, …), whose dense layers all hold output × input here."""
    for row in range(0, array.shape[0], block[0]):
        for column in range(0, array.shape[1], block[1]):
            part = array[row : row + block[0], column : column + block[1]]
            yield from part.reshape(*part.shape[:2], -1).transpose(2, 0, 1)


def scattered(network: Network, share: float) -> Network:
    """With zeros here and there, as an earlier pruning leaves them."""
    return zeroed(network, magnitude_masks(network, share, "global"))


def weights(network: Network) -> list[NDArray[Any]]:
    return [network.initializers[row.weight] for row in network.layers]


@settings(max_examples=40, deadline=None)
@given(names, shares, scopes, blocks)
def test_whole_blocks_of_least_mean_go(name: str, share: float, scope: Any, block: Block) -> None:
    network = tiny(name)
    masks = magnitude_masks(network, share, scope, block)
    pools: list[list[tuple[bool, float]]] = [[]]
    for row in network.layers:
        magnitudes = np.abs(network.initializers[row.weight])
        cuts = zip(cut(masks[row.weight], block), cut(magnitudes, block), strict=True)
        for mask, magnitude in cuts:
            assert mask.all() or not mask.any()
            pools[-1].append((bool(mask.all()), float(magnitude.mean())))
        if scope == "layer":
            pools.append([])
    for pool in pools:
        gone = max((mean for stays, mean in pool if not stays), default=0.0)
        assert all(mean >= gone * (1 - 1e-5) for stays, mean in pool if stays)


@settings(max_examples=40, deadline=None)
@given(names, shares, scopes, blocks, st.sampled_from([0.0, 0.3]))
def test_the_share_is_exact_to_a_block(
    name: str, share: float, scope: Any, block: Block, before: float
) -> None:
    network = scattered(tiny(name), before)
    found = zeroed(network, magnitude_masks(network, share, scope, block))
    old, new = weights(network), weights(found)
    layers = [([a], [b]) for a, b in zip(old, new, strict=True)]
    pools = [(old, new)] if scope == "global" else layers
    for given_, pruned in pools:
        size = sum(weight.size for weight in given_)
        zeros = sum(int((weight == 0).sum()) for weight in pruned)
        asked = max(round(share * size), sum(int((weight == 0).sum()) for weight in given_))
        assert zeros <= asked
        assert zeros > asked - block[0] * block[1] or zeros == size
        if block == (1, 1):
            assert zeros == asked


@settings(max_examples=40, deadline=None)
@given(names, shares, shares, scopes, blocks)
def test_more_is_pruned_of_the_same(
    name: str, a: float, b: float, scope: Any, block: Block
) -> None:
    """Pruning to a, then to b ≥ a, is pruning to b; and to a again changes nothing."""
    low, high = sorted((a, b))
    network = scattered(tiny(name), 0.2)
    once = zeroed(network, magnitude_masks(network, low, scope, block))
    straight = magnitude_masks(network, high, scope, block)
    for share, expected in ((low, magnitude_masks(network, low, scope, block)), (high, straight)):
        masks = magnitude_masks(once, share, scope, block)
        for weight, mask in masks.items():
            np.testing.assert_array_equal(mask, expected[weight])


@settings(max_examples=30, deadline=None)
@given(names, shares, st.sampled_from([2, 30, 10**6]))
def test_single_weights_go_by_magnitude(name: str, share: float, values: int) -> None:
    """Against sorting; with few values, most weights are equal to others."""
    network = rounded(tiny(name), values)
    every = np.concatenate([weight.ravel() for weight in weights(network)])
    masks = magnitude_masks(network, share, "global")
    found = np.concatenate([masks[row.weight].ravel() for row in network.layers])
    expected = every != 0
    expected[np.argsort(np.abs(every), kind="stable")[: round(share * len(every))]] = False
    np.testing.assert_array_equal(found, expected)


def rounded(network: Network, values: int) -> Network:
    from onnx import numpy_helper

    model = network.edited()
    layers = {row.weight for row in network.layers}
    for tensor in model.graph.initializer:
        if tensor.name in layers:
            value = np.round(numpy_helper.to_array(tensor) * values) / np.float32(values)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return Network(model)


@settings(max_examples=20, deadline=None)
@given(names, shares, st.sampled_from([(1, 1), (4, 4), (16, 1), (1, 16), (3, 5)]))
def test_the_format_stores_what_stayed_and_no_zero(name: str, share: float, block: Block) -> None:
    found = zeroed(tiny(name), magnitude_masks(tiny(name), share, "global", block))
    for row in found.layers:
        weight = found.initializers[row.weight]
        weight = weight.reshape(*weight.shape[:2], *row.kernel)
        stored = Bsr.of(weight, block)
        widths = [part.size for part in cut(weight, block) if part.any()]
        assert len(stored.values) == len(widths)
        assert stored.nonzeros == sum(widths) == row.nonzeros


# -- zeros per layer -----------------------------------------------------------------------------


@st.composite
def curves(draw: st.DrawFn) -> list[Curve]:
    """Any measurements, also such as noise and slow sparse kernels give."""
    found = []
    for index in range(draw(st.integers(1, 5))):
        size = draw(st.integers(10, 1000))
        zeros = sorted({0, *draw(st.lists(st.integers(1, size), max_size=6)), size})
        count = len(zeros) - 1
        losses = draw(st.lists(st.floats(0, 3), min_size=count, max_size=count))
        gains = draw(st.lists(st.floats(-1, 9), min_size=count, max_size=count))
        name = f"layer{index}"
        found.append(
            Curve(name, f"{name}.weight", size, tuple(zeros), (0.0, *losses), (0.0, *gains))
        )
    return found


@settings(max_examples=100, deadline=None)
@given(curves(), shares, shares)
def test_zeros_are_shared_out_exactly_and_never_taken_back(
    layers: list[Curve], a: float, b: float
) -> None:
    total = sum(layer.weights for layer in layers)
    fewer, more = (allocated(layers, round(share * total)) for share in sorted((a, b)))
    assert sum(fewer.values()) == round(min(a, b) * total)
    assert sum(more.values()) == round(max(a, b) * total)
    for layer in layers:
        assert 0 <= fewer[layer.weight] <= more[layer.weight] <= layer.weights
