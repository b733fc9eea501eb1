"""Packing for sparse kernels: every weight is met once, and every tap of every output reads the
pixel that it should. The image is packed here in numpy as ``sparse/kernel.py`` does it in loops."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dlas.algorithms.formats import Bsr
from dlas.algorithms.positions import Taps
from dlas.algorithms.sparse.packed import Packed, pack, ungrouped
from dlas.algorithms.sparse.tile import Shifts, Tile, grid, input_grid
from dlas.algorithms.sparse.window import Window
from dlas.network import LayerRow
from dlas.testing.convolutions import Array, geometry


@st.composite
def rows(draw: Any, most: int = 9) -> LayerRow:
    few, tiny = st.integers(1, 3), st.integers(0, 3)
    groups = draw(few)
    kernel, dilation = (draw(few), draw(few)), (draw(few), draw(few))
    stride = draw(st.sampled_from([(1, 1), (2, 2), (3, 1), (1, 3), (2, 3)]))
    hw = tuple(d * (k - 1) + draw(st.integers(1, 9)) for k, d in zip(kernel, dilation, strict=True))
    channels = groups * draw(st.integers(1, most)), groups * draw(st.integers(1, most))
    pads = draw(st.sampled_from([(0, 0, 0, 0), tuple(draw(tiny) for _ in range(4))]))
    return geometry(channels, kernel, hw, stride, pads, dilation, groups)


@st.composite
def tiles(draw: Any, wide: int = 1) -> Tile:
    row = draw(rows())
    height, width = grid(row)
    return Tile(
        row,
        Shifts(draw(st.booleans()), draw(st.booleans())),
        draw(st.sampled_from([1, 4, 8, 16])),
        draw(st.integers(1, height)),
        draw(st.integers(1, width)),
        wide * draw(st.integers(1, 4)),
    )


def pixels(window: Window, first: int, line: int, places: int) -> list[int]:
    """Which pixels lie in a line of a tile whose first output is ``first``; outside: padding."""
    taps = window.taps
    if window.shifted:
        start = line * taps.dilation - window.pad
        return [(first + place) * taps.stride + start for place in range(places)]
    return [taps.pixel(line, first + place, window.pad) for place in range(places)]


def packed_channel(tile: Tile, image: Array, top: int, left: int) -> Array:
    """image (H, W) → what the kernel reads of it for the tile at (top, left)."""
    down, across = tile.down, tile.across
    lines = np.zeros((down.lines, across.lines, tile.line_rows, tile.pitch))
    for ly, lx in product(range(down.lines), range(across.lines)):
        ys, xs = pixels(down, top, ly, tile.line_rows), pixels(across, left, lx, tile.pitch)
        for (i, y), (j, x) in product(enumerate(ys), enumerate(xs)):
            if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
                lines[ly, lx, i, j] = image[y, x]
    filled = np.zeros(tile.plane)
    filled[: lines.size] = lines.reshape(-1)
    return filled


@settings(max_examples=60, deadline=None)
@given(tiles())
def test_every_tap_of_every_output_reads_its_pixel(tile: Tile) -> None:
    row, (outputs_y, outputs_x) = tile.row, tile.outputs
    size = input_grid(row)
    image = np.arange(1.0, np.prod(size) + 1).reshape(size)
    (top, left, _, _), (sy, sx), (dy, dx) = row.pads, row.stride, row.dilation
    seen = np.zeros(tile.outputs, int)
    for ty, tx in product(*map(range, tile.number)):
        y0, x0 = ty * tile.height, tx * tile.width
        packed = packed_channel(tile, image, y0, x0)
        held = [
            (y, x)
            for y, x in product(range(tile.height), range(tile.width))
            if y0 + y < outputs_y and x0 + x < outputs_x
        ]
        for y, x in held:
            seen[y0 + y, x0 + x] += 1
            position = y * tile.pitch + x
            assert position < tile.positions <= tile.vectors * tile.lanes
            for r, s in product(*map(range, row.kernel)):
                at = (y0 + y) * sy + r * dy - top, (x0 + x) * sx + s * dx - left
                inside = all(0 <= a < n for a, n in zip(at, size, strict=True))
                assert packed[tile.offset(r, s) + position] == (image[at] if inside else 0)
    assert (seen == 1).all()


@settings(deadline=None)
@given(
    st.builds(Taps, st.integers(1, 7), st.integers(1, 4), st.integers(1, 3)),
    st.integers(1, 30), st.integers(0, 5), st.booleans(), st.integers(1, 20),
)  # fmt: skip
def test_a_window_reads_every_tap_from_its_line(
    taps: Taps, size: int, pad: int, shifted: bool, outputs: int
) -> None:
    window = Window(taps, size, pad, shifted)
    for tap, output in product(range(taps.kernel), range(outputs)):
        line = pixels(window, 0, window.line(tap), outputs + window.margin)
        assert 0 <= window.line(tap) < window.lines
        assert line[output + window.offset(tap)] == output * taps.stride + tap * taps.dilation - pad
    plain = window.unshifted()
    for line_ in range(plain.lines):
        inside = [0 <= x < size for x in pixels(plain, 0, line_, outputs)]
        begin, end = plain.inside(line_, outputs)
        assert inside == [begin <= place < end for place in range(outputs)]


def unpacked(packed: Packed, tile: Tile, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The weights that a kernel meets, added up at their places, and how often each place is met
    with a weight that is not zero."""
    outputs, inputs, r, s = shape
    high, wide = packed.block
    found, met = (
        np.zeros((outputs + high, inputs, r, s)),
        np.zeros((outputs + high, inputs, r, s), int),
    )
    taps = {tile.offset(y, x): (y, x) for y, x in product(range(r), range(s))}
    assert len(taps) == r * s
    values = packed.values.reshape(-1, wide, high)
    for block, pointers in enumerate(packed.pointers):
        for k, (begin, end) in enumerate(pairwise(pointers)):
            assert (end - begin) % tile.chains == 0
            for entry, c, i in product(range(begin, end), range(wide), range(high)):
                channel, at = divmod(int(packed.offsets[entry]), tile.plane)
                if values[entry, c, i]:
                    place = (
                        k * high + i,
                        packed.channels[block * tile.channels + channel + c],
                        *taps[at],
                    )
                    found[place] += values[entry, c, i]
                    met[place] += 1
    return found[:outputs], met[:outputs]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([(1, 1), (4, 1), (1, 4), (3, 2)]), st.floats(0, 1))
