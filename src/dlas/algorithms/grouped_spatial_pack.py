"""Grouped spatial pack convolution (GSPC): spatial pack within each group.

Source: Gibson, Cano, Turner, Crowley, O'Boyle and Storkey 2020, "Optimizing Grouped Convolutions on
Edge Devices", arXiv:2006.09791. ``compute`` is the published one, except that its tiles divide the
channels of a group, and that 1×1 kernels and asymmetric padding work.

Its vector holds output channels of one group, two lanes of it where a group has two. On blocks the
*lane is the group* instead: in the interleaved order (``target/blocks.py``) of an image with I
channels per group, one block holds the first channel of ``lanes`` groups, the next the second, so
that every group is filtered as depthwise convolution filters a channel, whole vectors at a time:

    for every block of groups:                            pad its I blocks (or, further in, rows)
        for every tile of rk of its O output blocks × rh rows × rw columns:
            for i < I, r, s: rk vectors of weights × rh · rw vectors of pixels
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dlas.algorithms.blocked import Knobs, padded_blocked
from dlas.algorithms.primitive import Array, Tensor, accumulator, multiply, padded
from dlas.algorithms.register_tile import compute_in_registers, tiles_of
from dlas.algorithms.spatial_pack import VECTOR, SpatialPack
from dlas.algorithms.tiles import divisors, extents, join_epilogue
from dlas.network import LayerRow
from dlas.target import Target
from dlas.target.blocks import block_channels

#: What says on a kernel's stage that its lanes are groups, and how many blocks a group writes.
GROUP_BLOCKS = "dlas.group_blocks"


class GroupedSpatialPack(SpatialPack, frozen=True, kw_only=True):
    """Applies to convolutions in groups, but for depthwise ones. With ``co`` tiles of ``ci`` input
    and ``ko`` of ``ki`` output channels in a group, the data is (G, N, co, H, ci, W) and the weight
    (G, ko, co, R, S, ci, ki). On blocks, groups that the lanes do not divide are computed as
    ``spatial_pack`` computes them."""

    name: ClassVar[str] = "grouped_spatial_pack"
    fallback: ClassVar[str] = "spatial_pack"

    def refuses_layer(self, row: LayerRow) -> str | None:
        if row.groups == 1:
            return "grouped_spatial_pack packs group by group; one group is spatial_pack"
        if row.groups == row.in_channels == row.out_channels:
            return "grouped_spatial_pack sums channels of a group; here a group has only one"
        return None

    def pack(self, weight: Array, row: LayerRow) -> Array:
        ci, ki = tiles(row)
        _, inputs, r, s = weight.shape
        split = weight.reshape(row.groups, -1, ki, inputs // ci, ci, r, s)
        return np.ascontiguousarray(split.transpose(0, 1, 3, 5, 6, 4, 2))

    def compute(self, data: Tensor, weight: Tensor, zero: Any, row: LayerRow) -> Tensor:
        """sums[g, n, k, y, x, ki] = Σ co, r, s, ci  packed[g, n, co, …, ci, …] · weight[…, ki]"""
        from tvm import te

        (sy, sx), (dy, dx), dtype = row.stride, row.dilation, accumulator(data)
        image, (ci, ki) = padded(data, zero, row), tiles(row)
        batch, _, height, width = image.shape
        inputs, outputs = row.in_channels // row.groups, row.out_channels // row.groups
        packed = te.compute(
            (row.groups, batch, inputs // ci, height, ci, width),
            lambda g, n, c, y, i, x: image[n, g * inputs + c * ci + i, y, x],
            name="packed",
        )
        co, r, s, i = (
            te.reduce_axis((0, extent), axis)
            for extent, axis in zip(weight.shape[2:6], ("co", "r", "s", "ci"), strict=True)
        )
        sums = te.compute(
            (row.groups, batch, outputs // ki, *row.output_hw, ki),
            lambda g, n, k, y, x, lane: te.sum(
                multiply(
                    packed[g, n, co, y * sy + r * dy, i, x * sx + s * dx],
                    weight[g, k, co, r, s, i, lane],
                    dtype,
                ),
                axis=[co, r, s, i],
            ),
            name=self.name,
        )
        return te.compute(
            (batch, row.out_channels, *row.output_hw),
            lambda n, k, y, x: sums[k // outputs, n, k % outputs // ki, y, x, k % ki],
            name="unpacked",
        )

    def orders(self, row: LayerRow, lanes: int) -> tuple[int, int] | None:
        if row.groups % lanes:
            return super().orders(row, lanes)
        return row.in_channels // row.groups, row.out_channels // row.groups

    def pack_blocked(self, weight: Array, row: LayerRow, lanes: int) -> Array:
        """(K, C/G, R, S) → (K/b, C/G, R, S, b)."""
        if row.groups % lanes:
            return super().pack_blocked(weight, row, lanes)
        return np.ascontiguousarray(block_channels(weight, lanes).transpose(0, 2, 3, 4, 1))

    def compute_blocked(self, data: Tensor, weight: Tensor, row: LayerRow, lanes: int) -> Tensor:
        """With I input and O output blocks of a block of groups: out[n, k, y, x, lane] =
        Σ i, r, s  image[n, k // O · I + i, y · stride + …, …, lane] · weight[k, i, r, s, lane]"""
        from tvm import te

        if row.groups % lanes:
            return super().compute_blocked(data, weight, row, lanes)
        (sy, sx), (dy, dx) = row.stride, row.dilation
        inputs, outputs = row.in_channels // row.groups, row.out_channels // row.groups
        image = padded_blocked(data, row)
        i, r, s = (
            te.reduce_axis((0, extent), axis)
            for extent, axis in zip(weight.shape[1:4], "irs", strict=True)
        )

        def sums(n: Any, k: Any, y: Any, x: Any, lane: Any) -> Any:
            block = k // outputs * inputs + i
            pixel = image[n, block, y * sy + r * dy, x * sx + s * dx, lane]
            return te.sum(pixel * weight[k, i, r, s, lane], axis=[i, r, s])

        shape = (data.shape[0], weight.shape[0], *row.output_hw, lanes)
        return te.compute(shape, sums, name=self.stage, attrs={GROUP_BLOCKS: outputs})

    def candidates(self, order: Any, target: Target) -> Sequence[Knobs]:
        block = order.get_sblock(self.stage)
        if group_blocks(order, block) is None:
            return super().candidates(order, target)
        return group_candidates(order, block, target)

    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        block = order.get_sblock(self.stage)
        if group_blocks(order, block) is None:
            super().apply(order, knobs, threads)
        else:
            apply_in_groups(order, block, knobs, threads)


def tiles(row: LayerRow) -> tuple[int, int]:
    """The tiles (ci, ki) that divide a group's channels: ki no more than a vector, ci than ki."""
    ki = max(n for n in divisors(row.out_channels // row.groups) if n <= VECTOR)
    return max(n for n in divisors(row.in_channels // row.groups) if n <= ki), ki


def group_blocks(order: Any, block: Any) -> int | None:
    """How many blocks of outputs a block of groups has, where the lanes are groups."""
    found = order.get(block).annotations.get(GROUP_BLOCKS)
    return None if found is None else int(found)


def group_candidates(order: Any, block: Any, target: Target) -> Sequence[Knobs]:
    """Tiles that fit the registers, cheapest estimate first, with each place for the padding."""
    outputs = group_blocks(order, block)
    assert outputs is not None
    _, _, height, width, lanes = extents(order, block)["outputs"]
    places = (0, 1) if order.get_producers(block) else (0,)
    return [
        {**tile, "pad_rows": rows}
        for _, tile in tiles_of((outputs, height, width, lanes), target)
        for rows in places
    ]


def apply_in_groups(order: Any, block: Any, knobs: Knobs, threads: int) -> None:
    """The loop nest at the head of this file. What pads is computed for a block of groups at a
    time, so that it stays in a cache; with ``pad_rows`` only for the rows that a tile reads."""
    padding = order.get_producers(block)
    last, outputs = join_epilogue(order, block), group_blocks(order, block)
    order.set_scope(block, 0, "local")
    n, k, y, x, lane = order.get_loops(last)
    group, k = order.split(k, [None, outputs])
    k_tile, y_tile, sums = compute_in_registers(order, block, (last, k, y, x, lane), knobs)
    outer = [n, group]
    if knobs["pad_rows"] or not padding:
        order.reorder(y_tile, k_tile)
        outer.append(y_tile)
    place = order.fuse(*outer)
    if threads > 1:
        order.parallel(place)
    order.decompose_reduction(block, sums)
    for stage in padding:
        order.compute_at(stage, place)
        order.vectorize(order.get_loops(stage)[-1])
