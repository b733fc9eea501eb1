"""Images with their rows one after another, so that a tap of a kernel reads one run of numbers.

A *position* i = y · pitch + x numbers the pixels of a plane. With the image padded, and split into
a plane for every phase of the stride, tap (r, s) of output position i lies at i + offset(r, s) of
one of the planes, whatever i: vectors of positions are read at any offset, across the rows' ends.
The pitch - Q positions at the end of a row are computed and not used.

Padding is shared: what is read right of a row's end is the left padding of the next row, so that
3×3 kernels cost one such position a row and not two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dlas.algorithms.primitive import Tensor, accumulator, widened
from dlas.network import LayerRow


@dataclass(frozen=True)
class Taps:
    """Where the taps of one direction, ``kernel`` of them, read."""

    kernel: int
    stride: int
    dilation: int

    @property
    def step(self) -> int:
        """Phases that are read are multiples of it."""
        return math.gcd(self.stride, self.dilation)

    @property
    def planes(self) -> int:
        return max(tap * self.dilation % self.stride for tap in range(self.kernel)) // self.step + 1

    def plane(self, tap: Any) -> Any:
        return tap * self.dilation % self.stride // self.step

    def offset(self, tap: Any) -> Any:
        return tap * self.dilation // self.stride

    def pixel(self, plane: Any, at: Any, pad: int) -> Any:
        """Where in the image ``at`` of a plane lies, negative in the padding."""
        return at * self.stride + plane * self.step - pad


@dataclass(frozen=True)
class Positions:
    """Those of a convolution, in whole vectors of ``lanes``."""

    row: LayerRow
    lanes: int

    @property
    def vertical(self) -> Taps:
        return Taps(self.row.kernel[0], self.row.stride[0], self.row.dilation[0])

    @property
    def horizontal(self) -> Taps:
        return Taps(self.row.kernel[1], self.row.stride[1], self.row.dilation[1])

    @cached_property
    def pitch(self) -> int:
        taps, left, width = self.horizontal, self.row.pads[1], self.row.input_hw[1]
        shared = int(taps.offset(taps.kernel - 1))  # a row holds at least its outputs
        columns = self.row.output_hw[1] + shared
        for plane in range(taps.planes):
            places = [taps.pixel(plane, column, left) for column in range(columns)]
            shared = min(shared, sum(x < 0 for x in places), sum(x >= width for x in places))
        return columns - shared

    @property
    def number(self) -> int:
        """How many are computed: a number of vectors that 2 or 3 divides, for the register tile."""
        height, width = self.row.output_hw
        vectors = math.ceil(((height - 1) * self.pitch + width) / self.lanes)
        even = vectors + (vectors > 1 and vectors % 2 and vectors % 3)
        return even * self.lanes

    def planes(self, data: Tensor) -> Tensor:
        """data (N, C, H, W) → (N, C, planes, planes, rows, pitch); data itself where that is what
        1×1 kernels read. In the type of its sums."""
        from tvm import te, tirx

        row, (down, across) = self.row, (self.vertical, self.horizontal)
        (height, width), (top, left, _, _) = row.input_hw, row.pads
        last = down.offset(down.kernel - 1) * self.pitch + across.offset(across.kernel - 1)
        if row.kernel == row.stride == (1, 1) and self.number == height * width:
            return widened(data)
        dtype = accumulator(data)

        def pixel(n: Any, c: Any, py: Any, px: Any, i: Any, j: Any) -> Any:
            y, x = down.pixel(py, i, top), across.pixel(px, j, left)
            inside = tirx.all(y >= 0, y < height, x >= 0, x < width)
            value = data[n, c, y, x].astype(dtype)
            return tirx.if_then_else(inside, value, tirx.const(0, dtype))

        rows = math.ceil((self.number + last) / self.pitch)
        shape = (*data.shape[:2], down.planes, across.planes, rows, self.pitch)
        return te.compute(shape, pixel, name="planes")

    def read(self, planes: Tensor, n: Any, c: Any, tap: tuple[Any, Any], i: Any) -> Any:
        """What tap (r, s) of output position i reads in channel c."""
        (r, s), (down, across) = tap, (self.vertical, self.horizontal)
        at = i + down.offset(r) * self.pitch + across.offset(s)
        place = at // self.pitch, at % self.pitch
        if len(planes.shape) == 4:
            return planes[(n, c, *place)]
        return planes[(n, c, down.plane(r), across.plane(s), *place)]
