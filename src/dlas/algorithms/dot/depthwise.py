"""A tile of a depthwise convolution: every channel filtered by itself, a vector of channels at a
time.

    for every run, for some places of it, for every block of channels:
        for every tap: for each place, its vector of pixels times that of weights, added
        the sums are stored
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.algorithms.dot.instruction import Instruction, reinterpreted
from dlas.algorithms.dot.kernel import Kernel, element
from dlas.algorithms.dot.number import Number
from dlas.algorithms.dot.tile import PER_TILE, Ranked, Run, Tile, cheapest, regions
from dlas.algorithms.dot.vectors import place_by_place
from dlas.algorithms.dot.window import Window
from dlas.algorithms.sparse.loops import Expr, int64
from dlas.target import Target
from dlas.target.blocks import block_channels

#: Multiply-adds that are written out one after another.
WRITTEN_OUT = 256


@dataclass(frozen=True)
class DepthwiseWindow(Window):
    """A block of outputs reads the block of inputs of the same channels; a word is an element."""

    @property
    def depth(self) -> int:
        return self.lanes

    @property
    def joined(self) -> int:
        return 0

    @property
    def words(self) -> int:
        return 1

    def first(self, block: Expr) -> Expr:
        return block * self.lanes

    def pack(self, weight: NDArray[Any]) -> NDArray[Any]:
        """(K, 1, R, S) → (blocks, R, S, lanes)."""
        blocks = block_channels(weight[:, 0], self.lanes)
        return np.ascontiguousarray(blocks.transpose(0, 2, 3, 1))


def depthwise_tiles(window: DepthwiseWindow, target: Target, most: int) -> Sequence[Ranked]:
    """The cheapest by estimate first: fewest loads, and least computed more than once."""
    found = []
    taps = math.prod(window.taps)
    for rows, blocks, outside in regions(window, target, shared=True):
        run = Tile(window, rows, blocks, outside, 1, 1).runs[0]
        for places in widths(run.length, target.vector_registers // 2, taps):
            tile = Tile(window, rows, blocks, outside, places, 1)
            computed = math.ceil(run.length / places) * places * len(tile.runs)
            waste = computed / (rows * window.row.output_hw[1])
            cost = waste * (taps + (taps + 4) / places) + PER_TILE / (rows * run.length * blocks)
            found.append((cost, tile))
    return cheapest(found, most)


def widths(length: int, most: int, taps: int) -> Iterator[int]:
    most = max(1, min(length, most, WRITTEN_OUT // taps))
    yield math.ceil(length / math.ceil(length / most))
    yield max(n for n in range(1, most + 1) if length % n == 0)


def depthwise_tile(instruction: Instruction) -> Any:
    return place_by_place(partial(add_places, instruction))


def add_places(
    instruction: Instruction, kernel: Kernel, tile_at: tuple[Expr, Expr],
    places: tuple[Run, Expr], block: Expr, given: dict[str, Any],
) -> None:  # fmt: skip
    from tvm import tirx
    from tvm.script.ir_builder import tirx as T

    (at, part), (run, start), tile = tile_at, places, kernel.tile
    window, lanes, number = tile.window, tile.window.lanes, tile.window.number
    (sy, sx), (down, across) = window.stride, window.tap_steps
    high, first = window.row.output_hw[0] // tile.rows, part * tile.blocks + block
    y = (at % high * tile.rows + run.row) * sy
    totals = [element(given["offset"], (first * lanes,), lanes)] * tile.places
    for r, s in product(*map(range, window.taps)):
        weights = element(given["weights"], (first, r, s, 0), lanes)
        for place in range(tile.places):
            at_tap = window.first(first) + r * down + s * across
            index = (at // high, 0, y, (start + place) * sx, at_tap)
            pixels = element(given["image"], index, lanes)
            totals[place] = multiply_add(totals[place], pixels, weights, instruction, number)
    for place, total in enumerate(totals):
        to = block * lanes
        index = tirx.Ramp(to, int64(1), lanes) if lanes > 1 else to
        T.buffer_store(given["sums"], total, [at, part, run.position + start + place, index])


def multiply_add(
    total: Expr, pixels: Expr, weights: Expr, instruction: Instruction, number: Number
) -> Expr:
    """Channel by channel. A dot product of bytes multiplies words of one byte each as well."""
    from tvm import tirx

    lanes = instruction.lanes
    if number.name == "uint8" and instruction.name == "vpdpbusd":
        unsigned = reinterpreted(weights, f"uint8x{lanes}")
        words = [each.astype(f"uint32x{lanes}") for each in (pixels, unsigned)]
        image, factors = (reinterpreted(each, f"int8x{4 * lanes}") for each in words)
        name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
        return tirx.call_llvm_pure_intrin(f"int32x{lanes}", name, total, image, factors)
    return total + wide(pixels, number, lanes) * wide(weights, number, lanes)


def wide(values: Expr, number: Number, lanes: int) -> Expr:
    """A vector of stored numbers in the type of the sums."""
    many = f"x{lanes}" if lanes > 1 else ""
    if number.is_integer:
        return values.astype(f"int32{many}")
    from tvm import tirx

    sixteen = tirx.const(16, "uint32")
    bits = values.astype(f"uint32{many}") << (
        tirx.Broadcast(sixteen, lanes) if lanes > 1 else sixteen
    )
    return reinterpreted(bits, f"float32{many}")
