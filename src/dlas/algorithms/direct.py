"""Direct convolution: the definition, seven nested loops on data as it lies.

Source: the "direct" primitive of DLAS (Gibson et al. 2023, arXiv:2311.08909). The template's loops,
a vector being one of positions along the rows (``positions.py``):

    write the padded image
    for every tile of rk channels × ri vectors:                      (parallel, in either order)
        rk · ri accumulators, one vector each, = 0
        for c, r, s:                                                 the sum
            ri vectors of the image, rk weights, broadcast: rk · ri fused multiply-adds
    add bias and residual, activate, store, without the positions between the rows
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

from dlas.algorithms.formatted import Formatted
from dlas.algorithms.positions import Positions
from dlas.algorithms.primitive import Array, Layout, Tensor, accumulator, multiply, padded, widened
from dlas.algorithms.register_tile import IN_FLIGHT, TILE_BYTES
from dlas.algorithms.template import Knobs, Ranked, TemplatePrimitive
from dlas.algorithms.tiles import TAPS, divisors, extents, join_epilogue, stages_before
from dlas.network import LayerRow
from dlas.target import Target

if TYPE_CHECKING:
    from dlas.algorithms.dot.form import DotForm


class Direct(Formatted, TemplatePrimitive, frozen=True, kw_only=True):
    """Applies to every convolution. Weight layout: (K, C/G, R, S), as in the network."""

    name: ClassVar[str] = "direct"
    template: ClassVar[Layout | None] = "plain"

    @property
    def dot(self) -> DotForm:
        """Vectors of output channels on narrow numbers; nothing is gathered or packed for a matrix
        unit."""
        from dlas.algorithms.dot.form import DotForm

        return DotForm(self.name, packs=False)

    def pack(self, weight: Array, row: LayerRow) -> Array:
        return weight

    def compute(self, data: Tensor, weight: Tensor, zero: Any, row: LayerRow) -> Tensor:
        """out[n, k, y, x] = Σ c, r, s  data[n, c, y·stride + r·dilation, …] · weight[k, c, r, s]"""
        from tvm import te

        image, dtype = padded(data, zero, row), accumulator(data)
        (sy, sx), (dy, dx) = row.stride, row.dilation
        inputs, outputs = row.in_channels // row.groups, row.out_channels // row.groups
        c = te.reduce_axis((0, inputs), "c")
        r = te.reduce_axis((0, row.kernel[0]), "r")
        s = te.reduce_axis((0, row.kernel[1]), "s")

        def output(n: Any, k: Any, y: Any, x: Any) -> Any:
            pixel = image[n, k // outputs * inputs + c, y * sy + r * dy, x * sx + s * dx]
            return te.sum(multiply(pixel, weight[k, c, r, s], dtype), axis=[c, r, s])

        shape = (data.shape[0], row.out_channels, *row.output_hw)
        return te.compute(shape, output, name="direct")

    def compute_plain(self, data: Tensor, weight: Tensor, row: LayerRow, lanes: int) -> Tensor:
        """sums[n, k, i] = Σ c, r, s  planes[n, k's group, i + offset(r, s)] · weight[k, c, r, s];
        data (N, C, H, W) → (N, K, P, Q)."""
        from tvm import te

        positions = Positions(row, lanes)
        planes, taps = positions.planes(data), widened(weight, TAPS)
        inputs, outputs = row.in_channels // row.groups, row.out_channels // row.groups
        c = te.reduce_axis((0, inputs), "c")
        r = te.reduce_axis((0, row.kernel[0]), "r")
        s = te.reduce_axis((0, row.kernel[1]), "s")

        def sums(n: Any, k: Any, i: Any) -> Any:
            pixel = positions.read(planes, n, k // outputs * inputs + c, (r, s), i)
            return te.sum(pixel * taps[k, c, r, s], axis=[c, r, s])

        batch, channels, pitch = data.shape[0], row.out_channels, positions.pitch
        found = te.compute((batch, channels, positions.number), sums, name=self.stage)
        return te.compute(
            (batch, channels, *row.output_hw),
            lambda n, k, y, x: found[n, k, y * pitch + x],
            name="image",
        )

    def ranked(self, order: Any, target: Target) -> Sequence[Ranked]:
        """Every tile that fits the registers, in both orders of the tiles. ``rk`` divides a group's
        output channels."""
        block, lanes = order.get_sblock(self.stage), target.lanes
        found = extents(order, block)
        batch, channels, positions = found["outputs"]
        inputs, rows, columns = found["sums"]
        streamed = 4 * channels * inputs * rows * columns > target.cache_bytes(2)
        work = batch * channels * positions * inputs * rows * columns
        ranked: list[Ranked] = []
        for rk, ri in product(
            divisors(channels // groups(order, block)), divisors(positions // lanes)
        ):
            vectors = rk * ri
            fits = vectors * 4 * lanes <= TILE_BYTES and vectors + ri < target.vector_registers
            if vectors == 1 or fits:
                cost = max(IN_FLIGHT / vectors, 1.0) + 0.5 / rk + 0.2 / ri
                tile = {"rk": rk, "ri": ri, "lanes": lanes}
                ranked += [
                    (
                        (cost + 0.01 * (outside == streamed)) * work,
                        {**tile, "positions_outside": outside},
                    )
                    for outside in (1, 0)
                ]
        return sorted(ranked, key=lambda pair: pair[0])

    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        """Where all positions are outputs, the sums become outputs in registers; elsewhere they are
        stored first, those of one tile of channels or of all."""
        block, rk = order.get_sblock(self.stage), knobs["rk"]
        batch, channels, positions = extents(order, block)["outputs"]
        *_, height, width = extents(order, order.get_sblock("image"))["outputs"]
        (before, taps), last = stages_before(order, block), join_epilogue(order, block)
        outside = knobs["positions_outside"]
        shape = [batch, channels, height, width]
        exact = positions == height * width and extents(order, last)["outputs"] == shape
        if exact:
            order.transform_block_layout(last, lambda n, k, y, x: (n, k, y * width + x))
            order.set_scope(block, 0, "local")
            tiled = last
        else:
            tiled = order.cache_write(block, 0, "local")
        if exact or outside:
            n, k, i = order.get_loops(tiled)
            k_tile, k_in = order.split(k, [None, rk])
        else:
            n, k, _, _ = order.get_loops(last)
            k_tile, _ = order.split(k, [None, rk])
            order.compute_at(tiled, k_tile, preserve_unit_loops=True)
            *_, k_in, i = order.get_loops(tiled)
        i_tile, i_in, lane = order.split(i, [None, knobs["ri"], knobs["lanes"]])
        if outside:
            order.reorder(i_tile, k_tile, k_in, i_in, lane)
        elif exact:
            order.reorder(k_tile, i_tile, k_in, i_in, lane)
        else:
            order.reorder(i_tile, k_in, i_in, lane)

        order.compute_at(block, k_tile if outside else i_tile, preserve_unit_loops=True)
        *_, k, i, c, r, s = order.get_loops(block)
        i, vector = order.split(i, [None, knobs["lanes"]])
        order.reorder(c, r, s, k, i, vector)
        for loop in (k_in, i_in, k, i):
            order.unroll(loop)
        order.vectorize(lane)
        order.vectorize(vector)

        for stage in taps:
            order.compute_at(stage, k_tile)
        alone = not outside and rk * groups(order, block) == channels
        if before and alone:  # a tile of channels for each group: its inputs, while it is computed
            order.compute_at(before[0], k_tile)
        if threads > 1:
            order.parallel(order.fuse(n, i_tile if outside else k_tile))
            for stage in before if not alone else ():
                order.parallel(order.fuse(*order.get_loops(stage)[:2]))
            if outside and not exact:
                order.parallel(order.fuse(*order.get_loops(last)[:2]))
        order.decompose_reduction(block, c)


def groups(order: Any, block: Any) -> int:
    """Of the convolution whose sums these are."""
    image, _ = order.get(block).reads
    return int(image.source.shape[1]) // extents(order, block)["sums"][0]
