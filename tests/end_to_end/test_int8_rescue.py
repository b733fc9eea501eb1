"""A trained network that naive int8 ruins, and what brings it back."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from collapsing import WEIGHTS, digits, untrained

from dlas.context import Context
from dlas.evaluate import accuracy
from dlas.models.weights import load_weights
from dlas.optimizations.int8 import Int8

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'dlas[digits]'")


def test_a_network_collapses_and_is_rescued(tmp_path: Path) -> None:
    data, network = digits(tmp_path), load_weights(untrained(), WEIGHTS)
    depthwise = tuple(row.name for row in network.layers if row.groups > 1)

    def correct(int8: Int8) -> float:
        quantized = int8.apply(network, data, Context(tmp_path, tmp_path))
        assert quantized.dtype == ("mixed" if int8.keep else "int8")
        return 100 * accuracy(quantized, data.test)

    in_float32 = 100 * accuracy(network, data.test)
    assert in_float32 > 96

    naive = correct(Int8())
    assert naive < in_float32 - 30

    one_by_one = {
        "corrected": correct(Int8(bias_correction=True)),
        "unrounded before SiLU": correct(Int8(swish="fused")),
        "clipped": correct(Int8(calibration="percentile")),
    }
    assert {what: found for what, found in one_by_one.items() if found < naive + 3} == {}

    mended = Int8(calibration="mse", equalization=True, bias_correction=True, swish="fused")
    with_all = correct(mended)
    assert with_all > max(one_by_one.values()) + 3

    spared = msgspec.structs.replace(mended, keep=depthwise)
    share = sum(row.macs for row in network.layers if row.name in depthwise) / network.macs
    assert share < 0.2, "what stays in float32 is a small part of the work"
    assert correct(spared) > in_float32 - 1
