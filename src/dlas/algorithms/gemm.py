"""GEMM convolution: gather every patch into a column (im2col), then one matrix product per group.

Source: Chellapilla, Puri and Simard 2006, "High Performance Convolutional Neural Networks for
Document Processing"; the "GEMM" primitive of DLAS (arXiv:2311.08909).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dlas.algorithms.blocked import BlockedPrimitive, padded_blocked
from dlas.algorithms.formatted import Formatted
from dlas.algorithms.primitive import Array, Tensor, accumulator, multiply, padded
from dlas.algorithms.register_tile import Reach, apply_tile, ranked_tiles, tiled_sums
from dlas.algorithms.template import Knobs, Ranked
from dlas.network import LayerRow
from dlas.target import Target

if TYPE_CHECKING:
    from dlas.algorithms.dot.form import DotForm


class Gemm(Formatted, BlockedPrimitive, frozen=True, kw_only=True):
    """Applies to every convolution and dense layer. Weight layout: (K, C/G·R·S), dense (C, K).

    The columns are written to memory, R·S times the input, except for a 1×1 convolution of stride
    1, whose columns are its input."""

    name: ClassVar[str] = "gemm"

    @property
    def dot(self) -> DotForm:
        from dlas.algorithms.dot.form import DotForm

        return DotForm(self.name, columns=True)

    def pack(self, weight: Array, row: LayerRow) -> Array:
        matrix = weight.reshape(row.out_channels, -1)
        return np.ascontiguousarray(matrix.T) if row.op == "dense" else matrix

    def compute(self, data: Tensor, weight: Tensor, zero: Any, row: LayerRow) -> Tensor:
        """product[n, k, i] = Σ j  weight[k, j] · columns[n, k's group, j, i], with i over P·Q."""
        from tvm import te

        if row.op == "dense":
            return dense(data, weight)
        dtype, (height, width) = accumulator(data), row.output_hw
        column = columns(data, zero, row)
        outputs = row.out_channels // row.groups
        j = te.reduce_axis((0, weight.shape[1]), "j")

        def sums(n: Any, k: Any, i: Any) -> Any:
            return te.sum(multiply(column(n, k // outputs, j, i), weight[k, j], dtype), axis=j)

        shape = (data.shape[0], row.out_channels, height * width)
        product = te.compute(shape, sums, name="gemm")
        return te.compute(
            (data.shape[0], row.out_channels, height, width),
            lambda n, k, y, x: product[n, k, y * width + x],
            name="image",
        )

    def pack_blocked(self, weight: Array, row: LayerRow, lanes: int) -> Array:
        """(K, C/G, R, S), dense (K, C) → (K/b, co, R, S, ci, b): see ``Reach`` for co and ci."""
        kernels = weight.reshape(*weight.shape[:2], *row.kernel)
        return Reach.of(row, lanes).pack(kernels)

    def compute_blocked(self, data: Tensor, weight: Tensor, row: LayerRow, lanes: int) -> Tensor:
        """The sums of ``tiled_sums`` over the columns, where pixels lie one after another with all
        their taps. A dense layer takes an image of one pixel."""
        image = padded_blocked(data, row)
        if row.kernel == row.stride == (1, 1):
            return tiled_sums(image, weight, row, lambda y, x, r, s: (y, x), self.stage)
        gathered = blocked_columns(image, row)
        return tiled_sums(gathered, weight, row, lambda *at: at, self.stage)

    def ranked(self, order: Any, target: Target) -> Sequence[Ranked]:
        return ranked_tiles(order, order.get_sblock(self.stage), target)

    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        apply_tile(order, order.get_sblock(self.stage), knobs, threads)


def dense(data: Tensor, weight: Tensor) -> Tensor:
    """data (N, C), weight (C, K) → (N, K)."""
    from tvm import te

    dtype = accumulator(data)
    c = te.reduce_axis((0, weight.shape[0]), "c")
    return te.compute(
        (data.shape[0], weight.shape[1]),
        lambda n, k: te.sum(multiply(data[n, c], weight[c, k], dtype), axis=c),
        name="dense",
    )


def columns(data: Tensor, zero: Any, row: LayerRow) -> Any:
    """The element at (n, group, j, i): row j = (c, r, s) of the patch behind output pixel i."""
    from tvm import te

    image = padded(data, zero, row)
    (kh, kw), (sy, sx), (dy, dx) = row.kernel, row.stride, row.dilation
    inputs, (height, width) = row.in_channels // row.groups, row.output_hw

    def element(n: Any, g: Any, j: Any, i: Any) -> Any:
        c, r, s = j // (kh * kw), j // kw % kh, j % kw
        return image[n, g * inputs + c, i // width * sy + r * dy, i % width * sx + s * dx]

    if row.kernel == row.stride == (1, 1):
        return element
    shape = (data.shape[0], row.groups, inputs * kh * kw, height * width)
    im2col = te.compute(shape, element, name="im2col")
    return lambda *index: im2col[index]


def blocked_columns(image: Tensor, row: LayerRow) -> Tensor:
    """image (N, C/b, H, W, b) → (N, C/b, P, Q, R, S, b), or (N, C, H, W) → (N, C, P, Q, R, S)."""
    from tvm import te

    (sy, sx), (dy, dx) = row.stride, row.dilation
    batch, channels, _, _, *lanes = image.shape

    def element(n: Any, c: Any, y: Any, x: Any, r: Any, s: Any, *lane: Any) -> Any:
        return image[(n, c, y * sy + r * dy, x * sx + s * dx, *lane)]

    shape = (batch, channels, *row.output_hw, *row.kernel, *lanes)
    return te.compute(shape, element, name="im2col")
