"""Every primitive with a schedule template computes the convolution by it, whatever the geometry,
the vector and the knobs: against float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from epilogues import ACTIVATIONS, Epilogue
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_primitives import (
    PRIMITIVES,
    able,
    agree,
    drawn_rows,
    first_able,
    primitive_of,
    unoptimized,
)

from dlas.network import LayerRow
from dlas.target import Target, host
from dlas.target.blocks import block_channels, interleaved
from dlas.testing.convolutions import GEOMETRIES, Array, convolution, drawn, geometry

__all__ = ["unoptimized"]  # a fixture that this file's tests use too

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

TEMPLATES = tuple(name for name in PRIMITIVES if primitive_of(name).template)
MORE = {
    "winograd, whole tiles": geometry((32, 48), hw=(16, 24)),
    "depthwise 5x5": geometry((20, 20), (5, 5), (9, 8), pads=(2, 2, 2, 2), groups=20),
    "depthwise, whole vectors": geometry((32, 32), hw=(8, 8), groups=32),
    "depthwise dilation 2": geometry((32, 32), pads=(2, 2, 2, 2), dilation=(2, 2), groups=32),
    "8 groups of 4": geometry((32, 32), groups=8),
    "16 groups of 2 → 3": geometry((32, 48), groups=16),
    "2 groups of 16": geometry((32, 32), groups=2),
    "3 groups of 7 → 11": geometry((21, 33), groups=3),
    "32 groups of 1 → 2": geometry((32, 64), groups=32),
    "16 groups of 2, stride 2": geometry((32, 32), groups=16, stride=(2, 2)),
}
ROWS = {**GEOMETRIES, **MORE}
#: Of those, what float16 kernels are tried with.
HALF_LABELS = (
    "3x3 odd channels", "3x3 stride 2", "1x1", "1x1 whole vectors", "7x7 stem", "8 groups of 4",
    "16 groups of 2 → 3", "depthwise stride 2", "winograd, whole tiles",
)  # fmt: skip
HALF = {label: ROWS[label] for label in HALF_LABELS}
#: float16 data are summed in float32; F(2×2, 3×3) rounds its transformed weights to 11 bits.
HALF_TOLERANCE = {"winograd": 2e-3, "winograd4": 1e-3}
#: What is stored as float16 after a bias, a residual and an activation.
ROUNDED = 4e-3
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


def unblocked(image: Array, channels: int) -> Array:
    """(N, C/b, H, W, b) → (N, C, H, W)."""
    batch, _, height, width, _ = image.shape
    return image.transpose(0, 1, 4, 2, 3).reshape(batch, -1, height, width)[:, :channels]


def orders(primitive: Any, row: LayerRow, lanes: int) -> tuple[Array, Array]:
    """Which input and output channels lie where in the primitive's blocks."""
    read, written = primitive.orders(row, lanes) or (1, 1)
    inputs, outputs = row.in_channels, row.out_channels
    return interleaved(inputs, lanes, read), interleaved(outputs, lanes, written)


def as_wanted(
    primitive: Any, data: Array, weight: Array, row: LayerRow, lanes: int
) -> tuple[Array, Array]:
    """The image in blocks and the packed weight, channels in the orders the primitive wants."""
    inputs, outputs = orders(primitive, row, lanes)
    return blocked(data[:, inputs], lanes), primitive.pack_blocked(weight[outputs], row, lanes)


def by_channel(image: Array, primitive: Any, row: LayerRow) -> Array:
    """What the primitive wrote, (N, K/b, P, Q, b), as (N, K, P, Q)."""
    _, outputs = orders(primitive, row, image.shape[-1])
    return unblocked(image, row.out_channels)[:, np.argsort(outputs)]


def half(row: LayerRow) -> LayerRow:
    return replace(row, dtype="float16")


def first(candidates: Any) -> Any:
    return candidates[0]


