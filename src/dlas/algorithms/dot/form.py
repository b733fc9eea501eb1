"""The kernels of a convolution on narrow numbers, and how a system orders their loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from dlas.algorithms.dot.depthwise import DepthwiseWindow, depthwise_tile, depthwise_tiles
from dlas.algorithms.dot.instruction import instruction, matrix_instruction
from dlas.algorithms.dot.kernel import Affine, Array, Kernel
from dlas.algorithms.dot.matrix import configuration, matrix_tile
from dlas.algorithms.dot.number import NUMBERS, Number
from dlas.algorithms.dot.tile import matrix_tiles, vector_tiles
from dlas.algorithms.dot.vectors import vector_tile
from dlas.algorithms.dot.window import Window
from dlas.algorithms.template import Knobs
from dlas.algorithms.tiles import divisors, join_epilogue
from dlas.network import LayerRow
from dlas.target import Target

#: Bits of the vectors that are written where the target has none.
NARROWEST = 128
#: Bytes that are copied at once.
COPIED = 64


@dataclass(frozen=True)
class DotForm:
    """Of the primitive of that name. ``columns``: whether pixels are gathered beforehand (im2col).
    ``packs``: whether tiles may be those of a matrix unit, and strided layers gather their pixels.
    Like a ``TemplatePrimitive`` it orders the loops of a kernel after fusion, around the stage
    ``stage``; there is one order."""

    name: str
    columns: bool = False
    packs: bool = True
    streams_weights = False

    @property
    def stage(self) -> str:
        return f"{self.name}_dot_template"

    def kernels(
        self, row: LayerRow, stored: tuple[str, int, int], weight: Array, affine: Affine,
        target: Target, most: int, batch: int = 1,
    ) -> Sequence[Kernel]:  # fmt: skip
        """So many at most, the cheapest by estimate first, for ``batch`` images. ``stored``: the
        image's number, how many channels it has, and what stands for 0; weight (K, C/G, R, S) of
        the number's type. None for a depthwise layer of an image that is not filled up to whole
        vectors."""
        name, channels, zero = stored
        number = NUMBERS[name]
        if target.lanes < number.in_word:  # without vectors: what LLVM makes of the narrowest
            target = msgspec.structs.replace(target, vector_bits=NARROWEST)
        if row.groups == row.in_channels == row.out_channels:
            if channels % target.lanes:
                return []
            alone = self.depthwise(row, (number, channels, zero), weight, affine, target, most)
            return [kernel.of(batch) for kernel in alone]
        found = []
        for columns in self.ways(row):
            window = Window(row, number, channels, target.lanes, columns)
            found += self.of_window(window, weight, (affine, zero), target, most)
        found.sort(key=lambda kernel: kernel.estimate)
        return [kernel.of(batch) for kernel in found[:most]]

    def ways(self, row: LayerRow) -> Sequence[bool]:
        """Whether pixels are gathered, by choice where that brings outputs of a strided layer to
        equal distances."""
        if row.stride != (1, 1) and self.packs and not self.columns:
            return (False, True)
        return (self.columns,)

    def of_window(
        self, window: Window, weight: Array, rest: tuple[Affine, int], target: Target, most: int
    ) -> list[Kernel]:
        (affine, zero), number, packed = rest, window.number, window.pack(weight)
        if self.packs and matrix_instruction(number, target):
            return [
                Kernel(
                    self.stage, tile, packed, affine, zero, matrix_tile, (configuration(tile),),
                    estimate=cost * window.row.macs,
                )
                for cost, tile in matrix_tiles(window, target, most)
            ]  # fmt: skip
        dot = instruction(number, target)
        if dot.shifts(number):
            affine = shifted(affine, packed, number.name == "int8", window.row)
        return [
            Kernel(
                self.stage, tile, packed, affine, zero, vector_tile(dot),
                estimate=cost * window.row.macs,
            )
            for cost, tile in vector_tiles(window, target, most)
        ]  # fmt: skip

    def affine(
        self, offset: Array, factor: Array | None = None, shift: Array | None = None
    ) -> Affine:
        """What becomes of the sums."""
        return Affine(offset, factor, shift)

    def is_native(self, name: str, target: Target) -> bool:
        """Whether the target multiplies these numbers as they are stored."""
        number = NUMBERS[name]
        native = instruction(number, target).name != "portable"
        return native or matrix_instruction(number, target) is not None

    def depthwise(
        self, row: LayerRow, stored: tuple[Number, int, int], weight: Array, affine: Affine,
        target: Target, most: int,
    ) -> Sequence[Kernel]:  # fmt: skip
        number, channels, zero = stored
        window = DepthwiseWindow(row, number, channels, target.lanes, columns=False)
        packed, compute = window.pack(weight), depthwise_tile(instruction(number, target))
        return [
            Kernel(self.stage, tile, packed, affine, zero, compute, estimate=cost * window.row.macs)
            for cost, tile in depthwise_tiles(window, target, most)
        ]

    def candidates(self, order: Any, target: Target) -> Sequence[Knobs]:
        return [{}]

    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        """Scale, bias, residual, activation and rounding follow tile by tile, while the sums are
        near."""
        block = order.get_sblock(self.stage)
        rows, width, rows_outside = (int(n) for n in order.get(block).annotations["tile"])
        last = join_epilogue(order, block)
        for stage in order.get_producers(block):
            copy_in_vectors(order, stage, threads)
        n, one, y, x, k = order.get_loops(last)
        y_tile, y_in = order.split(y, [None, rows])
        k_tile, k_in = order.split(k, [None, width])
        outer = (n, one, y_tile, k_tile) if rows_outside else (k_tile, n, one, y_tile)
        vector = max(d for d in divisors(width) if d <= COPIED)
        k_in, lane = order.split(k_in, [None, vector])
        # What channels are scaled with stays in registers for all pixels.
        order.reorder(*outer, k_in, y_in, x, lane)
        order.vectorize(lane)
        place = order.fuse(*outer)
        order.compute_at(block, place, preserve_unit_loops=True)
        if threads > 1:
            order.parallel(place)


def copy_in_vectors(order: Any, stage: Any, threads: int) -> None:
    *outer, last = order.get_loops(stage)
    if threads > 1:
        order.parallel(order.fuse(*outer[:2]))
    width = max(n for n in divisors(int(order.get(last).extent)) if n <= COPIED)
    order.vectorize(order.split(last, [None, width])[1])


def shifted(affine: Affine, packed: Array, signed: bool, row: LayerRow) -> Affine:
    """For sums over integers 128 more, of a signed image, or 128 less."""
    blocks = packed.shape[0]
    lanes = packed.shape[-1] // 4
    totals = packed.reshape(blocks, -1, lanes, 4).sum((1, 3), dtype="int64").reshape(-1)
    wrong = totals[: row.out_channels] * (128 if signed else -128)
    return Affine((affine.offset - wrong).astype("int32"), affine.factor, affine.shift)
