"""Depthwise convolution: every channel filtered by itself, a vector of channels at a time.

Source: Howard et al. 2017, "MobileNets", arXiv:1704.04861; vectorized over channels as in Zhang, Lo
and Lu 2020, "High Performance Depthwise and Pointwise Convolutions on Mobile Devices".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from dlas.algorithms.blocked import BlockedPrimitive
from dlas.algorithms.group_lanes import (
    apply_in_groups,
    group_sums,
    pack_groups,
    ranked_groups,
)
from dlas.algorithms.primitive import Array, Tensor, accumulator, multiply, padded
from dlas.algorithms.template import Knobs, Ranked
from dlas.network import LayerRow
from dlas.target import Target


class Depthwise(BlockedPrimitive, frozen=True, kw_only=True):
    """Applies where every group has one input and one output channel. Weight layout: (C, R, S)."""

    name: ClassVar[str] = "depthwise"
    takes_plain: ClassVar[bool] = False
    streams_weights: ClassVar[bool] = False

    def refuses_layer(self, row: LayerRow) -> str | None:
        if row.groups == row.in_channels == row.out_channels:
            return None
        return "depthwise filters every channel by itself; here output channels mix inputs"

    def pack(self, weight: Array, row: LayerRow) -> Array:
        return weight[:, 0]

    def compute(self, data: Tensor, weight: Tensor, zero: Any, row: LayerRow) -> Tensor:
        """out[n, c, y, x] = Σ r, s  data[n, c, y · stride + r · dilation, …] · weight[c, r, s]"""
        from tvm import te

        image, dtype = padded(data, zero, row), accumulator(data)
        (sy, sx), (dy, dx) = row.stride, row.dilation
        r = te.reduce_axis((0, row.kernel[0]), "r")
        s = te.reduce_axis((0, row.kernel[1]), "s")
        return te.compute(
            (data.shape[0], row.out_channels, *row.output_hw),
            lambda n, c, y, x: te.sum(
                multiply(image[n, c, y * sy + r * dy, x * sx + s * dx], weight[c, r, s], dtype),
                axis=[r, s],
            ),
            name=self.name,
        )

    def orders(self, row: LayerRow, lanes: int) -> None:
        """Any, and the same on both sides."""

    def pack_blocked(self, weight: Array, row: LayerRow, lanes: int) -> Array:
        return pack_groups(weight, lanes)

    def compute_blocked(self, data: Tensor, weight: Tensor, row: LayerRow, lanes: int) -> Tensor:
        return group_sums(data, weight, row, self.stage)

    def ranked(self, order: Any, target: Target) -> Sequence[Ranked]:
        return ranked_groups(order, order.get_sblock(self.stage), target)

    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        apply_in_groups(order, order.get_sblock(self.stage), knobs, threads)
