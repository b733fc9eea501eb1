"""The kernel of a sparse convolution, written out as the loops it is.

for every tile of outputs, and part of the output channels:
    for every block of input channels:
        pack: for each channel the rows that the tile reads, zeros around them, and their copies
        for every R_b output channels, some at once:
            for every entry of theirs, for its C_b channels:
                vectors of pixels at the entry's offset, each times a weight
            added to the sums of the tile
every output: its sum + bias                  (bias, residual, activation: fused by the system)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dlas.algorithms.sparse.packed import Packed
from dlas.algorithms.sparse.tile import Tile
from dlas.algorithms.sparse.window import Window

#: The stage after the one that computes the tiles.
IMAGE = "sparse_image"
#: Relax's fusion pattern "elementwise operators may follow".
ELEMENTWISE_MAY_FOLLOW = 4

Expr = Any  # of TVM's


@dataclass(frozen=True)
class Kernel:
    """``stage``: the name of the stage that computes the tiles. ``parts``: of the output channels,
    for threads to take where there are fewer tiles than threads; divides the rows of blocks."""

    stage: str
    tile: Tile
    packed: Packed
    batch: int = 1
    parts: int = 1

    @property
    def rows(self) -> int:
        """Of blocks of output channels."""
        return int(self.packed.pointers.shape[1]) - 1

    @property
    def in_order(self) -> bool:
        """Whether a tile's positions are neighbours in the images too, row after row."""
        return self.tile.flat or self.tile.pitch == self.tile.width and self.tile.number[1] == 1

    def function(self) -> Any:
        """A ``tvm.tirx.PrimFunc``: image (N, C, H, W), ``packed.arrays``, bias (K) → (N, K, P, Q)."""
        from tvm.script.ir_builder import IRBuilder
        from tvm.script.ir_builder import tirx as T

        tile, row, packed = self.tile, self.tile.row, self.packed
        span, (tiles, tall) = tile.vectors * tile.lanes, (tile.tiles, self.rows * packed.block[0])
        names = ("values", "offsets", "pointers", "channels")
        with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
            T.func_name("sparse")
            T.func_attr({"op_pattern": ELEMENTWISE_MAY_FOLLOW, "tirx.noalias": True})
            image = argument("image", (self.batch, row.in_channels, *row.input_hw))
            given = {
                name: argument(name, array.shape, str(array.dtype))
                for name, array in zip(names, packed.arrays, strict=True)
            }
            bias = argument("bias", (row.out_channels,))
            result = (self.batch, row.out_channels, *row.output_hw)
            out = argument("out", result)
            sums = T.sblock_alloc_buffer((self.batch * tiles, tall, span), "float32")
            with T.grid(*map(int64, (self.batch * tiles, self.parts, 1))) as (at, part, whole):
                with T.sblock(self.stage):
                    at = T.axis.spatial(int64(self.batch * tiles), at)
                    part, whole = (
                        T.axis.spatial(int64(self.parts), part),
                        T.axis.spatial(int64(1), whole),
                    )
                    T.reads(
                        *(
                            x[tuple(slice(0, n) for n in x.shape)]
                            for x in (image, *given.values())
                        )
                    )
                    some, first = tall // self.parts, part * (tall // self.parts)
                    T.writes(sums[at, first : first + some, whole * span : whole * span + span])
                    T.sblock_attr({"tile": [tile.height, tile.width, int(self.in_order)]})
                    self.compute_tile(at, part, image, given, sums)
            with T.grid(*map(int64, result)) as at, T.sblock(IMAGE):
                n, k, y, x = (
                    T.axis.spatial(int64(e), v) for e, v in zip(result, at, strict=True)
                )
                found, place = self.place(y, x)
                T.reads(sums[n * tiles + found, k, place], bias[k])
                T.writes(out[n, k, y, x])
                T.buffer_store(
                    out, sums[n * tiles + found, k, place] + bias[k], [n, k, y, x]
                )
        return builder.get()

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

        tile = self.tile
        pixels = T.sblock_alloc_buffer((tile.packed,), "float32")
        packing = Packing.of(tile)
        rows = (
            T.sblock_alloc_buffer((packing.staged + tile.lanes,), "float32")
            if packing.copies
            else pixels
        )
        # Vectors also read what is never written, and multiplying denormal numbers takes long.
        packing.zeros(pixels, 0, 0, tile.packed)
        if packing.copies:
            packing.zeros(rows, 0, 0, packing.staged + tile.lanes)
        with loop(T.serial, 0, len(self.packed.pointers)) as block:
            with loop(T.serial, 0, tile.channels) as i:
                channel = given["channels"][block * tile.channels + i].astype("int64")
                packing.stage(image, at, channel, rows, 0 if packing.copies else i * tile.plane)
                if packing.copies:
                    packing.copy(rows, pixels, i * tile.plane)
            some = self.rows // self.parts
            high, at_once = self.packed.block[0], tile.rows
            with loop(T.serial, 0, some) as k, loop(T.serial, 0, high // at_once) as h:
                self.add(at, block, part * some + k, h * at_once, pixels, given, sums)

    def add(
        self,
        at: Expr,
        block: Expr,
        k: Expr,
        first: Expr,
        pixels: Any,
        given: dict[str, Any],
        sums: Any,
    ) -> None:
        """To the sums of the output channels from ``first`` of row k of blocks: what they get from
        this block of input channels."""
        from tvm.script.ir_builder import tirx as T

        tile, (high, wide) = self.tile, self.packed.block
        lanes, vectors, chains, at_once = tile.lanes, tile.vectors, tile.chains, tile.rows
        held = T.sblock_alloc_buffer(
            (chains * at_once * vectors * lanes,), "float32", scope="local"
        )

        def each(do: Callable[[Expr, Expr, Expr, Expr], None]) -> None:
            """For every output channel, chain and position: do(its number, chain, position, place
            in ``held``)."""
            with (
                loop(T.unroll, 0, at_once) as i,
                loop(T.unroll, 0, chains) as chain,
                loop(T.unroll, 0, vectors) as v,loop(T.vectorized, 0, lanes) as lane
            ):
                do(
                    i,
                    chain,
                    v * lanes + lane,
                    ((chain * at_once + i) * vectors + v) * lanes + lane,
                )

        def sum_at(i: Expr, position: Expr) -> list[Expr]:
            return [at, k * high + first + i, position]

        def zero(i: Expr, chain: Expr, position: Expr, place: Expr) -> None:
            T.buffer_store(held, T.float32(0), [place])

        with T.If(block == 0):
            with T.Then():
                each(zero)
            with T.Else():
                with loop(T.unroll, 0, at_once) as i, loop(T.unroll, 0, vectors) as v:
                    with loop(T.vectorized, 0, lanes) as lane:
                        T.buffer_store(
                            held,
                            sums[tuple(sum_at(i, v * lanes + lane))],
                            [(i * vectors + v) * lanes + lane],
                        )
                rest = (chains - 1) * at_once * vectors
                with loop(T.unroll, 0, rest) as v, loop(T.vectorized, 0, lanes) as lane:
                    T.buffer_store(held, T.float32(0), [(at_once * vectors + v) * lanes + lane])
        first_row = block * (self.rows + 1) + k
        begin, end = (given["pointers"][first_row + i].astype("int64") for i in (0, 1))
        with loop(T.serial, 0, (end - begin) // chains) as step:

            def multiply(i: Expr, chain: Expr, position: Expr, place: Expr) -> None:
                entry = begin + step * chains + chain
                offset = given["offsets"][entry].astype("int64")
                value = given["values"][(entry * wide + channel) * high + first + i]
                pixel = pixels[offset + channel * tile.plane + position]
                T.buffer_store(held, held[place] + value * pixel, [place])

            with loop(T.unroll, 0, wide) as channel:
                each(multiply)
        with (
            loop(T.unroll, 0, at_once) as i,
            loop(T.unroll, 0, vectors) as v,
            loop(T.vectorized, 0, lanes) as lane,
        ):
            total = held[(i * vectors + v) * lanes + lane]
            for chain in range(1, chains):
                total = total + held[((chain * at_once + i) * vectors + v) * lanes + lane]
            T.buffer_store(sums, total, sum_at(i, v * lanes + lane))


def argument(name: str, shape: Sequence[int], dtype: str = "float32") -> Any:
    """Shapes are int64 in Relax, whose tensors these are."""
    from tvm.script.ir_builder import tirx as T

    return T.arg(name, T.buffer(list(map(int64, shape)), dtype))


def int64(number: Any) -> Any:
    from tvm import tirx

    return tirx.IntImm("int64", number) if isinstance(number, int) else number


def loop(kind: Any, begin: Any, end: Any) -> Any:
    """Of that kind, its variable int64 as in all kernels of Relax."""
    return kind(int64(begin), int64(end))


@dataclass(frozen=True)
class Packing:
    """Of one channel: the rows that a tile reads are *staged*, with zeros where the image ends, one
    line for every phase of the strides; from there they are copied where lines are shifted."""

    tile: Tile
    down: Window
    across: Window
    rows: int
    pitch: int
    copies: bool

    @classmethod
    def of(cls, tile: Tile) -> Packing:
        down, across = tile.down.unshifted(), tile.across.unshifted()
        copies = (tile.down, tile.across) != (down, across) and tile.row.kernel != (1, 1)
        return cls(
            tile, down, across, tile.height + down.margin, tile.width + across.margin, copies
        )

    @property
    def staged(self) -> int:
        return self.down.lines * self.across.lines * self.rows * self.pitch

    def line(self, py: Expr, px: Expr, y: Expr) -> Expr:
        """Where row y of a line begins."""
        return ((py * self.across.lines + px) * self.rows + y) * self.pitch

    def stage(self, image: Any, at: Expr, channel: Expr, rows: Any, base: Expr) -> None:
        from tvm.script.ir_builder import tirx as T

        tile, height = self.tile, self.down.size
        number, (_, tiles_across) = tile.tiles, tile.number
        n, top, left = (
            at // number,
            at % number // tiles_across * tile.height,
            at % tiles_across * tile.width,
        )
        with (
            loop(T.unroll, 0, self.down.lines) as py,
            loop(T.unroll, 0, self.across.lines) as px,
            loop(T.serial, 0, self.rows) as y,
        ):
            pixel_y = self.down.taps.pixel(py, top + y, self.down.pad)
            to = base + self.line(py, px, y)
            with T.If(T.And(pixel_y >= 0, pixel_y < height)):
                with T.Then():
                    self.stage_row(image, n, channel, pixel_y, px, left, rows, to)
                with T.Else():
                    self.zeros(rows, to, 0, self.pitch)

    def stage_row(
        self, image: Any, n: Expr, channel: Expr, y: Expr, px: Expr, left: Expr, rows: Any, to: Expr
    ) -> None:
        """One row of the image, from tile column ``left`` on, to ``to``."""
        from tvm.script.ir_builder import tirx as T

        across, tile, stride = self.across, self.tile, self.across.taps.stride
        columns = tile.row.input_hw[1]

        def pixel(x: Expr) -> Expr:
            at = across.taps.pixel(px, left + x, across.pad)
            return (
                image[n, channel, at // columns, at % columns]
                if tile.flat
                else image[n, channel, y, at]
            )

        def copied(begin: Expr, end: Expr) -> None:
            with loop(T.serial, begin, end) as x:
                T.buffer_store(rows, pixel(x), [to + x])

        if tile.number[1] == 1 and across.lines == 1:
            begin, end = across.inside(0, self.pitch)
            self.zeros(rows, to, 0, begin)
            vectors = (end - begin) // tile.lanes if stride == 1 else 0
            with loop(T.unroll, 0, vectors) as v, loop(T.vectorized, 0, tile.lanes) as lane:
                x = begin + v * tile.lanes + lane
                T.buffer_store(rows, pixel(x), [to + x])
            copied(begin + vectors * tile.lanes, end)
            self.zeros(rows, to, end, self.pitch)
            return
        first = across.taps.pixel(px, left, across.pad)  # of the row's place 0
        begin = T.max(int64(0), (stride - 1 - first) // stride)
        end = T.min(int64(self.pitch), (across.size - first + stride - 1) // stride)
        if tile.flat:
            with T.If(end == self.pitch):
                with (
                    T.Then(), loop(T.unroll, 0, self.pitch // tile.lanes) as v,
                    loop(T.vectorized, 0, tile.lanes) as lane,
                ):
                    T.buffer_store(
                        rows, pixel(v * tile.lanes + lane), [to + v * tile.lanes + lane]
                    )
                with T.Else():
                    copied(0, end)
            return
        self.zeros(rows, to, 0, T.min(begin, int64(self.pitch)))
        copied(begin, T.max(begin, end))
        self.zeros(rows, to, T.max(begin, end), self.pitch)

    def zeros(self, rows: Any, to: Expr, begin: Expr, end: Expr) -> None:
        from tvm.script.ir_builder import tirx as T

        with loop(T.serial, begin, end) as x:
            T.buffer_store(rows, T.float32(0), [to + x])

    def copy(self, rows: Any, pixels: Any, base: Expr) -> None:
        """The staged rows, once for every shifted line. Vectors reach past a row's end, into what is
        written next."""
        from tvm.script.ir_builder import tirx as T

        tile = self.tile
        lanes = tile.lanes
        for r in range(tile.down.lines):
            for s in range(tile.across.lines):
                py, dy = (self.down.line(r), self.down.offset(r)) if tile.down.shifted else (r, 0)
                px, dx = (
                    (self.across.line(s), self.across.offset(s)) if tile.across.shifted else (s, 0)
                )
                to = (r * tile.across.lines + s) * tile.line_rows * tile.pitch
                with (
                    loop(T.serial, 0, tile.line_rows) as y,
                    loop(T.unroll, 0, -(-tile.pitch // lanes)) as v,
                ):
                    with loop(T.vectorized, 0, lanes) as lane:
                        x = v * lanes + lane
                        T.buffer_store(
                            pixels,
                            rows[self.line(py, px, y + dy) + dx + x],
                            [base + to + y * tile.pitch + x],
                        )
