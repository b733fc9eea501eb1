"""Grouped spatial pack computes the convolution for every number of groups, untuned and by its
template: against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_blocked_primitives import VECTORS, check, target
from test_primitives import GEOMETRIES, drawn, geometry
from test_primitives import check as check_untuned

from dlas.algorithms.grouped_spatial_pack import GroupedSpatialPack
from dlas.network import LayerRow
from dlas.target.blocks import channel_at, interleaved, place

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

NAME = "grouped_spatial_pack"
PRIMITIVE = GroupedSpatialPack()
NONE = (0, 0, 0, 0)
EVERY_G = {
    f"{channels} channels, {groups} groups": geometry((channels, channels), groups=groups)
    for channels in (32, 48, 64)
    for groups in range(2, channels)
    if channels % groups == 0
}
MORE = {
    "16 groups of 2 → 3, stride 2": geometry((32, 48), groups=16, stride=(2, 2)),
    "16 groups of 3 → 1": geometry((48, 16), groups=16),
    "32 groups of 1 → 2": geometry((32, 64), groups=32),
    "32 groups of 2, 1x1": geometry((64, 64), (1, 1), pads=NONE, groups=32),
    "16 groups of 4, 1x1 stride 2": geometry((64, 64), (1, 1), (8, 8), (2, 2), NONE, groups=16),
    "16 groups of 4, 5x5": geometry((64, 64), (5, 5), pads=(2,) * 4, groups=16),
    "16 groups of 4, 7x7": geometry((64, 64), (7, 7), pads=(3,) * 4, groups=16),
    "16 groups of 2, asymmetric": geometry((32, 32), pads=(1, 0, 2, 3), stride=(2, 1), groups=16),
    "16 groups of 2, dilation 2": geometry((32, 32), pads=(2,) * 4, dilation=(2, 2), groups=16),
    "16 groups of 2, 1x7": geometry((32, 32), (1, 7), pads=(0, 3, 0, 3), groups=16),
    "10 groups of 2 → 3": geometry((20, 30), groups=10),
}
ROWS = {**EVERY_G, **MORE}
IN_GROUPS = {
    label: row
    for label, row in {**GEOMETRIES, **MORE}.items()
    if PRIMITIVE.refuses_layer(row) is None
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_computes_the_convolution_by_its_template(row: LayerRow) -> None:
    check(NAME, row, target())


@pytest.mark.parametrize("vectors", VECTORS[1:], ids=lambda pair: f"{pair[0]} bits")
@pytest.mark.parametrize("label", MORE)
def test_other_vectors(label: str, vectors: tuple[int, int]) -> None:
    check(NAME, MORE[label], target(*vectors))


@pytest.mark.parametrize("label", ["16 groups of 2, asymmetric", "32 groups of 2, 1x1"])
def test_batch_and_threads(label: str) -> None:
    check(NAME, MORE[label], target(), batch=3, threads=2)


@pytest.mark.parametrize("tile", [(2, 3, 1), (4, 1, 7), (1, 9, 1), (1, 1, 1)])
@pytest.mark.parametrize("threads", [1, 2])
def test_edges_of_every_tile(
    tile: tuple[int, int, int], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = dict(zip(("rk", "rh", "rw"), tile, strict=True))
    monkeypatch.setattr(GroupedSpatialPack, "candidates", lambda *_: [knobs])
    check(NAME, ROWS["64 channels, 16 groups"], target(), threads=threads)
    check(NAME, ROWS["16 groups of 4, 5x5"], target(), threads=threads)


UNTUNED = {**EVERY_G, **IN_GROUPS}


@pytest.mark.parametrize("row", UNTUNED.values(), ids=UNTUNED.keys())
def test_computes_the_convolution_untuned(row: LayerRow) -> None:
    check_untuned(NAME, row, "float32")


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int8"])
@pytest.mark.parametrize("label", ["16 groups of 2, asymmetric", "4 groups of 3 → 5"])
def test_other_types_untuned(label: str, dtype: str) -> None:
    check_untuned(NAME, IN_GROUPS[label], dtype, batch=2)


def test_lays_out_data_and_weights_as_published() -> None:
    row = geometry((32, 64), groups=2)
    packed = PRIMITIVE.pack(drawn(row, "float32")[1], row)
    assert packed.shape == (2, 2, 1, 3, 3, 16, 16)
    odd = geometry((28, 20), groups=2)  # tiles divide the channels of a group: 14 and 10
    assert PRIMITIVE.pack(drawn(odd, "float32")[1], odd).shape == (2, 1, 2, 3, 3, 7, 10)


def test_no_lane_multiplies_zeros_of_other_groups() -> None:
    row = geometry((64, 64), groups=32)
    weight = np.ones((64, 2, 3, 3), np.float32)
    assert PRIMITIVE.pack_blocked(weight, row, 16).size == weight.size


def test_what_it_refuses_falls_back() -> None:
    dense, alone = geometry((8, 8)), geometry((8, 8), groups=8)
    for row, fallback in ((dense, "spatial_pack"), (alone, "depthwise")):
        step = PRIMITIVE.step(row)
        assert step.primitive == fallback
        assert "grouped_spatial_pack" in step.note
    assert PRIMITIVE.step(geometry((8, 8), groups=2)).primitive == "grouped_spatial_pack"


@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_channel_has_one_place(order: int) -> None:
    channels, lanes = 24, 4
    found: Any = interleaved(channels, lanes, order)
    assert sorted(found) == list(range(channels))
    for index, channel in enumerate(found):
        block, lane = place(channel, lanes, order)
        assert index == block * lanes + lane
        assert channel == channel_at(block, lane, lanes, order)


def test_lanes_are_groups_in_the_order_of_a_groups_channels() -> None:
    by_block: Any = interleaved(24, 4, 3).reshape(6, 4)
    np.testing.assert_array_equal(by_block[1], [1, 4, 7, 10])  # second channel of 4 groups of 3
