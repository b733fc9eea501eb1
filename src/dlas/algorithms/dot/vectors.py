"""A tile by vectors of output channels: some places by some vectors of sums in registers.

for every run, for some places of it, for some blocks of output channels:
    for every run of words, for every word:
        the vectors of weights; for each place, its word in every lane: multiply and add
    the sums are stored
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from dlas.algorithms.dot.instruction import Instruction, reinterpreted
from dlas.algorithms.dot.kernel import Kernel, element
from dlas.algorithms.dot.tile import Run
from dlas.algorithms.sparse.loops import Expr, int64


def vector_tile(instruction: Instruction) -> Any:
    return place_by_place(partial(add_places, instruction))


def place_by_place(add: Callable[..., None]) -> Any:
    """A kernel's ``compute``: some places of every run, for some blocks of output channels, by
    ``add``."""

    def compute(kernel: Kernel, at: Expr, part: Expr, given: dict[str, Any]) -> None:
        from tvm.script.ir_builder import tirx as T

        tile = kernel.tile
        for run in tile.runs:
            number = math.ceil(run.length / tile.places)
            with (
                T.serial(int64(0), int64(number)) as turn,
                T.serial(int64(0), int64(tile.blocks // tile.vectors)) as wide,
            ):
                # The last places overlap those before, and are computed twice.
                start = T.min(turn * tile.places, int64(run.length - tile.places))
                add(kernel, (at, part), (run, start), wide * tile.vectors, given)

    return compute


def add_places(
    instruction: Instruction, kernel: Kernel, tile_at: tuple[Expr, Expr],
    places: tuple[Run, Expr], block: Expr, given: dict[str, Any],
) -> None:  # fmt: skip
    """The sums of ``tile.places`` outputs of a run from ``start`` on, of ``tile.vectors`` blocks
    from ``block`` of the tile on."""
    from tvm import tirx
    from tvm.script.ir_builder import tirx as T

    (at, part), (run, start), tile = tile_at, places, kernel.tile
    window, lanes, number = tile.window, tile.window.lanes, tile.window.number
    held = T.sblock_alloc_buffer((tile.places * tile.vectors * lanes,), number.total, scope="local")

    def spot(place: int, vector: int) -> Expr:
        first = int64((place * tile.vectors + vector) * lanes)
        return tirx.Ramp(first, int64(1), lanes) if lanes > 1 else first

    def every() -> list[tuple[int, int]]:
        return [(p, v) for p in range(tile.places) for v in range(tile.vectors)]

    first = part * tile.blocks + block
    for place, vector in every():
        begin = element(given["offset"], ((first + vector) * lanes,), lanes)
        T.buffer_store(held, begin, [spot(place, vector)])
    (sy, sx), (down, across) = window.stride, window.tap_steps
    high = window.row.output_hw[0] // tile.rows
    with (
        T.serial(int64(0), int64(window.taps[0])) as r,
        T.serial(int64(0), int64(window.taps[1])) as s,
        T.serial(int64(0), int64(window.words)) as word,
    ):
        factors = [
            element(given["weights"], (first + v, r, s, word, 0), lanes * number.in_word)
            for v in range(tile.vectors)
        ]
        for place in range(tile.places):
            y = (at % high * tile.rows + run.row) * sy
            offset = window.first(first) + r * down + s * across + word * number.in_word
            x = (start + place) * sx
            pixel = element(given["image"], (at // high, 0, y, x, offset), number.in_word)
            same = reinterpreted(pixel, "int32")
            for v in range(tile.vectors):
                total = tirx.BufferLoad(held, [spot(place, v)])
                added = instruction.add_product(total, same, factors[v], number)
                T.buffer_store(held, added, [spot(place, v)])
    for place, vector in every():
        to = (block + vector) * lanes
        index = tirx.Ramp(to, int64(1), lanes) if lanes > 1 else to
        position = run.position + start + place
        value = tirx.BufferLoad(held, [spot(place, vector)])
        T.buffer_store(given["sums"], value, [at, part, position, index])
