"""Grouped spatial pack convolution (GSPC): spatial pack within each group.

Source: Gibson, Cano, Turner, Crowley, O'Boyle and Storkey 2020, "Optimizing Grouped Convolutions on
Edge Devices", arXiv:2006.09791. ``compute`` is the published one, except that its tiles divide the
channels of a group, and that 1×1 kernels and asymmetric padding work.

Its vector holds output channels of one group, two lanes of it where a group has two. On blocks the
lane is the group instead, wherever the lanes divide the groups: ``group_lanes.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dlas.algorithms.group_lanes import (
    apply_in_groups,
    group_blocks,
    group_sums,
    pack_groups,
    ranked_groups,
)
from dlas.algorithms.primitive import Array, Tensor, accumulator, multiply, padded
from dlas.algorithms.spatial_pack import BLOCK, SpatialPack
from dlas.algorithms.template import Knobs, Ranked
from dlas.algorithms.tiles import divisors
from dlas.network import LayerRow
from dlas.target import Target


class GroupedSpatialPack(SpatialPack, frozen=True, kw_only=True):
    """Applies to convolutions in groups, but for depthwise ones. With ``co`` tiles of ``ci`` input
    and ``ko`` of ``ki`` output channels in a group, the data is (G, N, co, H, ci, W) and the weight
    (G, ko, co, R, S, ci, ki). On blocks, groups that the lanes do not divide are computed as
    ``spatial_pack`` computes them."""

    name: ClassVar[str] = "grouped_spatial_pack"
    fallback: ClassVar[str] = "spatial_pack"
    streams_weights: ClassVar[bool] = False

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
        if row.groups % lanes:
            return super().pack_blocked(weight, row, lanes)
        return pack_groups(weight, lanes)

    def compute_blocked(self, data: Tensor, weight: Tensor, row: LayerRow, lanes: int) -> Tensor:
        if row.groups % lanes:
            return super().compute_blocked(data, weight, row, lanes)
        return group_sums(data, weight, row, self.stage)

    def ranked(self, order: Any, target: Target) -> Sequence[Ranked]:
        block = order.get_sblock(self.stage)
        if group_blocks(order, block) is None:
            return super().ranked(order, target)
        return ranked_groups(order, block, target)

    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        block = order.get_sblock(self.stage)
        if group_blocks(order, block) is None:
            super().apply(order, knobs, threads)
        else:
            apply_in_groups(order, block, knobs, threads)


def tiles(row: LayerRow) -> tuple[int, int]:
    """The tiles (ci, ki) that divide a group's channels: ki at most ``BLOCK``, ci at most ki."""
    ki = max(n for n in divisors(row.out_channels // row.groups) if n <= BLOCK)
    return max(n for n in divisors(row.in_channels // row.groups) if n <= ki), ki
