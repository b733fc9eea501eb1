"""Which stored pixels an output reads, and the weights in the order in which it does.

Sums run over *runs* of words: every tap is one, and taps whose pixels lie side by side are joined
to one longer run. Pixels are read from the image itself, from a copy with padding around it, or
from columns (im2col), which hold the pixels of every output one after another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.algorithms.dot.number import Number
from dlas.network import LayerRow
from dlas.target.blocks import block_count

Expr = Any  # of TVM's, or a number


@dataclass(frozen=True)
class Window:
    """``channels``: how many are stored of the image, a multiple of ``number.in_word``; ``lanes``:
    output channels in a block; ``columns``: whether pixels are gathered beforehand."""

    row: LayerRow
    number: Number
    channels: int
    lanes: int
    columns: bool

    # -- where pixels lie ----------------------------------------------------------------------

    @property
    def copies(self) -> bool:
        """Whether the image is copied before it is read."""
        plain = self.row.kernel == self.row.stride == (1, 1)
        return any(self.row.pads) or (self.columns and not plain)

    @property
    def stored(self) -> tuple[int, int, int]:
        """(rows, columns, elements of a pixel) of what the tiles read."""
        row, (top, left, bottom, right) = self.row, self.row.pads
        if self.columns and self.copies:
            return (*row.output_hw, math.prod(row.kernel) * self.channels)
        return row.input_hw[0] + top + bottom, row.input_hw[1] + left + right, self.channels

    @property
    def stride(self) -> tuple[int, int]:
        """From output to output."""
        return (1, 1) if self.columns and self.copies else self.row.stride

    @property
    def flat(self) -> bool:
        """Whether outputs of neighbouring rows are as far apart as those of a row: then many rows
        are one run of positions, those that lie between the rows' ends among them."""
        return self.stride == (1, 1)

    @property
    def pitch(self) -> int:
        """Positions from one row of outputs to the next."""
        return self.stored[1] if self.flat else self.row.output_hw[1]

    # -- runs of words -------------------------------------------------------------------------

    @cached_property
    def depth(self) -> int:
        """Channels that a block of outputs reads: all groups that it touches."""
        if self.row.groups == 1:
            return self.channels
        starts = range(0, self.row.out_channels, self.lanes)
        spans = [self._groups(start)[1] - self._groups(start)[0] + 1 for start in starts]
        unit = self.number.in_word
        wide = -(-max(spans) * (self.row.in_channels // self.row.groups) // unit) * unit
        return min(wide, self.channels)

    def _groups(self, start: int) -> tuple[int, int]:
        """The first and the last group of the block that starts with this output channel."""
        outputs = self.row.out_channels // self.row.groups
        end = min(start + self.lanes, self.row.out_channels)
        return start // outputs, (end - 1) // outputs

    def first(self, block: Expr) -> Expr:
        """The first channel that a block of outputs reads."""
        if self.depth == self.channels:
            return 0
        row = self.row
        start = block * self.lanes // (row.out_channels // row.groups)
        channel, last = start * (row.in_channels // row.groups), self.channels - self.depth
        if isinstance(block, int):
            return min(channel, last)
        from tvm import te

        return te.min(channel, last)

    @property
    def joined(self) -> int:
        """Over how many of a tap's two directions runs are joined."""
        if self.depth != self.channels:
            return 0
        if self.columns and self.copies:
            return 2
        return 1 if self.row.dilation[1] == 1 else 0

    @property
    def taps(self) -> tuple[int, int]:
        """Runs down and across."""
        r, s = self.row.kernel
        return {0: (r, s), 1: (r, 1), 2: (1, 1)}[self.joined]

    @property
    def words(self) -> int:
        """Of a run."""
        r, s = self.row.kernel
        return self.depth // self.number.in_word * {0: 1, 1: s, 2: r * s}[self.joined]

    @property
    def tap_steps(self) -> tuple[int, int]:
        """Elements from a run to the next, down and across."""
        if self.columns and self.copies:
            return self.row.kernel[1] * self.channels, self.channels
        (dy, dx), (_, width, channels) = self.row.dilation, self.stored
        return dy * width * channels, dx * channels

    @property
    def blocks(self) -> int:
        """Of output channels."""
        return block_count(self.row.out_channels, self.lanes)

    def pack(self, weight: NDArray[Any]) -> NDArray[Any]:
        """(K, C/G, R, S) → (blocks, taps down, taps across, words, lanes · elements of a word)."""
        row, unit = self.row, self.number.in_word
        outputs, inputs, r, s = weight.shape
        group = outputs // row.groups
        dense = np.zeros((self.blocks, r, s, self.depth, self.lanes), weight.dtype)
        for k in range(outputs):
            block, lane = divmod(k, self.lanes)
            start = k // group * inputs - self.first(block)
            dense[block, :, :, start : start + inputs, lane] = weight[k].transpose(1, 2, 0)
        split = dense.reshape(self.blocks, r, s, self.depth // unit, unit, self.lanes)
        words = split.transpose(0, 1, 2, 3, 5, 4)
        shape = (self.blocks, *self.taps, self.words, self.lanes * unit)
        return np.ascontiguousarray(words).reshape(shape)
