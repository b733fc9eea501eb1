"""A tile by a matrix unit: Intel's AMX, which multiplies 16 rows of 64 bytes, pixels, by 16 columns
of 64 bytes, weights, and adds them to 16 × 16 sums.

    for every run, for 2 × 16 places of it, for 2 blocks of output channels:
        4 registers of sums, as they begin
        for every run of words, for 16 words: 2 registers of pixels, 2 of weights, 4 products
        the sums are stored

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlas.algorithms.dot.instruction import MATRIX
from dlas.algorithms.dot.kernel import Array, Kernel, element
from dlas.algorithms.dot.tile import MATRIX_BYTES, MATRIX_ROWS, Run, Tile, words_at_once
from dlas.algorithms.sparse.loops import Expr, int64

#: Registers, and how many of them hold sums; the rest hold pixels, and then weights.
REGISTERS, SUMS = 8, 4
#: Of the 64 bytes that configure them: bytes of a row from 16 on, 2 each, rows from 48 on.
BYTES_AT, ROWS_AT = 16, 48


def configuration(tile: Tile) -> Array:
    """Rows and bytes of every register: those of sums have as many rows as those of pixels."""
    words, height = words_at_once(tile.window), height_of(tile)
    shape = [(height, MATRIX_BYTES)] * SUMS
    shape += [(height, 4 * words)] * tile.places
    shape += [(words, MATRIX_BYTES)] * (REGISTERS - len(shape))
    found = np.zeros(64, np.uint8)
    found[0] = 1  # the palette
    for register, (rows, wide) in enumerate(shape):
        found[BYTES_AT + 2 * register], found[ROWS_AT + register] = wide, rows
    return found


def height_of(tile: Tile) -> int:
    return min(MATRIX_ROWS, tile.runs[0].length)


def matrix_tile(kernel: Kernel, at: Expr, part: Expr, given: dict[str, Any]) -> None:
    from tvm.script.ir_builder import tirx as T

    tile, height = kernel.tile, height_of(kernel.tile)
    call("ldtilecfg", T.address_of(element(given["extra0"], (0,))))
    for run in tile.runs:
        across = math.ceil(run.length / height)

        def start(turn: Expr, run: Run = run) -> Expr:
            # The last places overlap those before, and are computed twice.
            return T.min(turn * height, int64(run.length - height))

        for wide, blocks in cuts(tile.blocks, tile.vectors):
            for long, places in cuts(across, tile.places):
                for_each = (
                    T.serial(int64(0), int64(blocks[1])),
                    T.serial(int64(0), int64(places[1])),
                )
                with for_each[0] as b, for_each[1] as p:
                    starts = [start(places[0] + p * long + i) for i in range(long)]
                    first = [blocks[0] + b * wide + j for j in range(wide)]
                    multiply(kernel, (at, part), run, starts, first, given)
    call("tilerelease")


def cuts(number: int, size: int) -> list[tuple[int, tuple[int, int]]]:
    """``number`` in pieces of ``size`` and one that is smaller: (size, (first, how many))."""
    whole, rest = divmod(number, size)
    pieces = [(size, (0, whole))] if whole else []
    return [*pieces, (rest, (whole * size, 1))] if rest else pieces


def multiply(
    kernel: Kernel, tile_at: tuple[Expr, Expr], run: Run, starts: list[Expr],
    blocks: list[Expr], given: dict[str, Any],
) -> None:  # fmt: skip
    """The sums of the outputs from each of ``starts`` on, of each of the tile's ``blocks``."""
    from tvm.script.ir_builder import tirx as T

    (at, part), tile = tile_at, kernel.tile
    window, number, words = tile.window, tile.window.number, words_at_once(tile.window)
    (sy, sx), (down, across) = window.stride, window.tap_steps
    high, width = window.row.output_hw[0] // tile.rows, tile.blocks * window.lanes
    first = [part * tile.blocks + block for block in blocks]
    pixels = [SUMS + i for i in range(len(starts))]
    free = list(range(SUMS + tile.places, REGISTERS))
    sums = [[i * len(blocks) + j for j in range(len(blocks))] for i in range(len(starts))]
    for each in sums:
        for register, block in zip(each, first, strict=True):
            begin = element(given["offset"], (block * window.lanes,))
            load(register, begin, 0)  # every row the same
    with (
        T.serial(int64(0), int64(window.taps[0])) as r,
        T.serial(int64(0), int64(window.taps[1])) as s,
        T.serial(int64(0), int64(window.words // words)) as chunk,
    ):
        y = (at % high * tile.rows + run.row) * sy
        offset = window.first(first[0]) + r * down + s * across + chunk * words * number.in_word
        for register, start in zip(pixels, starts, strict=True):
            pixel = element(given["image"], (at // high, 0, y, start * sx, offset))
            load(register, pixel, sx * window.stored[2] * number.bytes)
        for j, block in enumerate(first):
            weight = free[j % len(free)]
            load(weight, element(given["weights"], (block, r, s, chunk * words, 0)), MATRIX_BYTES)
            for i, register in enumerate(pixels):
                operands = (sums[i][j], register, weight)
                call(MATRIX[number.name], *map(T.int8, operands))
    for i, start in enumerate(starts):
        for j, block in enumerate(blocks):
            place = (at, part, run.position + start, block * window.lanes)
            address = T.address_of(element(given["sums"], place))
            call("tilestored64", T.int8(sums[i][j]), address, int64(4 * width))


def load(register: int, first: Expr, stride: int) -> None:
    """A register's rows from the element ``first`` on, ``stride`` bytes apart."""
    from tvm.script.ir_builder import tirx as T

    call("tileloadd64", T.int8(register), T.address_of(first), int64(stride))


def call(name: str, *operands: Expr) -> None:
    from tvm.script.ir_builder import tirx as T

    T.evaluate(T.call_llvm_intrin("void", f"llvm.x86.{name}", *operands))