def test_every_weight_that_is_not_zero_is_met_once(
    data: Any, block: tuple[int, int], share: float
) -> None:
    tile = data.draw(tiles(block[1]))
    row, random = tile.row, np.random.default_rng(data.draw(st.integers(0, 9)))
    shape = (row.out_channels, row.in_channels // row.groups, *row.kernel)
    weight = random.normal(size=shape).astype(np.float32) * (random.random(shape) >= share)
    full = ungrouped(weight, row.groups)
    packed = pack(Bsr.of(full, block), tile)
    found, met = unpacked(packed, tile, full.shape)
    np.testing.assert_array_equal(found, full)
    np.testing.assert_array_equal(met, full != 0)
    # Loads stay within the pixels, also those of the last vector and of what fills rows and blocks.
    last = packed.offsets.astype(int) + (block[1] - 1) * tile.plane
    assert (last + tile.vectors * tile.lanes <= tile.packed).all()
    assert ((packed.channels >= 0) & (packed.channels < row.in_channels)).all()


@settings(deadline=None)
@given(rows(), st.integers(0, 9))
def test_groups_are_blocks_on_the_diagonal(row: LayerRow, seed: int) -> None:
    shape = (row.out_channels, row.in_channels // row.groups, *row.kernel)
    weight = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    full, inputs = ungrouped(weight, row.groups), shape[1]
    assert full.shape == (row.out_channels, row.in_channels, *row.kernel)
    for k, each in enumerate(weight):
        first = k // (row.out_channels // row.groups) * inputs
        np.testing.assert_array_equal(full[k, first : first + inputs], each)
    assert np.count_nonzero(full) == np.count_nonzero(weight)
