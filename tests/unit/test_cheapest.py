"""Which primitive has the lowest estimate, for layers where measurements left no doubt."""

from __future__ import annotations

import pytest

from dlas.algorithms.cheapest import Cheapest
from dlas.network.builder import Builder


@pytest.mark.parametrize(
    "channels, side, groups, chosen",
    [
        (128, 28, 128, "depthwise"),
        (128, 28, 64, "grouped_spatial_pack"),
        (128, 28, 32, "grouped_spatial_pack"),
        (256, 14, 32, "grouped_spatial_pack"),
        (256, 14, 16, "winograd4"),
        (128, 28, 8, "winograd4"),
        (128, 28, 1, "winograd4"),
    ],
)
def test_of_a_3x3_layer(channels: int, side: int, groups: int, chosen: str) -> None:
    b = Builder((channels, side, side))
    x = b.conv("input", "conv", channels, 3, groups=groups)
    network = b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10))
    [row, dense] = network.layers
    assert Cheapest().step(row).primitive == chosen
    assert Cheapest().step(dense).primitive == "gemm"
