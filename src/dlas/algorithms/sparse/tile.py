"""A tile of outputs and the pixels that it reads, packed to stay in the first cache."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from dlas.algorithms.positions import Taps
from dlas.algorithms.sparse.window import Window
from dlas.network import LayerRow


@dataclass(frozen=True)
class Shifts:
    """Whether a row is copied once for every tap of the kernel, in either direction."""

    vertical: bool
    horizontal: bool


@dataclass(frozen=True)
class Tile:
    """``height`` × ``width`` outputs of a convolution, in vectors of ``lanes`` positions, computed
    over ``channels`` input channels at a time, for ``rows`` output channels at once.

    Rows of a shifted line begin at multiples of ``step`` positions, so that more loads begin at a
    vector, for a few positions that are not used. A 1×1 convolution that reads every pixel once is
    taken as one long row: its tiles may end anywhere."""

    row: LayerRow
    shifts: Shifts
    lanes: int
    height: int
    width: int
    channels: int
    rows: int = 1
    step: int = 1

    @property
    def flat(self) -> bool:
        return is_flat(self.row)

    @property
    def outputs(self) -> tuple[int, int]:
        """Rows and columns that are cut into tiles."""
        return grid(self.row)

    @property
    def down(self) -> Window:
        row, (height, _) = self.row, input_grid(self.row)
        taps = Taps(row.kernel[0], row.stride[0], row.dilation[0])
        return Window(taps, height, row.pads[0], self.shifts.vertical)

    @property
    def across(self) -> Window:
        row, (_, width) = self.row, input_grid(self.row)
        taps = Taps(row.kernel[1], row.stride[1], row.dilation[1])
        return Window(taps, width, row.pads[1], self.shifts.horizontal)

    @property
    def number(self) -> tuple[int, int]:
        """Of tiles, one below the other and side by side."""
        (height, width), (p, q) = (self.height, self.width), self.outputs
        return math.ceil(p / height), math.ceil(q / width)

    @property
    def tiles(self) -> int:
        return math.prod(self.number)

    @property
    def pitch(self) -> int:
        """Positions from one row of a line to the next."""
        return math.ceil((self.width + self.across.margin) / self.step) * self.step

    @property
    def positions(self) -> int:
        """Those computed; what lies between the rows is not used."""
        return (self.height - 1) * self.pitch + self.width

    @property
    def vectors(self) -> int:
        return math.ceil(self.positions / self.lanes)

    @property
    def chains(self) -> int:
        """Sums of a position that are kept apart: an addition waits for the one before it, and few
        vectors leave nothing else to do meanwhile."""
        return 1 if self.vectors * self.rows > 3 else 2 if self.vectors * self.rows > 1 else 4

    @property
    def line_rows(self) -> int:
        return self.height + self.down.margin

    @cached_property
    def plane(self) -> int:
        """float32 numbers of one packed channel, in whole vectors."""
        numbers = self.down.lines * self.across.lines * self.line_rows * self.pitch
        return math.ceil(numbers / self.lanes) * self.lanes

    @property
    def packed(self) -> int:
        """float32 numbers of a packed block of channels. Vectors read past the last position."""
        return self.channels * self.plane + self.vectors * self.lanes

    def offset(self, r: int, s: int) -> int:
        """Where in a packed channel tap (r, s) of position 0 lies."""
        line = self.down.line(r) * self.across.lines + self.across.line(s)
        return (line * self.line_rows + self.down.offset(r)) * self.pitch + self.across.offset(s)


def is_flat(row: LayerRow) -> bool:
    return row.kernel == row.stride == (1, 1) and not any(row.pads)


def grid(row: LayerRow) -> tuple[int, int]:
    return (1, math.prod(row.output_hw)) if is_flat(row) else row.output_hw


def input_grid(row: LayerRow) -> tuple[int, int]:
    return (1, math.prod(row.input_hw)) if is_flat(row) else row.input_hw
