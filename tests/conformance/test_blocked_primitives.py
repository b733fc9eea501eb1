"""Every primitive with a blocked form computes the convolution by its schedule template, with the
knobs that its estimate puts first, whatever the geometry and the vector: against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from test_primitives import GEOMETRIES, Array, convolution, drawn, geometry

from dlas.layer import member
from dlas.network import LayerRow
from dlas.target import Target, host
from dlas.target.blocks import block_channels, interleaved

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

PRIMITIVES = ("spatial_pack", "grouped_spatial_pack", "depthwise", "winograd", "winograd4", "gemm")
#: Of the largest output. The transforms of F(4×4, 3×3) lose digits; 1e-5 was seen, 1e-3 is allowed.
TOLERANCE = {"winograd4": 1e-3}
MORE = {
    "winograd, whole tiles": geometry((32, 48), hw=(16, 24)),
    "depthwise 5x5": geometry((20, 20), (5, 5), (9, 8), pads=(2, 2, 2, 2), groups=20),
    "depthwise, whole vectors": geometry((32, 32), hw=(8, 8), groups=32),
    "depthwise dilation 2": geometry((32, 32), pads=(2, 2, 2, 2), dilation=(2, 2), groups=32),
    "8 groups of 4": geometry((32, 32), groups=8),
    "16 groups of 2 → 3": geometry((32, 48), groups=16),
    "2 groups of 16": geometry((32, 32), groups=2),
    "3 groups of 7 → 11": geometry((21, 33), groups=3),
}
#: (vector bits, registers): AVX-512, AVX2, NEON, no vectors.
VECTORS = ((512, 32), (256, 16), (128, 32), (32, 32))


def target(bits: int = 512, registers: int = 32) -> Target:
    """This machine with other vectors; its code runs here, whatever vectors there are."""
    return replace(host(), vector_bits=bits, vector_registers=registers)


def blocked(image: Array, lanes: int) -> Array:
    """(N, C, H, W) → (N, C/b, H, W, b). What fills the last block must not matter: NaN."""
    by_channel = block_channels(image.swapaxes(0, 1), lanes)
    empty = -image.shape[1] % lanes
    by_channel[-1, lanes - empty :] = np.nan
    return np.ascontiguousarray(by_channel.transpose(2, 0, 3, 4, 1))


def as_wanted(
    primitive: Any, data: Array, weight: Array, row: LayerRow, lanes: int
) -> tuple[Array, Array]:
    """The image in blocks and the packed weight, channels in the orders the primitive wants."""
    read, written = primitive.orders(row, lanes) or (1, 1)
    image = blocked(data[:, interleaved(row.in_channels, lanes, read)], lanes)
    rows = weight[interleaved(row.out_channels, lanes, written)]
    return image, primitive.pack_blocked(rows, row, lanes)


def by_channel(image: Array, primitive: Any, row: LayerRow) -> Array:
    """What the primitive wrote, (N, K/b, P, Q, b), as (N, K, P, Q)."""
    lanes = image.shape[-1]
    _, written = primitive.orders(row, lanes) or (1, 1)
    channels = image.transpose(0, 1, 4, 2, 3).reshape(len(image), -1, *row.output_hw)
    return channels[:, np.argsort(interleaved(row.out_channels, lanes, written))]


def computed(
    primitive: Any, data: Array, packed: Array, row: LayerRow, machine: Target, threads: int
) -> Array:
    from dlas.systems.tvm.runtime import quick_import

    tvm: Any = quick_import("tvm")
    from tvm import te

    from dlas.systems.tvm.lower import llvm_target
    from dlas.systems.tvm.template import by_template, opened

    image = te.placeholder(data.shape, "float32", "image")
    taps = te.placeholder(packed.shape, "float32", "taps")
    sums = primitive.compute_blocked(image, taps, row, machine.lanes)
    kernel = te.create_prim_func([image, taps, sums]).with_attr("tirx.noalias", True)
    knobs = primitive.candidates(opened(kernel), machine)[0]
    module = tvm.IRModule({"main": by_template(kernel, knobs, threads)})
    built = tvm.compile(module, llvm_target(host(), threads)).jit()
    result = tvm.runtime.empty(tuple(map(int, sums.shape)), "float32")
    built["main"](tvm.runtime.tensor(data), tvm.runtime.tensor(packed), result)
    return by_channel(result.numpy(), primitive, row)


def check(
    name: str, row: LayerRow, machine: Target, batch: int = 1, threads: int = 1, plain: bool = False
) -> None:
    primitive: Any = member("algorithms", name)()
    reason = primitive.refuses_layer(row)
    if reason:
        pytest.skip(reason)
    data, weight = drawn(row, "float32", batch)
    image, packed = as_wanted(primitive, data, weight, row, machine.lanes)
    found = computed(primitive, data if plain else image, packed, row, machine, threads)
    expected = convolution(data.astype(np.float64), weight.astype(np.float64), 0, row)
    limit = TOLERANCE.get(name, 1e-5) * np.abs(expected).max()
    assert np.abs(found - expected).max() <= limit


CASES = [
    pytest.param(name, row, id=f"{name}-{label}")
    for name in PRIMITIVES
    for label, row in {**GEOMETRIES, **MORE}.items()
    if member("algorithms", name)().refuses_layer(row) is None  # type: ignore[attr-defined]
]


@pytest.mark.parametrize("name, row", CASES)
def test_computes_the_convolution(name: str, row: LayerRow) -> None:
    check(name, row, target())


@pytest.mark.parametrize("vectors", VECTORS[1:], ids=lambda pair: f"{pair[0]} bits")
@pytest.mark.parametrize("row", ["3x3 odd channels", "depthwise", "8 groups of 4"])
@pytest.mark.parametrize("name", PRIMITIVES)
def test_other_vectors(name: str, row: str, vectors: tuple[int, int]) -> None:
    check(name, {**GEOMETRIES, **MORE}[row], target(*vectors))


@pytest.mark.parametrize("name", PRIMITIVES)
def test_batch_and_threads(name: str) -> None:
    row = GEOMETRIES["3x3"]
    if name == "depthwise":
        row = MORE["depthwise, whole vectors"]
    elif name == "grouped_spatial_pack":
        row = MORE["16 groups of 2 → 3"]
    check(name, row, target(), batch=3, threads=2)


@pytest.mark.parametrize("name", ["spatial_pack", "gemm"])
def test_reads_the_networks_input_as_it_comes(name: str) -> None:
    check(name, GEOMETRIES["7x7 stem"], target(), plain=True)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_no_candidate_spills_registers(name: str) -> None:
    from dlas.systems.tvm.runtime import quick_import

    quick_import("tvm")
    from tvm import te

    from dlas.systems.tvm.template import opened

    primitive: Any = member("algorithms", name)()
    row = geometry((64, 64), hw=(56, 56), groups=64 if name == "depthwise" else 1)
    shape = primitive.pack_blocked(np.ones((64, 64 // row.groups, 3, 3), np.float32), row, 16).shape
    image = te.placeholder((1, 4, 56, 56, 16), "float32", "image")
    taps = te.placeholder(shape, "float32", "taps")
    sums = primitive.compute_blocked(image, taps, row, 16)
    found = primitive.candidates(opened(te.create_prim_func([image, taps, sums])), target())
    assert len(found) > 3
    assert all(knobs["rk"] * knobs["rh"] * knobs["rw"] <= 16 for knobs in found)
