"""Every primitive computes the convolution, whatever its geometry: against float64, in the loop
order that the system tvm gives it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dlas.layer import member
from dlas.network import LayerRow

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

PRIMITIVES = ("direct", "gemm", "spatial_pack")
DTYPES = ("float32", "float16", "uint8")
ZERO_POINT = {"float32": 0, "float16": 0, "uint8": 7, "int8": -3}
Array = NDArray[Any]
Pair = tuple[int, int]


def geometry(
    channels: Pair = (8, 12), kernel: Pair = (3, 3), hw: Pair = (9, 7), stride: Pair = (1, 1),
    pads: tuple[int, int, int, int] = (1, 1, 1, 1), dilation: Pair = (1, 1), groups: int = 1,
) -> LayerRow:  # fmt: skip
    (top, left, bottom, right), (h, w) = pads, hw
    height = (h + top + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    width = (w + left + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    return LayerRow(
        name="layer", op="conv", weight="weight", in_channels=channels[0], out_channels=channels[1],
        kernel=kernel, stride=stride, pads=pads, dilation=dilation, groups=groups, input_hw=hw,
        output_hw=(height, width), nonzeros=0, dtype="float32",
    )  # fmt: skip


NONE = (0, 0, 0, 0)
GEOMETRIES = {
    "3x3": geometry(),
    "3x3 without padding": geometry(pads=NONE),
    "3x3 padding 3": geometry(pads=(3, 3, 3, 3)),
    "3x3 stride 2": geometry(stride=(2, 2)),
    "3x3 whole vectors": geometry((16, 32), hw=(8, 16)),
    "3x3 odd channels": geometry((17, 19)),
    "3x3 blocks of ten": geometry((20, 20)),
    "1x1": geometry(kernel=(1, 1), pads=NONE),
    "1x1 stride 2": geometry(kernel=(1, 1), pads=NONE, stride=(2, 2)),
    "1x1 padding 1": geometry(kernel=(1, 1)),
    "1x1 of one pixel": geometry((20, 5), kernel=(1, 1), hw=(1, 1), pads=NONE),
    "5x5": geometry(kernel=(5, 5), pads=(2, 2, 2, 2)),
    "1x7": geometry(kernel=(1, 7), pads=(0, 3, 0, 3)),
    "7x1 strides 2, 1": geometry(kernel=(7, 1), pads=(3, 0, 3, 0), stride=(2, 1)),
    "7x7 stem": geometry((3, 16), kernel=(7, 7), hw=(17, 15), pads=(3, 3, 3, 3), stride=(2, 2)),
    "asymmetric padding": geometry(pads=(1, 0, 2, 3), stride=(2, 2)),
    "dilation 2": geometry(pads=(2, 2, 2, 2), dilation=(2, 2)),
    "dilations 2, 1, strides 1, 2": geometry(dilation=(2, 1), stride=(1, 2)),
    "kernel as large as the image": geometry(kernel=(9, 7), pads=NONE),
    "2 groups": geometry((8, 12), groups=2),
    "4 groups of 3 → 5": geometry((12, 20), groups=4, stride=(2, 2)),
    "depthwise": geometry((6, 6), groups=6),
    "depthwise stride 2": geometry((18, 18), groups=18, stride=(2, 2)),
    "depthwise, two outputs each": geometry((6, 12), groups=6),
}


def convolution(data: Array, weight: Array, zero: int, row: LayerRow) -> Array:
    """The definition, tap by tap. data (N, C, H, W), weight (K, C/G, R, S) → (N, K, P, Q)."""
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


def computed(
    primitive: Any, data: Array, weight: Array, zero: int, row: LayerRow, threads: int = 1
) -> Array:
    from dlas.systems.tvm.runtime import quick_import

    tvm: Any = quick_import("tvm")
    from tvm import te, tirx

    from dlas.systems.tvm.lower import llvm_target
    from dlas.systems.tvm.schedule import schedule
    from dlas.target import host

    packed = primitive.pack(weight, row)
    image = te.placeholder(data.shape, str(data.dtype), "image")
    taps = te.placeholder(packed.shape, str(packed.dtype), "taps")
    sums = primitive.compute(image, taps, tirx.const(zero, str(data.dtype)), row)
    kernel = schedule(te.create_prim_func([image, taps, sums]), host().lanes, threads)
    module = tvm.compile(tvm.IRModule({"main": kernel}), llvm_target(host(), threads)).jit()
    shape = tuple(map(int, sums.shape))
    result = tvm.runtime.empty(shape, str(sums.dtype))
    module["main"](tvm.runtime.tensor(data), tvm.runtime.tensor(packed), result)
    values: Array = result.numpy()
    return values


def drawn(row: LayerRow, dtype: str, batch: int = 1) -> tuple[Array, Array]:
    """Data and weight; integers over their whole range."""
    random = np.random.default_rng(0)
    shapes = (
        (batch, row.in_channels, *row.input_hw),
        (row.out_channels, row.in_channels // row.groups, *row.kernel),
    )
    if "float" in dtype:
        data, weight = (random.normal(size=shape).astype(dtype) for shape in shapes)
    else:
        limits = np.iinfo(dtype)
        data = random.integers(limits.min, limits.max, shapes[0], dtype, endpoint=True)
        weight = random.integers(-128, 127, shapes[1], np.int8, endpoint=True)
    return data, weight


def check(name: str, row: LayerRow, dtype: str, batch: int = 1, threads: int = 1) -> None:
    primitive: Any = member("algorithms", name)()
    reason = primitive.refuses_layer(row)
    if reason:
        pytest.skip(reason)
    data, weight = drawn(row, dtype, batch)
    zero = ZERO_POINT[dtype]
    found = computed(primitive, data, weight, zero, row, threads)
    wide = np.float64 if "float" in dtype else np.int64
    expected = convolution(data.astype(wide), weight.astype(wide), zero, row)
    if wide is np.int64:
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, expected)
    else:  # float16 data too is summed in float32
        assert found.dtype == np.float32
        limit = 1e-3 if name == "winograd4" else 1e-5
        assert np.abs(found - expected).max() <= limit * np.abs(expected).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", GEOMETRIES.values(), ids=GEOMETRIES.keys())
@pytest.mark.parametrize("name", PRIMITIVES)
def test_computes_the_convolution(name: str, row: LayerRow, dtype: str) -> None:
    check(name, row, dtype)


@pytest.mark.parametrize("row", GEOMETRIES.values(), ids=GEOMETRIES.keys())
@pytest.mark.parametrize("name", ["winograd", "winograd4", "depthwise"])
def test_computes_the_layers_it_does_not_refuse(name: str, row: LayerRow) -> None:
    check(name, row, "float32")


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int8"])
@pytest.mark.parametrize("row", ["depthwise", "depthwise stride 2"])
def test_depthwise_in_other_types(row: str, dtype: str) -> None:
    check("depthwise", GEOMETRIES[row], dtype)


@pytest.mark.parametrize("row", ["3x3 padding 3", "3x3 odd channels", "2 groups"])
@pytest.mark.parametrize("name", PRIMITIVES)
def test_signed_data(name: str, row: str) -> None:
    check(name, GEOMETRIES[row], "int8")


@pytest.mark.parametrize("name", PRIMITIVES)
def test_batch(name: str) -> None:
    check(name, GEOMETRIES["asymmetric padding"], "float32", batch=3)


@pytest.mark.parametrize("row", ["3x3", "4 groups of 3 → 5", "1x1 of one pixel"])
@pytest.mark.parametrize("name", PRIMITIVES)
def test_threads_share_the_work(name: str, row: str) -> None:
    check(name, GEOMETRIES[row], "float32", threads=2)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_dense_layer(dtype: str) -> None:
    """(N, C) · (K, C)ᵀ, by the primitive that plans name for it."""
    from msgspec.structs import replace

    row = replace(geometry((37, 10), kernel=(1, 1), hw=(1, 1), pads=NONE), op="dense")
    data, weight = drawn(row, dtype, batch=2)
    matrix = weight[:, :, 0, 0]
    found = computed(member("algorithms", "gemm")(), data[:, :, 0, 0], matrix, 0, row)
    wide = np.float64 if dtype == "float32" else np.int64
    expected = data[:, :, 0, 0].astype(wide) @ matrix.T.astype(wide)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 if dtype == "float32" else 0)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_plan_names_every_layer_and_explains_what_falls_back(name: str) -> None:
    from dlas.testing.networks import tiny

    network = tiny("inverted_residual")
    plan = member("algorithms", name)().plan(network)  # type: ignore[attr-defined]
    assert [step.layer for step in plan.steps] == [row.name for row in network.layers]
    steps = {step.layer: step for step in plan.steps}
    assert steps["conv1"].primitive == name
    assert steps["fc"].primitive == "gemm"
    fell_back = name == "spatial_pack"
    assert steps["depthwise"].primitive == ("depthwise" if fell_back else name)
    assert ("output channels of a group" in steps["depthwise"].note) == fell_back
