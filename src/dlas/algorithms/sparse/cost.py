"""What a sparse layer costs, part by part: for choosing tiles and formats, and to explain where a
promised speedup went.

The unit is a *slot*: the time in which a dense kernel multiplies one vector of pixels by one weight
and adds it up. The constants were fitted on an Intel Xeon core (two multiply-adds of 512 bits a
cycle, 48 KiB of first cache) with 3×3 layers of ResNet18 at 80 and 90 % zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import msgspec
import numpy as np

from dlas.algorithms.formats import Bsr
from dlas.algorithms.sparse.tile import Shifts, Tile, grid
from dlas.algorithms.tiles import divisors
from dlas.network import LayerRow

#: A vector of pixels from the first cache, at a vector's boundary or not; if from the second, more.
ALIGNED, UNALIGNED, FAR = 0.5, 1.5, 1.2
#: A weight or an offset.
SCALAR = 0.4
#: A vector of sums, read and written back; beginning and ending a row of the weights.
SUMS, ROW = 2.0, 15.0
#: Passing a row by that has no weights in a block.
SKIP = 4.0
#: A vector of a row staged, and of one copied.
STAGED, COPIED = 2.5, 5.0
#: A vector of outputs: sum, bias, activation, store.
OUTPUT = 8.0
#: A byte of weights from memory: a layer's are read once.
BYTE = 0.16
#: Of the first cache, what the pixels of a block may take: sums and weights pass through it too.
SHARE = 0.75
OFFSET_BYTES, VALUE_BYTES = 2, 4


class Machine(msgspec.Struct, frozen=True):
    """What of a target decides the tile; the default stands for it while a plan is made."""

    lanes: int = 16
    registers: int = 32
    first_cache: int = 48 << 10
    second_cache: int = 1 << 20


class Cost(msgspec.Struct, frozen=True):
    """Slots. ``products``: the multiplications of the weights that are not zero with outputs that
    are used; ``idle_lanes``: those of lanes without output and of zeros that blocks store;
    ``pixel_reads`` beyond what a dense kernel hides; ``index_reads``: values and offsets;
    ``sums``; ``packing``: im2col and other copies; ``outputs``; ``weights``: their bytes;
    ``images``: those that the second cache does not hold."""

    products: float
    idle_lanes: float
    pixel_reads: float
    index_reads: float
    sums: float
    packing: float
    outputs: float
    weights: float
    images: float

    @property
    def total(self) -> float:
        return math.fsum(msgspec.structs.astuple(self))


class Stored(msgspec.Struct, frozen=True):
    """What of a layer's weights its cost depends on: ``entries`` blocks ``block`` of weights, of
    ``used`` input channels, with ``nonzeros`` among them; ``pairs``: of rows and columns of
    channels that have any entry, whatever the tap."""

    entries: int
    block: tuple[int, int]
    used: int
    nonzeros: int
    pairs: int

    @classmethod
    def of(cls, weights: Bsr) -> Stored:
        _, _, r, s = weights.shape
        channels = weights.columns // (r * s)
        used = len(np.unique(channels))
        rows = np.repeat(np.arange(len(weights.pointers) - 1), np.diff(weights.pointers))
        pairs = len(np.unique(rows * (int(channels.max(initial=0)) + 1) + channels))
        entries, block = len(weights.columns), weights.block
        return cls(entries, block, used * block[1], weights.nonzeros, pairs)

    @classmethod
    def expected(cls, row: LayerRow, block: tuple[int, int], zeros: float) -> Stored:
        """Of a layer that is not pruned yet, with that share of zeros in blocks anywhere."""
        inputs, taps = row.in_channels // row.groups, math.prod(row.kernel)
        cells = math.ceil(row.out_channels / block[0]) * math.ceil(inputs / block[1])
        entries = round((1 - zeros) * cells * taps)
        pairs = round((1 - zeros**taps) * cells)
        used = min(row.in_channels, pairs * row.groups * block[1])
        return cls(entries, block, used, round((1 - zeros) * row.weights), pairs)


def cost(tile: Tile, stored: Stored, machine: Machine) -> Cost:
    """Of a layer by tiles like this one, batch 1."""
    row, (high, wide), vectors = tile.row, stored.block, tile.vectors
    rows, places = math.ceil(row.out_channels / high), math.prod(row.output_hw)
    blocks = math.ceil(max(stored.used, 1) / tile.channels)
    met = min(blocks * rows, stored.pairs)  # rows that a block has weights for
    filled = stored.entries + met * (tile.chains - 1) / 2
    passes = high // tile.rows
    computed = tile.tiles * filled * wide * high * vectors
    ideal = stored.nonzeros * places / tile.lanes
    far = 4 * tile.packed > SHARE * machine.first_cache
    aligned = aligned_share(tile)
    load = aligned * ALIGNED + (1 - aligned) * UNALIGNED + (FAR if far else 0.0)
    waiting = max(4 / (vectors * tile.rows * tile.chains), 1.0)  # rows overlap each other
    across = math.ceil(tile.pitch / tile.lanes)
    staged = tile.down.unshifted(), tile.across.unshifted()
    lines = staged[0].lines * staged[1].lines * (tile.height + staged[0].margin)
    copies = 0
    if (tile.down, tile.across) != staged and row.kernel != (1, 1):
        copies = tile.down.lines * tile.across.lines * tile.line_rows
    return Cost(
        products=ideal,
        idle_lanes=computed * waiting - ideal,
        pixel_reads=tile.tiles * filled * passes * wide * vectors * load,
        index_reads=tile.tiles * filled * (wide * high + 2 * passes) * SCALAR,
        sums=tile.tiles
        * passes
        * (met * (tile.rows * vectors * SUMS + ROW) + blocks * rows * SKIP),
        packing=tile.tiles * stored.used * across * (lines * STAGED + copies * COPIED),
        outputs=tile.tiles * row.out_channels * vectors * OUTPUT,
        weights=stored.entries * (OFFSET_BYTES + VALUE_BYTES * wide * high) * BYTE,
        images=image_cost(row, machine),
    )


def image_cost(row: LayerRow, machine: Machine) -> float:
    """Of reading a layer's input and writing its output where they are not in the second cache."""
    numbers = row.in_channels * math.prod(row.input_hw) + row.out_channels * math.prod(
        row.output_hw
    )
    return 4 * numbers * BYTE if 4 * numbers > machine.second_cache else 0.0


