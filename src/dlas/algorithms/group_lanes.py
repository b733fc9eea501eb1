"""Convolution on blocks whose lanes are groups, and its schedule template: depthwise and grouped.

In the interleaved order (``target/blocks.py``) of an image with I channels per group, one block
holds the first channel of ``lanes`` groups, the next the second, and so on. Every group is filtered
as depthwise convolution (I = 1) filters a channel, whole vectors at a time:

    for every block of groups and tile of rk of its O blocks of outputs:             (parallel)
        for every tile of rh rows × rw columns:            the ones along the edges apart
            for i < I, and every tap: rk vectors of weights × rh · rw vectors of pixels
            bias, residual, activation on the accumulators; store

The taps are unrolled, so that a pixel is loaded once for all of its row, and nothing is padded:
along the edges the taps outside are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlas.algorithms.blocked import padded_blocked
from dlas.algorithms.primitive import Array, Tensor, accumulator, multiply
from dlas.algorithms.register_tile import compute_in_registers, tiles_of
from dlas.algorithms.template import Knobs, Ranked
from dlas.algorithms.tiles import divisors, extents, join_epilogue
from dlas.network import LayerRow
from dlas.target import Target
from dlas.target.blocks import block_channels

#: What says on a kernel's stage how many blocks of outputs a block of groups has.
GROUP_BLOCKS = "dlas.group_blocks"
#: Larger kernels are unrolled along their rows only.
UNROLLED_TAPS = 25
#: They take long to compile, since edges are loops of their own, and the estimate is good: of eight
#: the best was among the first four, in MobileNetV2 and EfficientNet-B0.
CANDIDATES = 4
#: What a tile of several rows adds to the estimate: it ran 1.1 to 1.7 times as long as one row.
ROWS = 0.2


def pack_groups(weight: Array, lanes: int) -> Array:
    """(K, C/G, R, S), K in the order that is written → (K/b, C/G, R, S, b)."""
    return np.ascontiguousarray(block_channels(weight, lanes).transpose(0, 2, 3, 4, 1))


def group_sums(data: Tensor, weight: Tensor, row: LayerRow, name: str) -> Tensor:
    """out[n, k, y, x, lane] = Σ i, r, s  data[n, k // O · I + i, y · stride + r · dilation, …,
    lane] · weight[k, i, r, s, lane]"""
    from tvm import te

    (sy, sx), (dy, dx), dtype = row.stride, row.dilation, accumulator(data)
    inputs, outputs = row.in_channels // row.groups, row.out_channels // row.groups
    image = padded_blocked(data, row)
    i, r, s = (
        te.reduce_axis((0, extent), axis)
        for extent, axis in zip(weight.shape[1:4], "irs", strict=True)
    )

    def sums(n: Any, k: Any, y: Any, x: Any, lane: Any) -> Any:
        block = k // outputs * inputs + i
        pixel = image[n, block, y * sy + r * dy, x * sx + s * dx, lane]
        return te.sum(multiply(pixel, weight[k, i, r, s, lane], dtype), axis=[i, r, s])

    shape = (data.shape[0], weight.shape[0], *row.output_hw, weight.shape[-1])
    return te.compute(shape, sums, name=name, attrs={GROUP_BLOCKS: outputs})


def group_blocks(order: Any, block: Any) -> int | None:
    """How many blocks of outputs a block of groups has; None where the lanes are not groups."""
    found = order.get(block).annotations.get(GROUP_BLOCKS)
    return None if found is None else int(found)


def ranked_groups(order: Any, block: Any, target: Target) -> Sequence[Ranked]:
    """The first of the tiles that fit the registers, by estimated time: that of waiting for
    accumulators, and of loading weights, and pixels, each once for all taps of its row. Several
    rows share pixels too, but more than the registers hold."""
    found = extents(order, block)
    _, _, height, width, lanes = found["outputs"]
    taps, work = found["sums"][-1], math.prod(found["outputs"]) * math.prod(found["sums"])
    ranked = []
    for cost, tile in tiles_of((group_blocks(order, block) or 1, height, width, lanes), target):
        pixels = (tile["rw"] + taps - 1) / (taps * tile["rk"] * tile["rw"])
        ranked.append(((cost + pixels / 2 + ROWS * (tile["rh"] > 1)) * work, tile))
    return sorted(ranked, key=lambda pair: pair[0])[:CANDIDATES]


def apply_in_groups(order: Any, block: Any, knobs: Knobs, threads: int) -> None:
    """The loop nest at the head of this file."""
    *_, rows, columns = extents(order, block)["sums"]
    for padding in order.get_producers(block):
        order.compute_inline(padding)
    last, outputs = join_epilogue(order, block), group_blocks(order, block)
    order.set_scope(block, 0, "local")
    n, k, y, x, lane = order.get_loops(last)
    group, k = order.split(k, [None, outputs])
    k_tile, y_tile, sums = compute_in_registers(order, block, (last, k, y, x, lane), knobs)
    *_, x_tile, _, _, _, _ = order.get_loops(last)
    *_, r, s = order.get_loops(block)[:-4]
    pieces = math.prod(int(order.get(loop).extent) for loop in (n, group, k_tile))
    strips = divisors(int(order.get(y_tile).extent))
    strip = next((d for d in strips if pieces * d % threads == 0), strips[-1])
    y_outer, y_tile = order.split(y_tile, [strip, None])
    place = order.fuse(n, group, k_tile, y_outer)
    if threads > 1:
        order.parallel(place)
    order.unroll(s)
    if rows * columns <= UNROLLED_TAPS:
        order.unroll(r)
    order.decompose_reduction(block, sums)
    for loop in (y_tile, x_tile):
        order.annotate(loop, "pragma_loop_partition_hint", 1)
