"""Images with their rows one after another: how many positions are computed for no output."""

from __future__ import annotations

import pytest

from dlas.algorithms.positions import Positions
from dlas.network import LayerRow
from dlas.testing.convolutions import NONE, geometry


@pytest.mark.parametrize(
    "row, pitch",
    [
        pytest.param(geometry(hw=(56, 56)), 57, id="padding left and right is shared"),
        pytest.param(geometry(hw=(56, 56), pads=NONE), 56, id="no padding"),
        pytest.param(geometry(hw=(8, 8), pads=(0, 2, 0, 0)), 10, id="padding on one side"),
        pytest.param(geometry(kernel=(1, 1), hw=(9, 9)), 11, id="no narrower than the outputs"),
        pytest.param(geometry(kernel=(5, 5), hw=(9, 9), pads=(2,) * 4), 11, id="5x5"),
        pytest.param(geometry(hw=(56, 56), stride=(2, 2)), 29, id="a phase is padded on one side"),
        pytest.param(geometry(kernel=(1, 1), stride=(2, 2), pads=NONE), 4, id="1x1 stride 2"),
    ],
)
def test_rows_share_their_padding(row: LayerRow, pitch: int) -> None:
    assert Positions(row, 16).pitch == pitch


@pytest.mark.parametrize("side, vectors", [(56, 200), (28, 51), (14, 14), (7, 4), (4, 2), (1, 1)])
def test_vectors_that_a_register_tile_divides(side: int, vectors: int) -> None:
    assert Positions(geometry(hw=(side, side)), 16).number == 16 * vectors


def test_only_the_phases_that_taps_read_are_kept() -> None:
    strided = Positions(geometry(kernel=(1, 1), stride=(2, 2), pads=NONE), 16)
    assert strided.vertical.planes == strided.horizontal.planes == 1
    dilated = Positions(geometry(stride=(2, 2), dilation=(2, 2), pads=(2,) * 4), 16)
    assert dilated.vertical.planes == 1
    both = Positions(geometry(stride=(2, 2)), 16)
    assert [both.vertical.plane(tap) for tap in range(3)] == [0, 1, 0]
    assert [both.vertical.offset(tap) for tap in range(3)] == [0, 0, 1]
