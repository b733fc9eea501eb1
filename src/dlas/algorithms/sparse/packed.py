"""Weights in the order in which the kernel meets them, every column an offset into the pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.algorithms.formats import Bsr
from dlas.algorithms.sparse.tile import Tile

Array = NDArray[Any]


@dataclass(frozen=True)
class Packed:
    """``entries`` E blocks of weights, by the block of input ``channels`` they read, then by row,
    the rows with the fewest entries first.

    ``values`` (E · C_b · R_b) float32; ``offsets`` (E) uint16 or int32; ``pointers`` (B, rows + 1)
    int32, where each row of each of the B blocks begins, and ``turns`` (B, rows) int32, which row
    that is; ``channels`` (B · tile.channels) int32, those that any weight reads."""

    values: Array
    offsets: Array
    pointers: Array
    turns: Array
    channels: Array
    block: tuple[int, int]

    @property
    def arrays(self) -> tuple[Array, ...]:
        """What the kernel takes, each of one dimension."""
        pointers, turns = self.pointers.reshape(-1), self.turns.reshape(-1)
        return self.values, self.offsets, pointers, turns, self.channels


def rows_by_length(block: Array, row: Array, shape: tuple[int, int, int]) -> Array:
    """The rows (blocks, parts · rows of a part) in turns of rising length, for entries that are in
    these blocks and rows: a loop that ends when the one before it did is foreseen."""
    blocks, parts, some = shape
    lengths = np.bincount(block * parts * some + row, minlength=blocks * parts * some)
    turns = np.argsort(lengths.reshape(shape), axis=2, kind="stable")
    turns += some * np.arange(parts)[:, None]
    return turns.reshape(blocks, parts * some)


def ungrouped(weight: Array, groups: int) -> Array:
    """(K, C/G, R, S) → (K, C, R, S): zeros between the groups, which no sparse format stores."""
    outputs, inputs, r, s = weight.shape
    if groups == 1:
        return weight
    full = np.zeros((groups, outputs // groups, groups, inputs, r, s), weight.dtype)
    each = np.arange(groups)
    full[each, :, each] = weight.reshape(groups, -1, inputs, r, s)
    return full.reshape(outputs, -1, r, s)


def pack(bsr: Bsr, tile: Tile, parts: int = 1) -> Packed:
    """Weights (K, C, R, S), all groups in one, for tiles like this one. A row's entries of one
    block are filled up to whole ``tile.chains`` with zeros. The rows of each of the ``parts`` stay
    together."""
    height, width = bsr.block
    _, _, r, s = bsr.shape
    rows = len(bsr.pointers) - 1
    row = np.repeat(np.arange(rows), np.diff(bsr.pointers))
    group, tap = np.divmod(bsr.columns, r * s)
    used, at = np.unique(group, return_inverse=True)
    used = used if len(used) else np.zeros(1, np.int64)
    together = tile.channels // width
    blocks = math.ceil(len(used) / together)
    block, local = np.divmod(at, together)
    reads = np.array([tile.offset(*divmod(t, s)) for t in range(r * s)])
    offset = local * width * tile.plane + reads[tap]

    turns = rows_by_length(block, row, (blocks, parts, rows // parts))
    place = block * rows + np.argsort(turns, axis=1)[block, row]
    order = np.lexsort((offset, place))
    counts = np.bincount(place, minlength=blocks * rows).reshape(blocks, rows)
    filled = -(-counts // tile.chains) * tile.chains
    starts = np.cumsum(filled) - filled.reshape(-1)
    within = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts.reshape(-1), counts.flat)
    target = np.repeat(starts, counts.flat) + within
    entries = max(int(filled.sum()), 1)
    values = np.zeros((entries, width, height), np.float32)
    values[target] = bsr.values[order].transpose(0, 2, 1)
    offsets = np.zeros(entries, np.int64)
    offsets[target] = offset[order]

    pointers = np.zeros((blocks, rows + 1), np.int32)
    ends = np.cumsum(filled).reshape(blocks, rows)
    pointers[:, 1:] = ends
    pointers[1:, 0] = ends[:-1, -1]
    channels = np.resize(used, blocks * together)[:, None] * width + np.arange(width)
    channels = np.minimum(channels, tile.row.in_channels - 1)  # what fills a block has no weight
    small = tile.packed <= np.iinfo(np.uint16).max
    return Packed(
        values.reshape(-1),
        offsets.astype(np.uint16 if small else np.int32),
        pointers,
        turns.astype(np.int32),
        channels.reshape(-1).astype(np.int32),
        bsr.block,
    )
