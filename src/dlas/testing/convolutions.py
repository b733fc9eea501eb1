"""Convolutions of every geometry and what they compute, for conformance suites of primitives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.network import LayerRow

Array = NDArray[Any]
Pair = tuple[int, int]
NONE = (0, 0, 0, 0)


def geometry(
    channels: Pair = (8, 12), kernel: Pair = (3, 3), hw: Pair = (9, 7), stride: Pair = (1, 1),
    pads: tuple[int, int, int, int] = (1, 1, 1, 1), dilation: Pair = (1, 1), groups: int = 1,
) -> LayerRow:  # fmt: skip
    """The row of a float32 convolution, ``channels`` being (C, K), that is in no network."""
    (top, left, bottom, right), (h, w) = pads, hw
    height = (h + top + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    width = (w + left + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    return LayerRow(
        name="layer", op="conv", weight="weight", in_channels=channels[0], out_channels=channels[1],
        kernel=kernel, stride=stride, pads=pads, dilation=dilation, groups=groups, input_hw=hw,
        output_hw=(height, width), nonzeros=0, dtype="float32",
    )  # fmt: skip


GEOMETRIES = {
    "3x3": geometry(),
    "3x3 without padding": geometry(pads=NONE),
    "3x3 padding 3": geometry(pads=(3, 3, 3, 3)),
    "3x3 stride 2": geometry(stride=(2, 2)),
    "3x3 whole vectors": geometry((16, 32), hw=(8, 16)),
    "3x3 odd channels": geometry((17, 19)),
    "3x3 blocks of ten": geometry((20, 20)),
    "1x1": geometry(kernel=(1, 1), pads=NONE),
    "1x1 whole vectors": geometry((16, 32), kernel=(1, 1), hw=(8, 16), pads=NONE),
    "1x1 stride 2": geometry(kernel=(1, 1), pads=NONE, stride=(2, 2)),
    "1x1 padding 1": geometry(kernel=(1, 1)),
    "1x1 whole rows of padding": geometry(kernel=(1, 1), pads=(3, 2, 1, 3)),
    "1x1 of one pixel": geometry((20, 5), kernel=(1, 1), hw=(1, 1), pads=NONE),
    "5x5": geometry(kernel=(5, 5), pads=(2, 2, 2, 2)),
    "5x5 stride 2 padding 1": geometry(kernel=(5, 5), stride=(2, 2)),
    "7x7": geometry(kernel=(7, 7), pads=(3, 3, 3, 3)),
    "7x7 stem": geometry((3, 16), kernel=(7, 7), hw=(17, 15), pads=(3, 3, 3, 3), stride=(2, 2)),
    "1x7": geometry(kernel=(1, 7), pads=(0, 3, 0, 3)),
    "1x7 without padding": geometry(kernel=(1, 7), hw=(5, 11), pads=NONE),
    "7x1 strides 2, 1": geometry(kernel=(7, 1), pads=(3, 0, 3, 0), stride=(2, 1)),
    "asymmetric padding": geometry(pads=(1, 0, 2, 3), stride=(2, 2)),
    "asymmetric padding, stride 1": geometry(pads=(0, 2, 1, 0)),
    "dilation 2": geometry(pads=(2, 2, 2, 2), dilation=(2, 2)),
    "dilation 2 stride 2": geometry(pads=(2, 2, 2, 2), dilation=(2, 2), stride=(2, 2)),
    "dilations 2, 1, strides 1, 2": geometry(dilation=(2, 1), stride=(1, 2)),
    "kernel as large as the image": geometry(kernel=(9, 7), pads=NONE),
    "2 groups": geometry((8, 12), groups=2),
    "4 groups of 3 → 5": geometry((12, 20), groups=4, stride=(2, 2)),
    "6 groups of 2 → 1": geometry((12, 6), groups=6),
    "6 groups of 2 → 1, stride 2": geometry((12, 6), groups=6, stride=(2, 2)),
    "depthwise": geometry((6, 6), groups=6),
    "depthwise stride 2": geometry((18, 18), groups=18, stride=(2, 2)),
    "depthwise, two outputs each": geometry((6, 12), groups=6),
    **{f"12 channels, groups: {g}": geometry((12, 12), groups=g) for g in (1, 2, 3, 4, 6, 12)},
}


def convolution(data: Array, weight: Array, zero: int, row: LayerRow) -> Array:
    """The definition, tap by tap, in the type of the data, padded with ``zero``. data (N, C, H, W),
    weight (K, C/G, R, S) → (N, K, P, Q)."""
    (top, left, bottom, right), (sy, sx), (dy, dx) = row.pads, row.stride, row.dilation
    edges = ((0, 0), (0, 0), (top, bottom), (left, right))
    image = np.pad(data, edges, constant_values=zero)
    height, width = row.output_hw
    image = image.reshape(len(data), row.groups, -1, *image.shape[2:])
    taps = weight.reshape(row.groups, -1, *weight.shape[1:])
    sums: Array = np.zeros((len(data), row.groups, taps.shape[1], height, width), data.dtype)
    for r in range(row.kernel[0]):
        for s in range(row.kernel[1]):
            y, x = r * dy, s * dx
            window = image[..., y : y + sy * height : sy, x : x + sx * width : sx]
            window = window[..., :height, :width]
            sums += np.einsum("ngchw,gkc->ngkhw", window, taps[..., r, s])
    return sums.reshape(len(data), row.out_channels, height, width)


def drawn(row: LayerRow, dtype: str, batch: int = 1) -> tuple[Array, Array]:
    """Data and weight, normal; integers over their whole range."""
    random = np.random.default_rng(0)
    shapes = (
        (batch, row.in_channels, *row.input_hw),
        (row.out_channels, row.in_channels // row.groups, *row.kernel),
    )
    if "float" in dtype:
        data, weight = (random.normal(size=shape).astype(dtype) for shape in shapes)
        return data, weight
    limits = np.iinfo(dtype)
    integers = random.integers(limits.min, limits.max, shapes[0], dtype, endpoint=True)
    return integers, random.integers(-128, 127, shapes[1], np.int8, endpoint=True)
