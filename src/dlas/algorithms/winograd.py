"""Winograd convolution F(m×m, 3×3): tiles of m × m outputs by (m + 2)² multiplications a channel
instead of 9 m².

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A      summed over channels inside the brackets

so that the sum over channels is α² = (m + 2)² independent matrix products. Source: Lavin and Gray
2015, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308, section 4.

The template's loops: for every block of tile rows (its transformed tiles stay in the second cache)

    write the padded rows
    transform all input tiles: Bᵀ d, then · B, a vector of channels at a time, unrolled
    multiply: for i, j < α: register tiles (``register_tile.py``) of channels × tile rows × tiles
    transform back: Aᵀ M, then · A; add bias and residual, activate, store
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dlas.algorithms.blocked import BlockedPrimitive, padded_blocked
from dlas.algorithms.dense_cost import PER_TRANSFORMED
from dlas.algorithms.primitive import Array, Tensor, accumulator, multiply
from dlas.algorithms.register_tile import Reach, compute_in_registers, tiles_of
from dlas.algorithms.template import Knobs, Ranked
from dlas.algorithms.tiles import divisors, extents, join_epilogue
from dlas.network import LayerRow, Network
from dlas.target import Target

Matrix = NDArray[np.float64]
#: Element i of matrix · x, of the matrix, i, and x as a function of its index.
Element = Callable[[Matrix, Any, Callable[[Any], Any]], Any]
#: What can be transformed; the transforms are computed in float32.
FLOATS = ("float32", "float16")


class Winograd(BlockedPrimitive, frozen=True, kw_only=True):
    """F(2×2, 3×3): 2.25 times fewer multiplications; rounding errors as of a direct sum."""

    name: ClassVar[str] = "winograd"
    fallback: ClassVar[str] = "spatial_pack"
    takes_plain: ClassVar[bool] = False
    outputs: ClassVar[int] = 2
    expansion: ClassVar[float] = 16 / 9
    #: Of transformed weights; None: that of the weights.
    precision: ClassVar[str | None] = None
    #: Bᵀ (α × α), G (α × 3) and Aᵀ (m × α).
    to_tiles: ClassVar[tuple[tuple[float, ...], ...]] = (
        (1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1),
    )  # fmt: skip
    to_weights: ClassVar[tuple[tuple[float, ...], ...]] = (
        (1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1),
    )  # fmt: skip
    to_outputs: ClassVar[tuple[tuple[float, ...], ...]] = ((1, 1, 1, 0), (0, 1, -1, -1))

    def refuses(self, network: Network) -> str | None:
        if network.dtype in FLOATS:
            return None
        return f"{self.name} sums transformed values: float networks only, not {network.dtype}"

    def refuses_layer(self, row: LayerRow) -> str | None:
        if row.dtype not in FLOATS:
            return f"{self.name} sums transformed values: float layers only, not {row.dtype}"
        if row.kernel == (3, 3) and row.stride == row.dilation == (1, 1):
            return None
        return f"{self.name} computes 3×3 convolutions of stride 1 and dilation 1"

    def pack(self, weight: Array, row: LayerRow) -> Array:
        return self.pack_blocked(weight, row, 1)

    def compute(self, data: Tensor, weight: Tensor, zero: Any, row: LayerRow) -> Tensor:
        """The blocked form with blocks of one channel."""
        from tvm import te

        shape = (*data.shape, 1)
        image = te.compute(shape, lambda n, c, y, x, lane: data[n, c, y, x], name="image")
        sums = self.stages(image, weight, row, 1, element_by_itself)
        return te.compute(sums.shape[:4], lambda n, k, y, x: sums[n, k, y, x, 0], name="plain")

    def pack_blocked(self, weight: Array, row: LayerRow, lanes: int) -> Array:
        """G g Gᵀ of every kernel: (K, C/G, 3, 3) → (α, α, K/b, co, ci, b), the order in which they
        are read; in float64, then rounded to ``precision``, or the weight's own type."""
        g = np.array(self.to_weights)
        transformed = np.einsum("ir,kcrs,js->kcij", g, weight.astype(np.float64), g)
        packed = Reach.of(row, lanes).pack(transformed.astype(self.precision or weight.dtype))
        return np.ascontiguousarray(packed.transpose(2, 3, 0, 1, 4, 5))

    def compute_blocked(self, data: Tensor, weight: Tensor, row: LayerRow, lanes: int) -> Tensor:
        return self.stages(data, weight, row, lanes, element)

    def stages(
        self, data: Tensor, weight: Tensor, row: LayerRow, lanes: int, first: Element
    ) -> Tensor:
        """products[n, k, i, j, ty, tx, lane] = Σ co, ci  tiles[…] · weight[i, j, k, co, ci, lane],
        between the two transforms. Each is two stages, of which ``first`` makes the first: written
        as one, it is an expression of hundreds of loads that TVM copies for every i and j."""
        from msgspec.structs import replace
        from tvm import te

        m, alpha, (height, width) = self.outputs, self.outputs + 2, row.output_hw
        rows, columns = math.ceil(height / m), math.ceil(width / m)
        top, left, _, _ = row.pads
        bottom = rows * m + 2 - row.input_hw[0] - top
        right = columns * m + 2 - row.input_hw[1] - left
        image = padded_blocked(data, replace(row, pads=(top, left, bottom, right)))
        batch, blocks, _, _, _ = data.shape
        to_tiles, to_outputs = np.array(self.to_tiles), np.array(self.to_outputs)

        def tile_column(n: Any, c: Any, i: Any, q: Any, ty: Any, tx: Any, lane: Any) -> Any:
            at = lambda p: image[n, c, ty * m + p, tx * m + q, lane]  # noqa: E731
            return first(to_tiles, i, at)

        def tile(n: Any, c: Any, i: Any, j: Any, ty: Any, tx: Any, lane: Any) -> Any:
            return element(to_tiles, j, lambda q: tile_columns[n, c, i, q, ty, tx, lane])

        shape = (batch, blocks, alpha, alpha, rows, columns, lanes)
        tile_columns = te.compute(shape, tile_column, name="tile_columns")
        tiles = te.compute(shape, tile, name="tiles")
        co = te.reduce_axis((0, weight.shape[3]), "co")
        ci = te.reduce_axis((0, weight.shape[4]), "ci")
        reach = Reach.of(row, lanes)

        def product(n: Any, k: Any, i: Any, j: Any, ty: Any, tx: Any, lane: Any) -> Any:
            value = reach.pixel(tiles, n, k, (co, ci), (i, j, ty, tx))
            value = multiply(value, weight[i, j, k, co, ci, lane], accumulator(data))
            return te.sum(value, axis=[co, ci])

        shape = (batch, weight.shape[2], alpha, alpha, rows, columns, lanes)
        products = te.compute(shape, product, name=self.stage)

        def image_column(n: Any, k: Any, y: Any, j: Any, ty: Any, tx: Any, lane: Any) -> Any:
            return first(to_outputs, y, lambda i: products[n, k, i, j, ty, tx, lane])

        def pixel(n: Any, k: Any, y: Any, x: Any, lane: Any) -> Any:
            at = lambda j: image_columns[n, k, y % m, j, y // m, x // m, lane]  # noqa: E731
            return element(to_outputs, x % m, at)

        shape = (batch, weight.shape[2], m, alpha, rows, columns, lanes)
        image_columns = te.compute(shape, image_column, name="image_columns")
        return te.compute((batch, weight.shape[2], height, width, lanes), pixel, name="image")

    def ranked(self, order: Any, target: Target) -> Sequence[Ranked]:
        found = extents(order, order.get_sblock(self.stage))
        _, blocks, alpha, _, rows, columns, lanes = found["outputs"]
        image = order.get_sblock("image")
        whole = extents(order, image)["outputs"][2] % self.outputs == 0
        inputs = math.prod(found["sums"])
        row_bytes = 4 * (self.outputs + 2) ** 2 * columns * (inputs + blocks * lanes)
        best = max(target.cache_bytes(2), 2**18) / 2 / row_bytes
        products = math.prod(found["outputs"]) * inputs
        transformed = PER_TRANSFORMED * alpha**2 * rows * columns * (inputs + blocks * lanes)
        ranked = [
            (
                (cost + 0.2 * abs(math.log2(number / best))) * products + transformed,
                {"rows": number, **tile},
            )
            for number in (divisors(rows) if whole else [rows])
            for cost, tile in tiles_of((blocks, number, columns, lanes), target)
        ]
        return sorted(ranked, key=lambda pair: pair[0])

    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        products, m = order.get_sblock(self.stage), self.outputs
        tiles, tile_columns = order.get_sblock("tiles"), order.get_sblock("tile_columns")
        image_columns = order.get_sblock("image_columns")
        before = order.get_producers(tile_columns)
        last = join_epilogue(order, image_columns)
        copy = order.cache_write(products, 0, "local")

        n, k, y, x, lane = order.get_loops(last)
        y_block, y_tile, y_in = order.split(y, [None, knobs["rows"], m])
        x_tile, x_in = order.split(x, [None, m])
        order.reorder(n, y_block, k, y_tile, x_tile, y_in, x_in, lane)
        compute_columns(order, image_columns, x_tile)
        order.compute_at(copy, y_block, preserve_unit_loops=True)
        order.unroll(y_in)
        order.unroll(x_in)
        order.vectorize(lane)

        *_, block, products_at, j, ty, tx, lane = order.get_loops(copy)
        order.reorder(products_at, j, block, ty, tx, lane)
        loops = copy, block, ty, tx, lane
        *_, sums = compute_in_registers(order, products, loops, knobs)

        order.compute_at(tiles, y_block, preserve_unit_loops=True)
        *_, channels, i, j, ty, tx, lane = order.get_loops(tiles)
        order.reorder(channels, ty, tx, i, j, lane)
        order.unroll(i)
        order.unroll(j)
        order.vectorize(lane)
        compute_columns(order, tile_columns, tx)
        shared = [k, channels, products_at]
        for padding in before:
            order.compute_at(padding, y_block, preserve_unit_loops=True)
            *_, channels, _, _, lane = order.get_loops(padding)
            order.vectorize(lane)
            shared.append(channels)
        for loop in shared if threads > 1 else ():
            order.parallel(loop)
        order.decompose_reduction(products, sums)


class Winograd4(Winograd, frozen=True, kw_only=True):
    """F(4×4, 3×3): 4 times fewer multiplications; rounding errors grow about tenfold, so that
    float16 weights, once transformed, are stored as float32."""

    name: ClassVar[str] = "winograd4"
    outputs: ClassVar[int] = 4
    expansion: ClassVar[float] = 36 / 9
    precision: ClassVar[str | None] = "float32"
    to_tiles: ClassVar[tuple[tuple[float, ...], ...]] = (
        (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
    )  # fmt: skip
    to_weights: ClassVar[tuple[tuple[float, ...], ...]] = (
        (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
    )  # fmt: skip
    to_outputs: ClassVar[tuple[tuple[float, ...], ...]] = (
        (1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1),
    )  # fmt: skip


def compute_columns(order: Any, stage: Any, loop: Any) -> None:
    """Compute the transformed columns of one tile where ``loop`` comes to it. Their indices are
    constants, so that LLVM keeps in registers as many of them as there are."""
    order.set_scope(stage, 0, "local")
    order.compute_at(stage, loop, preserve_unit_loops=True)
    *_, i, j, _, _, lane = order.get_loops(stage)
    order.unroll(i)
    order.unroll(j)
    order.vectorize(lane)


def element(matrix: Matrix, index: Any, at: Callable[[Any], Any]) -> Any:
    """Element ``index`` of matrix · x, where at(p) is x's; the index is a loop variable that the
    template unrolls, which leaves one combination."""
    values = [at(p) for p in range(matrix.shape[1])]
    return chosen(index, [combination(coefficients, values) for coefficients in matrix])


def element_by_itself(matrix: Matrix, index: Any, at: Callable[[Any], Any]) -> Any:
    """The same as a sum of one term, which the untuned order computes in a loop of its own: what
    is elementwise it would make one expression of with the stage that follows."""
    from tvm import te

    return te.sum(element(matrix, index, at), axis=te.reduce_axis((0, 1), "one"))


def combination(coefficients: Matrix, values: Sequence[Any]) -> Any:
    """Σ coefficient · value, without the products by 0 and ±1."""
    total: Any = None
    for factor, value in zip(coefficients.tolist(), values, strict=True):
        if factor == 0:
            continue
        term = value if abs(factor) == 1 else value * abs(factor)
        if total is None:
            total = term if factor > 0 else -term
        else:
            total = total + term if factor > 0 else total - term
    return total


def chosen(index: Any, values: Sequence[Any]) -> Any:
    """values[index]"""
    from tvm import tirx

    *others, result = values
    for number, value in reversed(list(enumerate(others))):
        result = tirx.if_then_else(index == number, value, result)
    return result
