"""The kernel of a sparse convolution, written out as the loops it is.

for every tile of outputs, and part of the output channels:
    for every block of input channels:
        pack their pixels (``packing.py``)
        for every R_b output channels, some at once:
            for every entry of theirs, for its C_b channels:
                vectors of pixels at the entry's offset, each times a weight
            added to the sums of the tile
every output: its sum + bias                  (bias, residual, activation: fused by the system)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dlas.algorithms.sparse.loops import Expr, argument, int64, unrolled, vectors
from dlas.algorithms.sparse.packed import Packed
from dlas.algorithms.sparse.packing import Packing
from dlas.algorithms.sparse.tile import Tile
from dlas.algorithms.tiles import numbers_of, of_batch

#: The stage after the one that computes the tiles.
IMAGE = "sparse_image"
#: Relax's fusion pattern "elementwise operators may follow".
ELEMENTWISE_MAY_FOLLOW = 4
#: How far ahead weights are asked for, and llvm.prefetch's: for reading, into every cache, data.
AHEAD_BYTES, CACHE_LINE = 8192, 64
READ, LOCALITY, DATA = 0, 3, 1


@dataclass(frozen=True)
class Kernel:
    """``stage``: the name of the stage that computes the tiles. ``parts``: of the output channels,
    for threads to take where there are fewer tiles than threads; divides the rows of blocks.
    ``estimate``: of its cost, in multiply-adds."""

    stage: str
    tile: Tile
    packed: Packed
    batch: int = 1
    parts: int = 1
    estimate: float = 1.0

    @property
    def rows(self) -> int:
        """Of blocks of output channels."""
        return int(self.packed.pointers.shape[1]) - 1

    @property
    def workload(self) -> dict[str, float]:
        """The layer in numbers, by which a cost model tells it from others."""
        high, wide = self.packed.block
        entries = int(self.packed.pointers[:, -1].max()) * len(self.packed.pointers)
        shapes = numbers_of(self.tile.row, self.batch)
        return {**shapes, "high": high, "wide": wide, "entries": entries}

    @property
    def identity(self) -> str:
        """What it computes, and how; not with which weights."""
        return f"{self.tile}{of_batch(self.batch)}"

    @property
    def knobs(self) -> dict[str, float]:
        tile = self.tile
        return {
            "height": tile.height, "width": tile.width, "channels": tile.channels,
            "rows": tile.rows, "step": tile.step,
        }  # fmt: skip

    @property
    def in_order(self) -> bool:
        """Whether a tile's positions are neighbours in the images too, row after row."""
        return self.tile.flat or (self.tile.pitch == self.tile.width and self.tile.number[1] == 1)

    def function(self) -> Any:
        """A ``tvm.tirx.PrimFunc``: image (N, C, H, W), packed arrays, bias (K) → (N, K, P, Q)."""
        from tvm.script.ir_builder import IRBuilder
        from tvm.script.ir_builder import tirx as T

        row, packed = self.tile.row, self.packed
        result = (self.batch, row.out_channels, *row.output_hw)
        with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
            T.func_name("sparse")
            T.func_attr({"op_pattern": ELEMENTWISE_MAY_FOLLOW, "tirx.noalias": True})
            image = argument("image", (self.batch, row.in_channels, *row.input_hw))
            names = ("values", "offsets", "pointers", "turns", "channels")
            given = {
                name: argument(name, array.shape, str(array.dtype))
                for name, array in zip(names, packed.arrays, strict=True)
            }
            bias, out = argument("bias", (row.out_channels,)), argument("out", result)
            self.outputs(bias, out, self.tiles(image, given))
        return builder.get()

    def tiles(self, image: Any, given: dict[str, Any]) -> Any:
        """The sums (N · tiles, rows · R_b, positions) of every tile."""
        from tvm.script.ir_builder import tirx as T

        number, span = self.batch * self.tile.tiles, self.tile.vectors * self.tile.lanes
        some = self.rows * self.packed.block[0] // self.parts
        sums = T.sblock_alloc_buffer((number, some * self.parts, span), "float32")
        with T.grid(*map(int64, (number, self.parts, 1))) as loops, T.sblock(self.stage):
            at, part, whole = (
                T.axis.spatial(int64(extent), loop)
                for extent, loop in zip((number, self.parts, 1), loops, strict=True)
            )
            T.reads(*(x[tuple(slice(0, n) for n in x.shape)] for x in (image, *given.values())))
            written = slice(part * some, part * some + some)
            T.writes(sums[at, written, whole * span : whole * span + span])
            T.sblock_attr({"tile": [self.tile.height, self.tile.width, int(self.in_order)]})
            self.compute_tile(at, part, image, given, sums)
        return sums

    def outputs(self, bias: Any, out: Any, sums: Any) -> None:
        from tvm.script.ir_builder import tirx as T

        shape = (self.batch, self.tile.row.out_channels, *self.tile.row.output_hw)
        with T.grid(*map(int64, shape)) as loops, T.sblock(IMAGE):
            axes = (T.axis.spatial(int64(e), at) for e, at in zip(shape, loops, strict=True))
            n, k, y, x = axes
            tile, position = self.place(y, x)
            T.reads(sums[n * self.tile.tiles + tile, k, position], bias[k])
            T.writes(out[n, k, y, x])
            total = sums[n * self.tile.tiles + tile, k, position] + bias[k]
            T.buffer_store(out, total, [n, k, y, x])

    def place(self, y: Expr, x: Expr) -> tuple[Expr, Expr]:
        """The tile that an output is in, and its position there."""
        tile, (_, columns), (_, across) = self.tile, self.tile.row.output_hw, self.tile.number
        if self.in_order:
            at, held = y * columns + x, tile.height * tile.width
            return at // held, at % held
        position = y % tile.height * tile.pitch + x % tile.width
        return y // tile.height * across + x // tile.width, position

    def compute_tile(
        self, at: Expr, part: Expr, image: Any, given: dict[str, Any], sums: Any
    ) -> None:
        from tvm.script.ir_builder import tirx as T

        tile, packing, some = self.tile, Packing.of(self.tile), self.rows // self.parts
        staged, pixels = packing.buffers()
        with T.serial(int64(0), int64(len(self.packed.pointers))) as block:
            with T.serial(int64(0), int64(tile.channels)) as i:
                channel = given["channels"][block * tile.channels + i].astype("int64")
                packing.pack(image, at, channel, staged, pixels, i * tile.plane)
            with T.serial(int64(0), int64(some)) as k:
                turn = part * some + k
                pointer = block * (self.rows + 1) + turn
                row = given["turns"][block * self.rows + turn].astype("int64")
                begin, end = (given["pointers"][pointer + i].astype("int64") for i in (0, 1))
                # What gets nothing from this block of channels stays as it is.
                with T.If(T.Or(block == 0, begin < end)), T.Then():
                    self.prefetch(given, begin)
                    passes = self.packed.block[0] // tile.rows
                    with T.serial(int64(0), int64(passes)) as high:
                        entries = begin, (end - begin) // tile.chains
                        self.add((at, block, row, high * tile.rows), entries, pixels, given, sums)

    def prefetch(self, given: dict[str, Any], entry: Expr) -> None:
        """Ask for what a row some way ahead is going to read: a layer's weights come from memory,
        once, and the processor's own prefetching stops at the end of every page."""
        from tvm.script.ir_builder import tirx as T

        pointers, (high, wide) = self.packed.pointers, self.packed.block
        usual = math.ceil(int(pointers[-1, -1]) / max(1, pointers.shape[0] * self.rows))
        for name, each in (("values", 4 * high * wide), ("offsets", self.packed.offsets.itemsize)):
            first = entry * (high * wide if name == "values" else 1) + AHEAD_BYTES // 4
            array = given[name]
            line = CACHE_LINE // getattr(self.packed, name).itemsize
            for i in range(math.ceil(usual * each / CACHE_LINE)):
                later = T.address_of(array[first + i * line])
                kind = (T.int32(value) for value in (READ, LOCALITY, DATA))
                T.evaluate(T.call_llvm_intrin("void", "llvm.prefetch", later, *kind))

    def add(
        self, place: tuple[Expr, Expr, Expr, Expr], entries: tuple[Expr, Expr], pixels: Any,
        given: dict[str, Any], sums: Any,
    ) -> None:  # fmt: skip
        """To the sums of tile ``at``, of the output channels from ``first`` of a row of blocks:
        what they get from this block of input channels, ``entries`` from one on, so many a chain.
        """
        from tvm.script.ir_builder import tirx as T

        (at, block, row, first), (begin, steps) = place, entries
        tile, (high, wide) = self.tile, self.packed.block
        lanes, chains, shape = tile.lanes, tile.chains, (tile.rows, tile.vectors)
        size = tile.rows * tile.vectors * lanes
        held = T.sblock_alloc_buffer((chains * size,), "float32", scope="local")

        def spot(i: Expr, v: Expr, lane: Expr) -> Expr:
            return (i * tile.vectors + v) * lanes + lane

        def total(i: Expr, v: Expr, lane: Expr) -> list[Expr]:
            return [at, row * high + first + i, v * lanes + lane]

        with T.If(block == 0):
            with T.Then(), vectors(shape, lanes) as (i, v, lane):
                T.buffer_store(held, T.float32(0), [spot(i, v, lane)])
            with T.Else(), vectors(shape, lanes) as (i, v, lane):
                T.buffer_store(held, sums[tuple(total(i, v, lane))], [spot(i, v, lane)])
        with vectors((chains - 1, *shape), lanes) as (chain, i, v, lane):
            T.buffer_store(held, T.float32(0), [(chain + 1) * size + spot(i, v, lane)])
        with T.serial(int64(0), steps) as step, unrolled(chains, wide) as (chain, channel):
            entry = begin + step * chains + chain
            offset = given["offsets"][entry].astype("int64") + channel * tile.plane
            with vectors(shape, lanes) as (i, v, lane):
                value = given["values"][(entry * wide + channel) * high + first + i]
                product = value * pixels[offset + v * lanes + lane]
                kept = chain * size + spot(i, v, lane)
                T.buffer_store(held, held[kept] + product, [kept])
        with vectors(shape, lanes) as (i, v, lane):
            parts = [held[chain * size + spot(i, v, lane)] for chain in range(chains)]
            T.buffer_store(sums, sum(parts[1:], parts[0]), total(i, v, lane))