def computed(
    primitive: Any, arrays: list[Array], row: LayerRow, machine: Target, threads: int = 1,
    epilogue: Epilogue | None = None, choose: Callable[[Any], Any] = first,
) -> Array:  # fmt: skip
    """The image, the packed weight, and what the epilogue reads → what the template form writes."""
    from dlas.systems.tvm.runtime import quick_import

    tvm: Any = quick_import("tvm")
    from tvm import te

    from dlas.systems.tvm.lower import compiled
    from dlas.systems.tvm.template import by_template, opened

    given = [te.placeholder(array.shape, str(array.dtype)) for array in arrays]
    image, taps, *more = given
    plain = primitive.template == "plain"
    form = primitive.compute_plain if plain else primitive.compute_blocked
    sums = form(image, taps, row, machine.lanes)
    output = epilogue.of(sums, *more) if epilogue else sums
    kernel = te.create_prim_func([*given, output]).with_attr("tirx.noalias", True)
    knobs = choose(primitive.candidates(opened(kernel), machine))
    module = tvm.IRModule({"main": by_template(kernel, knobs, threads)})
    built = compiled(module, host(), threads).jit()
    result = tvm.runtime.empty(tuple(map(int, output.shape)), str(output.dtype))
    built["main"](*map(tvm.runtime.tensor, arrays), result)
    return result.numpy()  # type: ignore[no-any-return]


def check(
    name: str, row: LayerRow, machine: Target, batch: int = 1, threads: int = 1,
    plain: bool = False, activation: str = "", choose: Callable[[Any], Any] = first,
) -> None:  # fmt: skip
    """``plain``: the primitive reads an unblocked image, whatever its own layout."""
    primitive = primitive_of(name)
    data, weight = drawn(row, row.dtype, batch)
    lanes = machine.lanes
    epilogue = Epilogue.drawn(activation, row, batch, row.dtype) if activation else None
    if primitive.template == "plain":
        arrays = [data, primitive.pack(weight, row)]
        arrays += [epilogue.bias, epilogue.residual] if epilogue else []
    else:
        image, packed = as_wanted(primitive, data, weight, row, lanes)
        arrays = [data if plain else image, packed]
        if epilogue:
            _, outputs = orders(primitive, row, lanes)
            bias, residual = epilogue.bias[outputs], epilogue.residual[:, outputs]
            arrays += [block_channels(bias, lanes), blocked(residual, lanes)]
    found = computed(primitive, arrays, row, machine, threads, epilogue, choose)
    if primitive.template != "plain":
        found = by_channel(found, primitive, row)
    sums = convolution(data.astype(np.float64), weight.astype(np.float64), 0, row)
    expected = epilogue.expected(sums) if epilogue else sums
    if row.dtype == "float32":
        agree(name, found, expected)
    else:
        assert found.dtype == (np.float16 if epilogue else np.float32)
        limit = ROUNDED if epilogue else HALF_TOLERANCE.get(name, 1e-5)
        assert np.abs(found - expected).max() <= limit * np.abs(expected).max()


@pytest.mark.parametrize("name, row", [case for name in TEMPLATES for case in able(name, ROWS)])
def test_computes_the_convolution(name: str, row: LayerRow) -> None:
    check(name, row, target())


@pytest.mark.parametrize("vectors", VECTORS[1:], ids=lambda pair: f"{pair[0]} bits")
@pytest.mark.parametrize(
    "name, row",
    [
        case
        for name in TEMPLATES
        for case in able(
            name, {k: ROWS[k] for k in ("3x3 odd channels", "depthwise", "8 groups of 4")}
        )
    ],
)
def test_other_vectors(name: str, row: LayerRow, vectors: tuple[int, int]) -> None:
    check(name, row, target(*vectors))


@pytest.mark.parametrize("name", TEMPLATES)
def test_computes_what_hypothesis_draws(name: str) -> None:
    """With any of the candidates."""

    @settings(max_examples=15, deadline=None, database=None)
    @given(drawn_rows(name), st.sampled_from(VECTORS), st.integers(1, 2), st.integers(0, 99))
    def agrees(row: LayerRow, vectors: tuple[int, int], batch: int, which: int) -> None:
        check(name, row, target(*vectors), batch, choose=lambda found: found[which % len(found)])

    agrees()


