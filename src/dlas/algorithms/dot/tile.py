"""How outputs are cut into tiles, and which cuts are worth a measurement."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from dlas.algorithms.dot.window import Window
from dlas.algorithms.tiles import divisors
from dlas.target import Target

#: A matrix register: rows, and bytes of a row; as many as a line of the cache has.
MATRIX_ROWS, MATRIX_BYTES = 16, 64
#: Sums of a tile lie in the first cache until they are scaled and stored; of its bytes no more.
SUMS_SHARE = 0.7
#: Blocks of output channels that are scaled and stored together: 64 bytes of 8-bit integers.
STORED = 4
#: Cycles that a tile takes besides multiplying, and a group of registers in it.
PER_TILE, PER_GROUP = 60.0, 40.0
#: Bytes of the image.
COPIED_A_CYCLE = 8.0


@dataclass(frozen=True)
class Run:
    """``length`` outputs at equal distances, from the tile's sums ``position`` on; ``row``: of the
    tile's outputs, the one that it starts in."""

    row: int
    position: int
    length: int


@dataclass(frozen=True)
class Tile:
    """``rows`` of outputs, whole ones, by ``blocks`` of output channels. ``rows_outside``: whether
    all channels of some rows come before the next rows. Within it ``places`` by ``vectors`` sums
    are in registers at once, vectors of lanes; with a ``matrix`` unit, matrix registers."""

    window: Window
    rows: int
    blocks: int
    rows_outside: bool
    places: int
    vectors: int
    matrix: bool = False

    @property
    def runs(self) -> list[Run]:
        width = self.window.row.output_hw[1]
        if self.window.flat:
            return [Run(0, 0, (self.rows - 1) * self.window.pitch + width)]
        return [Run(row, row * width, width) for row in range(self.rows)]

    @property
    def span(self) -> int:
        """Positions of the tile's sums."""
        last = self.runs[-1]
        return last.position + last.length

    @property
    def choices(self) -> str:
        """What tells it from another tile of the layer."""
        kind = "matrix" if self.matrix else "vector"
        order = "rows" if self.rows_outside else "channels"
        return f"{kind} {self.rows}x{self.blocks} {order} {self.places}x{self.vectors}"


#: A tile after its estimated cycles, of an output of all channels or of a multiply-add.
Ranked = tuple[float, Tile]


def vector_tiles(window: Window, target: Target, most: int) -> Sequence[Ranked]:
    """The cheapest by estimate first: time of its multiplications, of loading words and weights
    where those are more, and of what is computed more than once."""
    found = []
    for rows, blocks, outside in regions(window, target):
        length = Tile(window, rows, blocks, outside, 1, 1).runs[0].length
        for vectors, places in registers(blocks, length, target):
            waste = math.ceil(length / places) * places / length * flat_waste(window, rows)
            loads = (places + vectors) / (places * vectors)
            waiting = max(1.0, 8 / (places * vectors))
            cost = waste * max(waiting, loads + 0.3) + 0.1 / vectors
            cost += PER_TILE / (rows * window.row.output_hw[1] * blocks * steps(window) / 2)
            cost += late_weights(window, target, outside) + copying(window)
            found.append((cost, Tile(window, rows, blocks, outside, places, vectors)))
    return cheapest(found, most)


def matrix_tiles(window: Window, target: Target, most: int) -> Sequence[Ranked]:
    """As ``vector_tiles``, for a matrix unit. ``places`` and ``vectors`` count its registers."""
    found = []
    for rows, blocks, outside in regions(window, target):
        tile = Tile(window, rows, blocks, outside, 1, 1, matrix=True)
        length, runs = tile.runs[0].length, len(tile.runs)
        across = math.ceil(length / MATRIX_ROWS)
        shape = (2, min(2, blocks)) if across > 1 else (1, min(4, blocks))
        cycles = max(9, min(MATRIX_ROWS, length)) * chunks(window)
        groups = math.ceil(across / shape[0]) * math.ceil(blocks / shape[1])
        work = runs * (across * blocks * cycles + groups * PER_GROUP) + PER_TILE
        sums = rows * window.row.output_hw[1] * blocks * steps(window)
        cost = MATRIX_ROWS * work / sums * (1 + late_weights(window, target, outside))
        cost += MATRIX_ROWS * copying(window) / 2
        found.append((cost, Tile(window, rows, blocks, outside, *shape, matrix=True)))
    return cheapest(found, most)


def cheapest(found: list[Ranked], most: int) -> list[Ranked]:
    return sorted(found, key=lambda pair: pair[0])[:most]


def regions(
    window: Window, target: Target, shared: bool | None = None
) -> Iterator[tuple[int, int, bool]]:
    """(rows, blocks, rows outside) of tiles whose sums stay in the first cache, or of the smallest
    one. ``shared``: whether blocks of outputs may be in one tile, by default where they read the
    same pixels."""
    rows, blocks = window.row.output_hw[0], window.blocks
    cache = target.cache_bytes(1) or 32 << 10
    if shared is None:
        shared = window.depth == window.channels
    widths = divisors(blocks) if shared else [1]
    # Half a cache line is written in the time of a whole one.
    line = MATRIX_BYTES // window.number.bytes // window.lanes
    widths = [n for n in widths if n % line == 0] or widths
    for high, wide in product(divisors(rows), widths):
        span = Tile(window, high, wide, True, 1, 1).span
        smallest = high == 1 and wide == widths[0]
        if smallest or 4 * span * wide * window.lanes <= SUMS_SHARE * cache:
            orders = (True, False) if high < rows and wide < blocks else (True,)
            yield from ((high, wide, order) for order in orders)


def registers(blocks: int, length: int, target: Target) -> Iterator[tuple[int, int]]:
    """(vectors, places) that fit the registers, with the weights and a word."""
    for vectors in divisors(blocks):
        room = (target.vector_registers - 1 - vectors) // vectors
        if vectors > STORED or (vectors > 1 and room < 2):
            break
        most = min(max(room, 1), length)
        number = math.ceil(length / most)
        yield vectors, math.ceil(length / number)  # as few turns, and as even
        if most > 2:
            yield vectors, max(p for p in range(1, most + 1) if length % p == 0)


def steps(window: Window) -> int:
    """Words that every output sums over."""
    return math.prod(window.taps) * window.words


def chunks(window: Window) -> int:
    """Multiplications of matrix registers that every output sums over."""
    return steps(window) // words_at_once(window)


def words_at_once(window: Window) -> int:
    """Of a run those that a matrix register holds side by side."""
    return max(n for n in divisors(window.words) if n <= MATRIX_BYTES // 4)


def copying(window: Window) -> float:
    """Cycles of copying the image, over vectors of multiply-adds."""
    if not window.copies:
        return 0.0
    copied = math.prod(window.stored) * window.number.bytes / COPIED_A_CYCLE
    return copied / (math.prod(window.row.output_hw) * window.blocks * steps(window))


def flat_waste(window: Window, rows: int) -> float:
    """Positions of a run over outputs."""
    width = window.row.output_hw[1]
    return ((rows - 1) * window.pitch + width) / (rows * width) if window.flat else 1.0


def late_weights(window: Window, target: Target, rows_outside: bool) -> float:
    """What it costs to read weights that no cache keeps once for every tile of rows, or images
    once for every tile of channels."""
    weights = 4 * steps(window) * window.blocks * window.lanes
    height, width, elements = window.stored
    image = height * width * elements * window.number.bytes
    second = target.cache_bytes(2) or 1 << 20
    if rows_outside:
        return 1.0 if weights > second / 2 else 0.0
    return 1.0 if image > second / 2 else 0.02
