"""BSR, block sparse rows: a column for every block of weights that are not all zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dlas.algorithms.formats.compressed_rows import check_compressed, compressed, rows_of
from dlas.algorithms.formats.stored import (
    Floats,
    Indices,
    Shape,
    Stored,
    check_array,
    check_shape,
    check_weight,
    without_signs,
)
from dlas.errors import InputError

#: Of a block, in channels: above the 16 lanes of the widest vectors, and a bound for what a file
#: may make ``dense`` allocate.
LONGEST_SIDE = 64


@dataclass(frozen=True, eq=False)
class Bsr(Stored):
    """Blocks of R_b output channels × C_b input channels at one tap of the kernel.

    ``values`` (blocks, R_b, C_b) float32, ``columns`` (blocks) int32, ``pointers``
    (⌈K / R_b⌉ + 1) int32: row i of blocks, the output channels from i · R_b, holds the blocks
    ``pointers[i]`` to ``pointers[i + 1]``, their columns rising. A column indexes the flattened
    (⌈(C/G) / C_b⌉, R, S), so that a block's tap is ``column % (R * S)``. ``shape`` is (K, C/G, R,
    S), ``block`` (R_b, C_b); channels that fill the last blocks are zero. Blocks of 1×1 are CSR."""

    values: Floats
    columns: Indices
    pointers: Indices
    shape: Shape
    block: tuple[int, int]

    @classmethod
    def of(cls, weight: Floats, block: tuple[int, int]) -> Bsr:
        """The weight (K, C/G, R, S), exactly; NaN is a value. InputError unless it is float32."""
        check_weight(weight, "bsr")
        _check_block(block, "bsr")
        k, c, r, s = shape = weight.shape
        (rows, columns), (height, width) = grid(shape, block), block
        filled = np.zeros((rows * height, columns // (r * s) * width, r, s), np.float32)
        filled[:k, :c] = weight
        tiles = filled.reshape(rows, height, -1, width, r, s).transpose(0, 2, 4, 5, 1, 3)
        tiles = tiles.reshape(rows, columns, height, width)
        kept = (tiles != 0).any(axis=(2, 3))
        return cls(without_signs(tiles[kept]), *compressed(kept), (k, c, r, s), block)

    def dense(self) -> Floats:
        (k, c, r, s), (rows, columns), (height, width) = self.shape, self.grid, self.block
        tiles = np.zeros((rows, columns, height, width), np.float32)
        tiles[rows_of(self.pointers), self.columns] = self.values
        split = tiles.reshape(rows, -1, r, s, height, width).transpose(0, 4, 1, 5, 2, 3)
        return np.ascontiguousarray(split.reshape(rows * height, -1, r, s)[:k, :c])

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of blocks, those that are not stored too."""
        return grid(self.shape, self.block)

    def check(self, place: str = "bsr") -> None:
        self.check_blocks(place)
        check_compressed(self.columns, self.pointers, self.grid, len(self.values), place)
        self._check_filling(place)

    def check_blocks(self, place: str) -> None:
        """What ``check`` does before it looks at columns and pointers."""
        check_shape(self.shape, place)
        check_array(self.values, place, "values", "float32", 3)
        _check_block(self.block, place)
        if self.values.shape[1:] != self.block:
            found = _sides(self.values.shape[1:])
            raise InputError(f"{place}: values are blocks of {found}, not {_sides(self.block)}")

    def _check_filling(self, place: str) -> None:
        """Kernels multiply the channels that fill the last blocks like all others."""
        (k, c, r, s), (height, width) = self.shape, self.block
        rows = rows_of(self.pointers)
        outputs = rows[:, None] * height + np.arange(height)
        inputs = (self.columns // (r * s))[:, None] * width + np.arange(width)
        beyond = (outputs >= k)[:, :, None] | (inputs >= c)[:, None, :]
        found = np.argwhere(beyond & (self.values != 0))
        if len(found):
            entry, i, j = found[0]
            channels = f"output channel {outputs[entry, i]} and input channel {inputs[entry, j]}"
            raise InputError(
                f"{place}: row {rows[entry]}, entry {entry} has a weight of {channels}; "
                f"the layer has {k} and {c}"
            )

    @property
    def nonzeros(self) -> int:
        return int(np.count_nonzero(self.values))

    @property
    def bytes(self) -> int:
        return self.values.nbytes + self.columns.nbytes + self.pointers.nbytes


def grid(shape: tuple[int, ...], block: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of blocks of a layer (K, C/G, R, S)."""
    k, c, r, s = shape
    return math.ceil(k / block[0]), math.ceil(c / block[1]) * r * s


def misfit(block: tuple[int, ...]) -> str | None:
    """Why there are no such blocks, as a sentence."""
    if len(block) == 2 and all(1 <= side <= LONGEST_SIDE for side in block):
        return None
    return f"blocks of {_sides(block)}; each side is 1 to {LONGEST_SIDE} channels"


def _sides(block: tuple[int, ...]) -> str:
    return "×".join(map(str, block))


def _check_block(block: tuple[int, ...], place: str) -> None:
    sentence = misfit(block)
    if sentence:
        raise InputError(f"{place}: {sentence}")