def aligned_share(tile: Tile) -> float:
    """Of the kernel's taps: those whose loads begin at a vector."""
    rows, columns = map(range, tile.row.kernel)
    aligned = [tile.offset(r, s) % tile.lanes == 0 for r, s in product(rows, columns)]
    return sum(aligned) / len(aligned)


def tiles(row: LayerRow, shifts: Shifts, stored: Stored, machine: Machine) -> list[Tile]:
    """Every tile whose sums fit the registers, the cheapest first."""
    found = list(_tiles(row, shifts, stored, machine))
    return sorted(found, key=lambda tile: cost(tile, stored, machine).total)


def _tiles(row: LayerRow, shifts: Shifts, stored: Stored, machine: Machine) -> Iterator[Tile]:
    (high, wide), (height, width) = stored.block, grid(row)
    lanes = min(machine.lanes, 1 << (math.prod(row.output_hw) - 1).bit_length())
    steps = [1]
    if shifts.horizontal and row.kernel != (1, 1):
        steps += [n for n in (lanes // 2, lanes) if n and width % n]
    for rows in divisors(high):
        # One register for a weight, and for pixels that several weights meet.
        most = (machine.registers - 2) // rows - (1 if rows > 1 else 0)
        most = min(most, max(1, 24 // rows))
        shapes = _shapes(height, width, lanes, most)
        blocks = tuple(_blocks(max(stored.used, 1), wide))
        for (high_, wide_), channels in product(shapes, blocks):
            alike = (Tile(row, shifts, lanes, high_, wide_, channels, rows, s) for s in steps)
            yield from {tile.pitch: tile for tile in alike if tile.vectors <= most}.values()


def _shapes(height: int, width: int, lanes: int, most: int) -> Iterator[tuple[int, int]]:
    """Rows and columns of a tile: whole rows where some fit, else parts of one."""
    if width <= most * lanes:
        yield from ((rows, width) for rows in range(1, min(height, most * lanes // width) + 1))
    else:
        even = {math.ceil(width / n / lanes) * lanes for n in range(2, 65)}
        yield from ((1, columns) for columns in sorted(even) if columns <= most * lanes)


def _blocks(used: int, wide: int) -> Iterator[int]:
    """How many channels at a time: the used ones in one, two, … equal blocks."""
    groups = math.ceil(used / wide)
    for number in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64):
        if number <= groups:
            yield math.ceil(groups / number) * wide
