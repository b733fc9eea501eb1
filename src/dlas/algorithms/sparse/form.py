"""A primitive's sparse form: its kernels for a layer, and how a system orders their loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dlas.algorithms.formats import Bsr
from dlas.algorithms.sparse.cost import Machine, Stored, cost, tiles
from dlas.algorithms.sparse.kernel import Kernel
from dlas.algorithms.sparse.packed import pack
from dlas.algorithms.sparse.tile import Shifts, Tile, grid
from dlas.algorithms.template import Knobs
from dlas.algorithms.tiles import divisors, extents, join_epilogue
from dlas.network import LayerRow
from dlas.target import Target


@dataclass(frozen=True)
class SparseForm:
    """Of the primitive of that name. Like a ``TemplatePrimitive`` it orders the loops of a kernel
    after fusion, around the stage ``stage``; there is one order."""

    name: str
    shifts: Shifts
    streams_weights = False

    @property
    def stage(self) -> str:
        return f"{self.name}_sparse_template"

    def kernels(
        self, weights: Bsr, row: LayerRow, target: Target, threads: int, most: int, batch: int = 1
    ) -> Sequence[Kernel]:
        """Those of so many tiles at most, the cheapest by estimate first, for ``batch`` images.
        ``weights``: all groups in one."""
        machine, stored = machine_of(target), Stored.of(weights)
        found = tiles(row, self.shifts, stored, machine)[:most]
        return [
            replace(
                self.kernel(weights, tile, threads, batch),
                estimate=cost(tile, stored, machine).total * target.lanes * batch,
            )
            for tile in found
        ]

    def simplest(
        self, weights: Bsr, row: LayerRow, target: Target, threads: int, batch: int = 1
    ) -> Kernel:
        """The one of no choices: a row of outputs, all input channels, one output channel."""
        _, width = grid(row)
        used = Stored.of(weights).used
        lanes = target.lanes
        most = (target.vector_registers - 2) * lanes
        tile = Tile(row, self.shifts, lanes, 1, min(width, most), max(used, weights.block[1]))
        return self.kernel(weights, tile, threads, batch)

    def kernel(self, weights: Bsr, tile: Tile, threads: int, batch: int = 1) -> Kernel:
        rows = len(weights.pointers) - 1
        parts = threads if batch * tile.tiles < threads and rows % threads == 0 else 1
        return Kernel(self.stage, tile, pack(weights, tile, parts), batch, parts)

    def candidates(self, order: Any, target: Target) -> Sequence[Knobs]:
        return [{"lanes": target.lanes}]

    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        """Bias, residual and activation follow tile by tile, while the sums are near."""
        block = order.get_sblock(self.stage)
        height, width, in_order = (int(n) for n in order.get(block).annotations["tile"])
        last = join_epilogue(order, block)
        _, _, p, q = extents(order, last)["outputs"]
        if in_order:
            order.transform_block_layout(last, lambda n, k, y, x: (n, k, y * q + x))
            n, k, at = order.get_loops(last)
            held = min(height * width, p * q)
            tile, inner = order.split(at, [None, held])
            order.reorder(n, tile, k, inner)
            outer, length = order.fuse(n, tile), math.gcd(held, p * q)
        else:
            n, k, y, x = order.get_loops(last)
            y_tile, y_in = order.split(y, [None, height])
            x_tile, inner = order.split(x, [None, width])
            order.reorder(n, y_tile, x_tile, k, y_in, inner)
            outer, length = order.fuse(n, y_tile, x_tile), math.gcd(width, q)
        vector = max(d for d in divisors(length) if d <= knobs["lanes"])
        order.vectorize(order.split(inner, [None, vector])[1])
        at, part, _ = order.get_loops(block)
        if int(order.get(at).extent) > 1:
            order.compute_at(block, outer, preserve_unit_loops=True)
            if threads > 1:
                order.parallel(outer)
        elif threads > 1:
            order.parallel(part)
            order.parallel(k)


def machine_of(target: Target) -> Machine:
    usual = Machine()
    return Machine(
        target.lanes,
        target.vector_registers,
        target.cache_bytes(1) or usual.first_cache,
        target.cache_bytes(2) or usual.second_cache,
    )