@pytest.mark.parametrize("name", TEMPLATES)
def test_batch_and_threads(name: str) -> None:
    """Every choice of what the threads share: all but the tile itself."""
    labels = (
        "depthwise, whole vectors",
        "3x3",
        "4 groups of 3 → 5",
        "16 groups of 2 → 3",
        "1x1 whole vectors",
    )
    rows = [
        ROWS[label] for label in labels if primitive_of(name).refuses_layer(ROWS[label]) is None
    ]
    for row in rows:
        check(name, row, target(), batch=3, threads=2)
        check(name, row, target(), batch=3, threads=2, choose=lambda found: found[1 % len(found)])


@pytest.mark.parametrize(
    "name, row",
    [case for name in TEMPLATES for case in able(name, HALF, "float16")],
)
def test_float16_is_summed_in_float32(name: str, row: LayerRow) -> None:
    check(name, half(row), target())


@pytest.mark.parametrize("outside", [0, 1])
@pytest.mark.parametrize("kernel, pad", [(3, 1), (1, 0)])
@pytest.mark.parametrize("name", ["direct", "gemm", "spatial_pack"])
def test_float16_in_both_orders_of_the_tiles(
    name: str, kernel: int, pad: int, outside: int
) -> None:
    """Weights and pixels are widened as they are loaded, or before."""

    def choose(found: Any) -> Any:
        orders = ("rows_outside", "positions_outside")
        return next(k for k in found if outside in (k.get(order) for order in orders))

    row = half(geometry((32, 32), (kernel, kernel), (8, 16), pads=(pad, pad, pad, pad)))
    for threads in (1, 2):
        check(name, row, target(256, 16), 2, threads, choose=choose)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["direct", "spatial_pack", "depthwise"])
def test_float16_epilogues(name: str, activation: str) -> None:
    check(name, half(first_able(name)), target(), 2, activation=activation)


@pytest.mark.parametrize("name", ["spatial_pack", "gemm"])
def test_reads_the_networks_input_as_it_comes(name: str) -> None:
    check(name, ROWS["7x7 stem"], target(), plain=True)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_fused_epilogues(name: str, activation: str) -> None:
    check(name, first_able(name), target(), batch=2, activation=activation)


@pytest.mark.parametrize("label", ["1x1 whole vectors", "3x3 stride 2", "2 groups of 16"])
@pytest.mark.parametrize("outside", [0, 1])
@pytest.mark.parametrize("threads", [1, 2])
def test_direct_in_both_orders_of_its_tiles(label: str, outside: int, threads: int) -> None:
    def choose(found: Any) -> Any:
        return next(knobs for knobs in found if knobs["positions_outside"] == outside)

    check("direct", ROWS[label], target(), 2, threads, activation="ReLU", choose=choose)


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_candidate_spills_registers(name: str) -> None:
    from dlas.systems.tvm.runtime import quick_import

    quick_import("tvm")
    from tvm import te

    from dlas.systems.tvm.template import opened

    primitive = primitive_of(name)
    row = next(
        row
        for groups in (1, 16, 64)
        if primitive.refuses_layer(row := geometry((64, 64), hw=(56, 56), groups=groups)) is None
    )
    weight, plain = drawn(row, "float32")[1], primitive.template == "plain"
    packed = primitive.pack(weight, row) if plain else primitive.pack_blocked(weight, row, 16)
    image = te.placeholder((1, 64, 56, 56) if plain else (1, 4, 56, 56, 16), "float32", "image")
    taps = te.placeholder(packed.shape, "float32", "taps")
    form = primitive.compute_plain if plain else primitive.compute_blocked
    kernel = opened(te.create_prim_func([image, taps, form(image, taps, row, 16)]))
    found = primitive.candidates(kernel, target())
    assert len(found) > 3
    tiles = [[v for k, v in knobs.items() if k in ("rk", "rh", "rw", "ri")] for knobs in found]
    assert all(np.prod(tile) <= 16 for tile in tiles)
