"""The schedule template of a convolution on the blocked layout: a tile of outputs in registers.

    for every tile of rk channel blocks × rh rows × rw columns:      (parallel, tiles in L2 order)
        rk · rh · rw accumulators, one vector each, = 0
        for co, r, s, ci:                                            the sum
            rk vectors of weights; for each of rh · rw pixels, rk fused multiply-adds
        bias, residual, activation on the accumulators; store

A pixel is one scalar that is broadcast, so its channel may lie anywhere: that is how grouped and
unblocked inputs are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from dlas.algorithms.primitive import Array, Tensor, widened
from dlas.algorithms.template import Knobs, Ranked
from dlas.algorithms.tiles import TAPS, divisors, extents, join_epilogue, prepare, stages_before
from dlas.network import LayerRow
from dlas.target import Target
from dlas.target.blocks import block_count

#: Independent multiply-adds in flight: latency 4 at two a cycle.
IN_FLIGHT = 8
#: Accumulators of a tile. Of AVX-512's registers that is half; tiles of 28 ran no faster.
TILE_BYTES = 1024
#: Multiply-adds in the time that a weight takes to come from memory (Zen 5: 49 GB/s, 125 GMAC/s).
PER_WEIGHT = 10
#: Products per output below which padding is worth doing where it is read.
FEW_SUMS = 256
#: Tiles that share float16 weights of which it is worth to write the float32 values first.
SHARED = 8
#: Registers that hold no accumulator: a weight vector for each channel block, and one to spare.
SPARE = 1


@dataclass(frozen=True)
class Reach:
    """The input channels that a block of ``lanes`` output channels reads: ``depth`` of them from
    ``first``, all groups that the block touches. Where a group has fewer outputs than a vector has
    lanes, weights of other groups' channels are zeros."""

    row: LayerRow
    lanes: int
    depth: int
    width: int  # of ci: the channels that lie side by side in a block for sure

    @classmethod
    def of(cls, row: LayerRow, lanes: int) -> Reach:
        inputs, outputs = row.in_channels // row.groups, row.out_channels // row.groups
        starts = range(0, row.out_channels, lanes)
        spans = [
            (min(start + lanes, row.out_channels) - 1) // outputs - start // outputs + 1
            for start in starts
        ]
        reach = cls(row, lanes, max(spans) * inputs, 1)
        width = lanes
        for number in (reach.depth, *(reach.first(k) for k in range(len(starts)))):
            width = math.gcd(number, width)
        return cls(row, lanes, reach.depth, width)

    def first(self, k: Any) -> Any:
        """The first input channel of output block k, a number or an index."""
        row = self.row
        if self.depth == row.in_channels:
            return 0
        inputs, outputs = row.in_channels // row.groups, row.out_channels // row.groups
        start = k * self.lanes // outputs * inputs
        last = row.in_channels - self.depth
        if isinstance(k, int):
            return min(start, last)
        from tvm import te

        exact = outputs % self.lanes == 0 or self.lanes % outputs == 0
        even = exact and row.out_channels % self.lanes == 0
        return start if even else te.min(start, last)

    def pixel(self, image: Tensor, n: Any, k: Any, channel: tuple[Any, Any], at: Any) -> Any:
        """The input at ``at`` in channel (co, ci) of output block k's reach; image (N, C, …) or
        (N, C/b, …, b)."""
        co, ci = channel
        start = self.first(k) + co * self.width
        if len(image.shape) == 2 + len(at):
            return image[(n, start + ci, *at)]
        return image[(n, start // self.lanes, *at, start % self.lanes + ci)]

    def pack(self, weight: Array) -> Array:
        """(K, C/G, R, S) → (K/b, depth / width, R, S, width, b)."""
        row, (outputs, inputs, r, s) = self.row, weight.shape
        blocks, group = block_count(outputs, self.lanes), outputs // row.groups
        dense = np.zeros((blocks, self.depth, r, s, self.lanes), weight.dtype)
        for k in range(outputs):
            block, lane = divmod(k, self.lanes)
            start = k // group * inputs - self.first(block)
            dense[block, start : start + inputs, :, :, lane] = weight[k]
        split = dense.reshape(blocks, -1, self.width, r, s, self.lanes)
        return np.ascontiguousarray(split.transpose(0, 1, 3, 4, 2, 5))


def tiled_sums(
    image: Tensor, weight: Tensor, row: LayerRow, place: Callable[..., Any], name: str
) -> Tensor:
    """out[n, k, y, x, lane] = Σ co, r, s, ci  image[n, channel (co, ci) of k's reach, place(y, x,
    r, s)] · weight[k, co, r, s, ci, lane]"""
    from tvm import te

    lanes, taps = int(weight.shape[-1]), widened(weight, TAPS)
    reach = Reach.of(row, lanes)
    co, r, s, ci = (
        te.reduce_axis((0, extent), axis)
        for extent, axis in zip(weight.shape[1:5], ("co", "r", "s", "ci"), strict=True)
    )

    def sums(n: Any, k: Any, y: Any, x: Any, lane: Any) -> Any:
        pixel = reach.pixel(image, n, k, (co, ci), place(y, x, r, s))
        return te.sum(pixel * taps[k, co, r, s, ci, lane], axis=[co, r, s, ci])

    return te.compute((image.shape[0], weight.shape[0], *row.output_hw, lanes), sums, name=name)


def ranked_tiles(order: Any, block: Any, target: Target) -> Sequence[Ranked]:
    """Every tile that fits the registers, in both orders of the tiles, cheapest estimate first. A
    stem, which sums so little that padding its image beforehand takes half as long as the sums, is
    padded row by row; where a kernel has one tap, float16 pixels may be widened row by row."""
    found = extents(order, block)
    _, blocks, height, width, lanes = found["outputs"]
    weight_bytes = 4 * lanes * blocks * math.prod(found["sums"])
    streamed = weight_bytes > target.cache_bytes(2)  # then each weight is better read once
    variants = [(0.01 * (outside == streamed), {"rows_outside": outside}) for outside in (0, 1)]
    before, taps = stages_before(order, block)
    inside = 0.0, {"rows_outside": 1, "pad_inside": 1}
    if before and taps and not streamed and found["sums"][1:3] == [1, 1]:
        variants = [inside, (0.01, {"rows_outside": 0})]
    elif before and math.prod(found["sums"]) < FEW_SUMS:
        variants = [inside]
    work = math.prod(found["outputs"]) * math.prod(found["sums"])
    ranked = [
        ((cost + extra) * work, {**tile, **variant})
        for cost, tile in tiles_of((blocks, height, width, lanes), target)
        for extra, variant in variants
    ]
    return sorted(ranked, key=lambda pair: pair[0])


def tiles_of(
    shape: tuple[int, int, int, int], target: Target
) -> Sequence[tuple[float, dict[str, int]]]:
    """Every tile (rk, rh, rw) of outputs (blocks, rows, columns, lanes) that fits the registers,
    after its estimated time per multiply-add, in that of a machine that does nothing else: waiting
    for accumulators, loads of weights (vectors, from the second cache) and pixels (scalars), and
    for weights from memory, unless one tile takes in all rows and columns: then every weight is
    multiplied often enough for the next ones to arrive meanwhile."""
    blocks, height, width, lanes = shape
    most = min(target.vector_registers - SPARE, TILE_BYTES // (4 * lanes))
    found = []
    for rk, rh, rw in product(divisors(blocks), divisors(height), divisors(width)):
        vectors = rk * rh * rw
        if vectors == 1 or (vectors <= most and vectors + rk < target.vector_registers):
            waiting = max(IN_FLIGHT / vectors, 1.0)
            cost = waiting + 0.5 / (rh * rw) + 0.25 / rk + 0.02 * rh
            if (rh, rw) != (height, width):
                cost += PER_WEIGHT / (height * width)
            found.append((cost, {"rk": rk, "rh": rh, "rw": rw}))
    return sorted(found, key=lambda pair: pair[0])


def apply_tile(order: Any, block: Any, knobs: Knobs, threads: int) -> None:
    """The loop nest at the head of this file. ``pad_inside``: what pads is computed not before it
    but inside, for one outer tile at a time. float16 weights are widened as they are loaded, or
    beforehand where many tiles share them."""
    _, blocks, height, width, lanes = extents(order, block)["outputs"]
    before, taps = stages_before(order, block)
    inside = bool(knobs.get("pad_inside"))
    for stage in before if inside else [block]:
        prepare(order, stage, lanes, threads)
    many = height * width // (knobs["rh"] * knobs["rw"]) >= SHARED
    shared = many and not knobs["rows_outside"] and blocks // knobs["rk"] >= threads
    for stage in taps if not shared else ():
        order.compute_inline(stage)
    last = join_epilogue(order, block)
    order.set_scope(block, 0, "local")
    n, k, y, x, lane = order.get_loops(last)
    k_tile, y_tile, sums = compute_in_registers(order, block, (last, k, y, x, lane), knobs)
    # Weights that come from memory come once for all images.
    tiles = (n, y_tile, k_tile) if knobs["rows_outside"] else (k_tile, n, y_tile)
    order.reorder(*tiles)
    place = y_tile
    for stage in taps if shared else ():
        order.compute_at(stage, k_tile)
        order.vectorize(order.get_loops(stage)[-1])
    if threads > 1:
        together = 2 if inside else 1 if taps and shared else 3
        place = order.fuse(*tiles[:together])
        order.parallel(place)
    order.decompose_reduction(block, sums)
    for stage in before if inside else ():
        order.compute_at(stage, place)
        order.vectorize(order.get_loops(stage)[-1])


def compute_in_registers(
    order: Any, block: Any, consumer: tuple[Any, Any, Any, Any, Any], knobs: Knobs
) -> tuple[Any, Any, Any]:
    """Tile the loops (k, y, x, lane) of the block's ``consumer``, given with it, and compute the
    block's sums for one tile at a time. Returns the loops over tiles of k and of y, and the loop
    before which the sums are still to be set to zero."""
    last, k, y, x, lane = consumer
    k_tile, k_in = order.split(k, [None, knobs["rk"]])
    y_tile, y_in = order.split(y, [None, knobs["rh"]])
    x_tile, x_in = order.split(x, [None, knobs["rw"]])
    order.reorder(k_tile, y_tile, x_tile, k_in, y_in, x_in, lane)
    order.compute_at(block, x_tile, preserve_unit_loops=True)
    depth = len(order.get_loops(last)) - 4
    number = len(extents(order, block)["sums"])
    inner = order.get_loops(block)[depth:]
    outputs, sums = inner[:-number], inner[-number:]
    *channels, y_at, x_at, lane_at = outputs
    # One pixel for all weights, then the next: the weights stay in registers, and no pixel does.
    order.reorder(*sums, y_at, x_at, *channels, lane_at)
    for loop in (k_in, y_in, x_in, *outputs[:-1]):
        order.unroll(loop)
    order.vectorize(lane)
    order.vectorize(outputs[-1])
    return k_tile, y_tile, sums[0]
