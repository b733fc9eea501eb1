"""Packing the pixels that a tile reads, channel by channel, into the first cache.

The rows are *staged* with zeros where the image ends, one line for every phase of the strides; from
there they are copied where lines are shifted (``window.py``). Lines that are not shifted stay where
they were staged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dlas.algorithms.sparse.loops import Expr, int64, unrolled, vectors
from dlas.algorithms.sparse.tile import Tile
from dlas.algorithms.sparse.window import Window


@dataclass(frozen=True)
class Packing:
    """``rows`` and ``pitch`` of a staged line, whose taps are ``down`` and ``across``."""

    tile: Tile
    down: Window
    across: Window

    @classmethod
    def of(cls, tile: Tile) -> Packing:
        return cls(tile, tile.down.unshifted(), tile.across.unshifted())

    @property
    def copies(self) -> bool:
        return (self.tile.down, self.tile.across) != (self.down, self.across) and not self.one_tap

    @property
    def one_tap(self) -> bool:
        return self.tile.row.kernel == (1, 1)

    @property
    def rows(self) -> int:
        return self.tile.height + self.down.margin

    @property
    def pitch(self) -> int:
        if not self.copies:  # the kernel reads what is staged
            return self.tile.pitch
        return self.tile.width + self.across.margin

    def line(self, py: Expr, px: Expr, y: Expr) -> Expr:
        """Where row y of a staged line begins."""
        return ((py * self.across.lines + px) * self.rows + y) * self.pitch

    def buffers(self) -> tuple[Any, Any]:
        """For one channel staged, where it is copied, and for a packed block of channels. Zeros at
        first: vectors also read what is never written, and denormal numbers are slow."""
        from tvm.script.ir_builder import tirx as T

        pixels = T.sblock_alloc_buffer((self.tile.packed,), "float32")
        zeros(pixels, 0, self.tile.packed)
        if not self.copies:
            return pixels, pixels
        number = self.line(self.down.lines, 0, 0) + self.tile.lanes
        staged = T.sblock_alloc_buffer((number,), "float32")
        zeros(staged, 0, number)
        return staged, pixels

    def pack(
        self, image: Any, at: Expr, channel: Expr, staged: Any, pixels: Any, base: Expr
    ) -> None:
        """Tile ``at`` (over all images) of one channel, to ``base`` in ``pixels``."""
        self.stage(image, at, channel, staged, 0 if self.copies else base)
        if self.copies:
            self.copy(staged, pixels, base)

    def stage(self, image: Any, at: Expr, channel: Expr, staged: Any, base: Expr) -> None:
        from tvm.script.ir_builder import tirx as T

        tile, (_, across) = self.tile, self.tile.number
        n, place = at // tile.tiles, at % tile.tiles
        top, left = place // across * tile.height, place % across * tile.width
        with (
            unrolled(self.down.lines, self.across.lines) as (py, px),
            T.serial(int64(0), int64(self.rows)) as i,
        ):
            y = self.down.taps.pixel(py, top + i, self.down.pad)
            to = base + self.line(py, px, i)
            with T.If(T.And(y >= 0, y < self.down.size)):
                with T.Then():
                    if across == 1 and self.across.lines == 1:
                        self.whole_row(image, (n, channel, y), staged, to)
                    else:
                        self.part_of_row(image, (n, channel, y), px, left, staged, to)
                with T.Else():
                    zeros(staged, to, self.pitch)

    def whole_row(self, image: Any, at: tuple[Expr, Expr, Expr], staged: Any, to: Expr) -> None:
        """A row that every tile reads as a whole: where it ends is known beforehand."""
        begin, end = self.across.inside(0, self.pitch)
        zeros(staged, to, begin)
        self.copied(image, at, 0, 0, (begin, end), staged, to)
        zeros(staged, to + end, self.pitch - end)

    def part_of_row(
        self, image: Any, at: tuple[Expr, Expr, Expr], px: Expr, left: Expr, staged: Any, to: Expr
    ) -> None:
        """From column ``left`` of the tiles on."""
        from tvm.script.ir_builder import tirx as T

        stride, first = self.across.taps.stride, self.across.taps.pixel(px, left, self.across.pad)
        begin = T.max(int64(0), (stride - 1 - first) // stride)
        end = T.min(int64(self.pitch), (self.across.size - first + stride - 1) // stride)
        with T.If(T.And(begin == 0, end == self.pitch)):
            with T.Then():
                self.copied(image, at, px, left, (0, self.pitch), staged, to)
            with T.Else():
                begin, end = T.min(begin, int64(self.pitch)), T.max(begin, end)
                zeros(staged, to, begin)
                self.copied(image, at, px, left, (begin, end), staged, to)
                zeros(staged, to + end, self.pitch - end)

    def copied(
        self, image: Any, at: tuple[Expr, Expr, Expr], px: Expr, left: Expr,
        span: tuple[Expr, Expr], staged: Any, to: Expr,
    ) -> None:  # fmt: skip
        """Places ``span`` of the line, by vectors where their number is known."""
        from tvm.script.ir_builder import tirx as T

        (n, channel, y), (begin, end) = at, span
        taps, columns, lanes = self.across.taps, self.tile.row.input_hw[1], self.tile.lanes

        def put(x: Expr) -> None:
            pixel = taps.pixel(px, left + x, self.across.pad)
            where = (pixel // columns, pixel % columns) if self.tile.flat else (y, pixel)
            T.buffer_store(staged, image[(n, channel, *where)], [to + x])

        known = isinstance(begin, int) and isinstance(end, int) and taps.stride == 1
        whole = (end - begin) // lanes if known else 0
        with vectors((whole,), lanes) as (v, lane):
            put(begin + v * lanes + lane)
        with T.serial(int64(begin + whole * lanes), int64(end)) as x:
            put(x)

    def copy(self, staged: Any, pixels: Any, base: Expr) -> None:
        """The staged rows, once for every line of the tile. Vectors reach past the end of a row,
        into what is written next."""
        from tvm.script.ir_builder import tirx as T

        tile, lanes = self.tile, self.tile.lanes
        for r in range(tile.down.lines):
            for s in range(tile.across.lines):
                py, dy = origin(tile.down, self.down, r)
                px, dx = origin(tile.across, self.across, s)
                to = base + (r * tile.across.lines + s) * tile.line_rows * tile.pitch
                with (
                    T.serial(int64(0), int64(tile.line_rows)) as y,
                    vectors((math.ceil(tile.pitch / lanes),), lanes) as (v, lane),
                ):
                    x = v * lanes + lane
                    pixel = staged[self.line(py, px, y + dy) + dx + x]
                    T.buffer_store(pixels, pixel, [to + y * tile.pitch + x])


def origin(window: Window, staged: Window, line: int) -> tuple[int, int]:
    """The staged line that a line of the tile comes from, and how far along."""
    return (staged.line(line), staged.offset(line)) if window.shifted else (line, 0)


def zeros(buffer: Any, begin: Expr, number: Expr) -> None:
    from tvm.script.ir_builder import tirx as T

    with T.serial(int64(0), int64(number)) as i:
        T.buffer_store(buffer, T.float32(0), [begin + i])
