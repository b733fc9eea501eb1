"""Faults of earlier public sparse convolutions, none of which is here. Every image is one of whole
numbers, so that what is found must be equal."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sparse_kernels import every_format, every_primitive, kernel_of, run
from test_primitives import unoptimized

from dlas.network import LayerRow
from dlas.target import host
from dlas.testing.convolutions import NONE, Array, convolution, geometry

__all__ = ["unoptimized"]  # a fixture that this file's tests use too

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")


def numbered(row: LayerRow, batch: int = 1) -> Array:
    """Every pixel its own number, from 1."""
    shape = (batch, row.in_channels, *row.input_hw)
    return np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)


def one_weight_each(row: LayerRow) -> Array:
    """Output channel k has one weight, 1, at tap k, of an input channel that no neighbour has."""
    weight = np.zeros((row.out_channels, row.in_channels, *row.kernel), np.float32)
    for k, tap in enumerate(product(*map(range, row.kernel))):
        weight[(k, (5 * k) % row.in_channels, *tap)] = 1
    return weight


def computed(primitive: str, name: str, row: LayerRow, weight: Array, data: Array) -> Array:
    """By the cheapest tile and by the one of no choices, which agree; the bias is nought."""
    kernels = [kernel_of(primitive, name, weight, row, host(), which=which) for which in (0, None)]
    bias = np.zeros(row.out_channels, np.float32)
    found, simple = run(kernels, data, bias, host())
    np.testing.assert_array_equal(found, simple)
    return found


def expected(row: LayerRow, weight: Array, data: Array) -> Array:
    return convolution(data.astype(np.int64), weight.astype(np.int64), 0, row)


@pytest.mark.parametrize("kernel", [(2, 5), (5, 2), (1, 7), (7, 1)], ids=str)
@every_primitive
@every_format
def test_rows_of_a_kernel_that_is_not_square_are_not_its_columns(
    name: str, primitive: str, kernel: tuple[int, int]
) -> None:
    """The row of a tap is its place in the kernel by the kernel's *width*."""
    row = geometry((7, kernel[0] * kernel[1]), kernel, (9, 11), pads=NONE)
    weight, data = one_weight_each(row), numbered(row)
    found = computed(primitive, name, row, weight, data)
    height, width = row.output_hw
    for k, (r, s) in enumerate(product(*map(range, kernel))):
        window = data[0, (5 * k) % 7, r : r + height, s : s + width]
        np.testing.assert_array_equal(found[0, k], window)


@pytest.mark.parametrize("stride", [(2, 2), (3, 2), (1, 3)], ids=str)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)], ids=str)
@every_primitive
@every_format
def test_the_stride_is_taken_once(
    name: str, primitive: str, kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    row = geometry((7, kernel[0] * kernel[1]), kernel, (14, 13), stride, NONE)
    weight, data = one_weight_each(row), numbered(row)
    found = computed(primitive, name, row, weight, data)
    (height, width), (down, across) = row.output_hw, stride
    for k, (r, s) in enumerate(product(*map(range, kernel))):
        window = data[0, (5 * k) % 7, r::down, s::across][:height, :width]
        np.testing.assert_array_equal(found[0, k], window)


@pytest.mark.parametrize("outputs", [32, 37])
@every_primitive
@pytest.mark.parametrize("name", ["bsr_16x1", "bsr_4x4", "bsr_4x1", "bsr_3x2"])
def test_a_row_of_blocks_is_as_many_output_channels(
    name: str, primitive: str, outputs: int
) -> None:
    """Block row i begins at output channel i · R_b: every channel's weight is its own number."""
    row = geometry((1, outputs), (1, 1), (3, 5), pads=NONE)
    numbers = np.arange(1, outputs + 1, dtype=np.float32)
    found = computed(primitive, name, row, numbers[:, None, None, None], numbered(row))
    np.testing.assert_array_equal(found, numbers[:, None, None] * numbered(row))


@every_primitive
@every_format
def test_sums_run_over_channels_and_taps_and_nothing_else(name: str, primitive: str) -> None:
    """No two axes are equally long, and no two weights are equal."""
    row = geometry((5, 7), (2, 3), (8, 6), pads=NONE)
    shape = (row.out_channels, row.in_channels, *row.kernel)
    weight = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    weight[weight % 3 == 0] = 0
    data = numbered(row, batch=4) % 50
    found = computed(primitive, name, row, weight, data)
    np.testing.assert_array_equal(found, expected(row, weight, data))
