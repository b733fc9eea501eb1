"""Spatial pack convolution: channels in blocks of a vector's width, so that the innermost loop is
one vector of output channels and every load and store is contiguous.

Source: TVM's ``conv2d_NCHWc`` / spatial pack schedules (Liu et al. 2019, "Optimizing CNN Model
Inference on CPUs", arXiv:1809.02697); the primitive of DLAS (arXiv:2311.08909).
``compute`` packs the input and unpacks the output in every layer; ``compute_blocked`` reads and
writes the blocked layout, which a system then keeps from layer to layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dlas.algorithms.blocked import BlockedPrimitive, padded_blocked
from dlas.algorithms.formatted import Formatted
from dlas.algorithms.primitive import Array, Tensor, accumulator, multiply, padded
from dlas.algorithms.register_tile import Reach, apply_tile, ranked_tiles, tiled_sums
from dlas.algorithms.template import Knobs, Ranked
from dlas.network import LayerRow
from dlas.target import Target

#: Channels in a block of ``compute``, a format like (N, C, H, W) and the same for every processor;
#: those of ``compute_blocked`` are vectors of the target.
BLOCK = 16


class SpatialPack(Formatted, BlockedPrimitive, frozen=True, kw_only=True):
    """Refuses depthwise convolutions. With ``co`` blocks of ``ci`` input channels and ``ko`` blocks
    of ``ki`` output channels in a group, the data is (N, G, co, H, W, ci) and the weight (G, ko,
    co, R, S, ci, ki); channels that the blocks do not divide are filled with zeros."""

    name: ClassVar[str] = "spatial_pack"

    def refuses_layer(self, row: LayerRow) -> str | None:
        if row.out_channels == row.groups:
            return "spatial_pack blocks the output channels of a group; here a group has only one"
        return None

    def pack(self, weight: Array, row: LayerRow) -> Array:
        co, ci = blocks(row.in_channels // row.groups)
        ko, ki = blocks(row.out_channels // row.groups)
        _, inputs, r, s = weight.shape
        grouped = weight.reshape(row.groups, -1, inputs, r, s)
        fill = [(0, 0), (0, ko * ki - grouped.shape[1]), (0, co * ci - inputs), (0, 0), (0, 0)]
        split = np.pad(grouped, fill).reshape(row.groups, ko, ki, co, ci, r, s)
        return np.ascontiguousarray(split.transpose(0, 1, 3, 5, 6, 4, 2))

    def compute(self, data: Tensor, weight: Tensor, zero: Any, row: LayerRow) -> Tensor:
        """sums[n, g, ko, y, x, ki] = Σ co, r, s, ci  packed[n, g, co, …, ci] · weight[…, ci, ki]"""
        from tvm import te

        (sy, sx), (dy, dx), dtype = row.stride, row.dilation, accumulator(data)
        blocked = packed(data, zero, row)
        outputs = row.out_channels // row.groups
        ko, ki = blocks(outputs)
        co = te.reduce_axis((0, weight.shape[2]), "co")
        r = te.reduce_axis((0, row.kernel[0]), "r")
        s = te.reduce_axis((0, row.kernel[1]), "s")
        ci = te.reduce_axis((0, weight.shape[5]), "ci")
        sums = te.compute(
            (data.shape[0], row.groups, ko, *row.output_hw, ki),
            lambda n, g, k, y, x, lane: te.sum(
                multiply(
                    blocked[n, g, co, y * sy + r * dy, x * sx + s * dx, ci],
                    weight[g, k, co, r, s, ci, lane],
                    dtype,
                ),
                axis=[co, r, s, ci],
            ),
            name="spatial_pack",
        )
        return te.compute(
            (data.shape[0], row.out_channels, *row.output_hw),
            lambda n, k, y, x: sums[n, k // outputs, k % outputs // ki, y, x, k % outputs % ki],
            name="unpacked",
        )

    def pack_blocked(self, weight: Array, row: LayerRow, lanes: int) -> Array:
        """(K, C/G, R, S) → (K/b, co, R, S, ci, b): see ``Reach`` for co and ci."""
        return Reach.of(row, lanes).pack(weight)

    def compute_blocked(self, data: Tensor, weight: Tensor, row: LayerRow, lanes: int) -> Tensor:
        """The sums of ``tiled_sums`` over the padded image."""
        (sy, sx), (dy, dx) = row.stride, row.dilation
        image = padded_blocked(data, row)

        def place(y: Any, x: Any, r: Any, s: Any) -> tuple[Any, Any]:
            return y * sy + r * dy, x * sx + s * dx

        return tiled_sums(image, weight, row, place, self.stage)

    def ranked(self, order: Any, target: Target) -> Sequence[Ranked]:
        return ranked_tiles(order, order.get_sblock(self.stage), target)

    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        apply_tile(order, order.get_sblock(self.stage), knobs, threads)


def blocks(channels: int) -> tuple[int, int]:
    """(number, width) of the blocks for so many channels: no more than ``BLOCK`` wide, and as even
    as can be, so that the fewest zeros are computed on (20 channels are 2 × 10)."""
    number = -(-channels // BLOCK)
    return number, -(-channels // number)


def packed(data: Tensor, zero: Any, row: LayerRow) -> Tensor:
    """data (N, C, H, W) → padded and blocked (N, G, co, H, W, ci)."""
    from tvm import te, tirx

    image = padded(data, zero, row)
    inputs = row.in_channels // row.groups
    number, width = blocks(inputs)

    def element(n: Any, g: Any, co: Any, y: Any, x: Any, ci: Any) -> Any:
        c = co * width + ci
        value = image[n, g * inputs + c, y, x]
        if number * width == inputs:
            return value
        return tirx.if_then_else(c < inputs, value, tirx.const(0, str(data.dtype)))

    shape = (data.shape[0], row.groups, number, image.shape[2], image.shape[3], width)
    return te.compute(shape, element, name="packed")
