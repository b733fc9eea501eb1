"""What a kernel's taps read in one direction, and what of that is copied when pixels are packed."""

from __future__ import annotations

from dataclasses import dataclass

from dlas.algorithms.positions import Taps


@dataclass(frozen=True)
class Window:
    """The taps of one direction over an image of ``size`` pixels with ``pad`` before it.

    Packed, the direction is cut into *lines*. Not ``shifted``: one for every phase of the stride,
    and tap t of output i reads place i + offset(t) of its line. ``shifted``: one for every tap, its
    offset nought; the pixels are copied more often, and no load needs an offset."""

    taps: Taps
    size: int
    pad: int
    shifted: bool

    @property
    def lines(self) -> int:
        return self.taps.kernel if self.shifted else self.taps.planes

    @property
    def margin(self) -> int:
        """Places that a line is longer than the outputs."""
        return 0 if self.shifted else self.reach

    @property
    def reach(self) -> int:
        """The largest offset of a line that is not shifted."""
        return int(self.taps.offset(self.taps.kernel - 1))

    def line(self, tap: int) -> int:
        return tap if self.shifted else int(self.taps.plane(tap))

    def offset(self, tap: int) -> int:
        return 0 if self.shifted else int(self.taps.offset(tap))

    def unshifted(self) -> Window:
        return Window(self.taps, self.size, self.pad, False)

    def inside(self, plane: int, places: int) -> tuple[int, int]:
        """Of places 0 … of a plane those that lie in the image: from, to."""
        pixels = [self.taps.pixel(plane, place, self.pad) for place in range(places)]
        found = [place for place, pixel in enumerate(pixels) if 0 <= pixel < self.size]
        return (found[0], found[-1] + 1) if found else (0, 0)
