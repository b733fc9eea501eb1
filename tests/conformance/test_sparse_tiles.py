"""Sparse kernels by every tile, vector and number of threads, and what may follow them: against
float64."""

from __future__ import annotations

import numpy as np
import pytest
from epilogues import ACTIVATIONS, Epilogue
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_kernels import (
    SHARES,
    check,
    every_format,
    every_primitive,
    kernel_of,
    pruned,
    run,
)
from test_blocked_primitives import ROWS, VECTORS, target
from test_primitives import agree, rows, unoptimized

from dlas.network import LayerRow
from dlas.target import host
from dlas.testing.convolutions import NONE, convolution, drawn, geometry

__all__ = ["unoptimized"]  # a fixture that this file's tests use too

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

#: What each of them adds to the cases of a kernel: outputs wider than the registers, in tiles side
#: by side, the last of them not full; positions that no vector divides; a tile of one output.
WIDE = {
    "1x400": geometry((4, 6), kernel=(1, 3), hw=(1, 400), pads=(0, 1, 0, 1)),
    "3 rows of 401": geometry((4, 6), hw=(3, 401)),
    "401 wide, stride 2": geometry((4, 6), (3, 5), (5, 1201), (2, 2), (1, 2, 1, 2)),
    "1x1 on 1021 places": geometry((6, 5), (1, 1), (1, 1021), pads=NONE),
    "1x1 on 31x37 places": geometry((6, 5), (1, 1), (31, 37), pads=NONE),
    "one output": geometry((20, 18), hw=(3, 3), pads=NONE),
}


@pytest.mark.parametrize("label", ROWS)
@every_primitive
def test_without_choices(primitive: str, label: str) -> None:
    """The tile of untuned networks."""
    for name in ("csr", "bsr_4x4"):
        check(primitive, name, ROWS[label], target(), which=None)


@pytest.mark.parametrize("label", WIDE)
@every_primitive
@every_format
def test_more_places_than_a_tile_holds(name: str, primitive: str, label: str) -> None:
    check(primitive, name, WIDE[label], target(), (0.5, 0.9))
    check(primitive, name, WIDE[label], target(), which=None)


@every_primitive
def test_1x1_kernels_by_every_tile(primitive: str) -> None:
    """Nothing is copied after staging, also where rows are padded to vectors."""
    row = geometry((3, 2), (1, 1), (2, 3), pads=(1, 0, 0, 2))
    for which in range(8):
        check(primitive, "csr", row, target(), (0.0, 0.5), which=which)


@pytest.mark.parametrize("vectors", VECTORS[1:], ids=lambda pair: f"{pair[0]} bits")
@pytest.mark.parametrize("label", ["3x3 odd channels", "dilation 2 stride 2", "4 groups of 3 → 5"])
@every_primitive
@every_format
def test_other_vectors(name: str, primitive: str, label: str, vectors: tuple[int, int]) -> None:
    check(primitive, name, ROWS[label], target(*vectors), (0.5, 0.9))


@every_primitive
@every_format
def test_computes_what_hypothesis_draws(name: str, primitive: str) -> None:
    """By any of the tiles."""

    @settings(max_examples=25, deadline=None, database=None)
    @given(
        rows(), st.sampled_from(VECTORS), st.integers(1, 2), st.integers(1, 2), st.integers(0),
        st.sampled_from(SHARES),
    )  # fmt: skip
    def agrees(
        row: LayerRow, vectors: tuple[int, int], batch: int, threads: int, which: int, share: float
    ) -> None:
        check(primitive, name, row, target(*vectors), (share,), batch, threads, which)

    agrees()


@pytest.mark.parametrize("label", ["3x3", "asymmetric padding", "4 groups of 3 → 5", "depthwise"])
@every_primitive
@every_format
def test_batch_and_threads(name: str, primitive: str, label: str) -> None:
    check(primitive, name, ROWS[label], target(), batch=3, threads=2)
    check(primitive, name, ROWS[label], target(), batch=3, threads=2, which=None)


@every_primitive
@every_format
def test_threads_take_parts_of_the_channels_where_there_is_one_tile(
    name: str, primitive: str
) -> None:
    row = geometry((16, 32), hw=(4, 4))
    _, weight = drawn(row, "float32")
    assert kernel_of(primitive, name, weight, row, target(), threads=2).parts == 2
    check(primitive, name, row, target(), (0.5, 0.9), threads=2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@every_primitive
@every_format
def test_fused_epilogues(name: str, primitive: str, activation: str) -> None:
    """Tiles of whole rows, of parts of rows, and of the order of the images."""
    for row in (ROWS["3x3 stride 2"], WIDE["3 rows of 401"], WIDE["1x1 on 1021 places"]):
        data, weight = drawn(row, "float32", 2)
        weight, epilogue = pruned(weight, 0.5, name), Epilogue.drawn(activation, row, 2)
        kernel = kernel_of(primitive, name, weight, row, host(), threads=2)
        (found,) = run([kernel], data, epilogue.bias, host(), 2, epilogue)
        sums = convolution(data.astype(np.float64), weight.astype(np.float64), 0, row)
        agree(primitive, found, epilogue.expected(sums))
