"""Every primitive computes the convolution, whatever its geometry: against float64, in the loop
order that the system tvm gives it untuned. In template form: ``test_blocked_primitives.py``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from epilogues import ACTIVATIONS, Epilogue
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dlas.algorithms.primitive import Primitive
from dlas.layer import member, table
from dlas.network import LayerRow
from dlas.testing.convolutions import GEOMETRIES, NONE, Array, convolution, drawn, geometry

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

PRIMITIVES = tuple(n for n in table("algorithms") if issubclass(member("algorithms", n), Primitive))
DTYPES = ("float32", "float16", "uint8")
ZERO_POINT = {"float32": 0, "float16": 0, "uint8": 7, "int8": -3}
#: Of the largest output. The transforms of F(4×4, 3×3) lose digits: of the geometries in the tables
#: 3.4e-6 was the most, where F(2×2, 3×3) had 2.2e-7 and direct and GEMM 9e-7.
TOLERANCE = {"winograd4": 1e-3}
#: With float16 data F(2×2, 3×3) keeps its transformed weights in float16 too.
TOLERANCE_OF_FLOAT16 = {**TOLERANCE, "winograd": 1e-3}
#: What a primitive that refuses most layers may take.
SPECIAL = {
    "any": {},
    "3x3": {"kernel": (3, 3), "stride": (1, 1), "dilation": (1, 1)},
    "depthwise": {"channels": (18, 18), "groups": 18},
}


@pytest.fixture(scope="module", autouse=True)
def unoptimized() -> Iterator[None]:
    """LLVM takes two thirds of the time for optimizations that change no loop of ours."""
    from dlas.systems.tvm.runtime import quick_import

    quick_import("tvm")
    from dlas.systems.tvm import lower

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lower, "OPTIMIZATION", 0)
        yield


def primitive_of(name: str) -> Any:
    return member("algorithms", name)()


def of_type(row: LayerRow, dtype: str) -> LayerRow:
    return replace(row, dtype=dtype if "float" in dtype else "int8")


def able(name: str, rows: dict[str, LayerRow], dtype: str = "float32") -> list[Any]:
    """Parameters (name, row) of the rows that the primitive does not refuse."""
    return [
        pytest.param(name, row, id=f"{name}-{label}")
        for label, row in rows.items()
        if primitive_of(name).refuses_layer(of_type(row, dtype)) is None
    ]


def computed(
    primitive: Any, data: Array, weight: Array, zero: int, row: LayerRow, threads: int = 1,
    epilogue: Epilogue | None = None,
) -> Array:  # fmt: skip
    from dlas.systems.tvm.runtime import quick_import

    tvm: Any = quick_import("tvm")
    from tvm import te, tirx

    from dlas.systems.tvm.lower import compiled
    from dlas.systems.tvm.schedule import schedule
    from dlas.target import host

    arrays = [data, primitive.pack(weight, row)]
    arrays += [epilogue.bias, epilogue.residual] if epilogue else []
    image, taps, *more = given = [te.placeholder(a.shape, str(a.dtype)) for a in arrays]
    sums = primitive.compute(image, taps, tirx.const(zero, str(data.dtype)), row)
    output = epilogue.of(sums, *more) if epilogue else sums
    kernel = schedule(te.create_prim_func([*given, output]), host().lanes, threads)
    module = compiled(tvm.IRModule({"main": kernel}), host(), threads).jit()
    result = tvm.runtime.empty(tuple(map(int, output.shape)), str(output.dtype))
    module["main"](*map(tvm.runtime.tensor, arrays), result)
    values: Array = result.numpy()
    return values


def agree(name: str, found: Array, expected: Array, dtype: str = "float32") -> None:
    allowed = TOLERANCE_OF_FLOAT16 if dtype == "float16" else TOLERANCE
    limit = allowed.get(name, 1e-5) * np.abs(expected).max()
    assert np.abs(found - expected).max() <= limit


def check(name: str, row: LayerRow, dtype: str, batch: int = 1, threads: int = 1) -> None:
    data, weight = drawn(row, dtype, batch)
    zero = ZERO_POINT[dtype]
    found = computed(primitive_of(name), data, weight, zero, row, threads)
    wide = np.float64 if "float" in dtype else np.int64
    expected = convolution(data.astype(wide), weight.astype(wide), zero, row)
    if wide is np.int64:
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, expected)
    else:  # float16 data too is summed in float32
        assert found.dtype == np.float32
        agree(name, found, expected, dtype)


@st.composite
def rows(draw: Any) -> LayerRow:
    """Any convolution of up to 18 groups, or one that a primitive of the few may take."""
    few, tiny = st.integers(1, 5), st.integers(0, 3)
    groups = draw(st.sampled_from((1, 1, 2, 3, 16)))
    most = 20 // groups + 1
    channels = groups * draw(st.integers(1, most)), groups * draw(st.integers(1, most))
    chosen: dict[str, Any] = {
        "channels": channels,
        "groups": groups,
        "kernel": (draw(few), draw(few)),
        "stride": (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        "dilation": (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        "pads": tuple(draw(tiny) for _ in range(4)),
    }
    chosen |= SPECIAL[draw(st.sampled_from(tuple(SPECIAL)))]
    spans = zip(chosen["kernel"], chosen["dilation"], strict=True)
    hw = tuple(d * (k - 1) + draw(st.integers(1, 12)) for k, d in spans)
    return geometry(**chosen, hw=hw)


def drawn_rows(name: str) -> Any:
    return rows().filter(lambda row: primitive_of(name).refuses_layer(row) is None)


@pytest.mark.parametrize(
    "name, row, dtype",
    [
        pytest.param(*case.values, dtype, id=f"{case.id}-{dtype}")
        for dtype in DTYPES
        for name in PRIMITIVES
        for case in able(name, GEOMETRIES, dtype)
    ],
)
def test_computes_the_convolution(name: str, row: LayerRow, dtype: str) -> None:
    check(name, row, dtype)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_computes_what_hypothesis_draws(name: str) -> None:
    @settings(max_examples=12, deadline=None, database=None)
    @given(drawn_rows(name), st.integers(1, 2))
    def agrees(row: LayerRow, batch: int) -> None:
        check(name, row, "float32", batch)

    agrees()


@pytest.mark.parametrize("label", ["3x3 padding 3", "3x3 odd channels", "2 groups", "depthwise"])
@pytest.mark.parametrize("name", PRIMITIVES)
def test_signed_data(name: str, label: str) -> None:
    row = GEOMETRIES[label]
    reason = primitive_of(name).refuses_layer(of_type(row, "int8"))
    if reason:
        pytest.skip(reason)
    check(name, row, "int8")


@pytest.mark.parametrize("name", PRIMITIVES)
def test_batch_and_threads(name: str) -> None:
    for label in ("asymmetric padding", "4 groups of 3 → 5", "3x3", "depthwise"):
        if primitive_of(name).refuses_layer(GEOMETRIES[label]) is None:
            check(name, GEOMETRIES[label], "float32", batch=3, threads=2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", PRIMITIVES)
def test_fused_epilogues(name: str, activation: str) -> None:
    row = first_able(name)
    data, weight = drawn(row, "float32", 2)
    epilogue = Epilogue.drawn(activation, row, 2)
    found = computed(primitive_of(name), data, weight, 0, row, epilogue=epilogue)
    sums = convolution(data.astype(np.float64), weight.astype(np.float64), 0, row)
    agree(name, found, epilogue.expected(sums))


def first_able(name: str) -> LayerRow:
    """The first row of the table that the primitive can compute."""
    return next(r for r in GEOMETRIES.values() if primitive_of(name).refuses_layer(r) is None)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_what_is_refused_is_refused_in_a_sentence_and_falls_back(name: str) -> None:
    primitive = primitive_of(name)
    for row in GEOMETRIES.values():
        reason, step = primitive.refuses_layer(row), primitive.step(row)
        assert step.note == (reason or "")
        assert (step.primitive == name) == (reason is None)
        assert reason is None or (reason.startswith(name) and len(reason.split()) > 5)
        for chosen in (step, primitive_of("cheapest").step(row)):
            assert primitive_of(chosen.primitive).refuses_layer(row) is None


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_dense_layer(dtype: str) -> None:
    """(N, C) · (K, C)ᵀ, by the primitive that plans name for it."""
    row = replace(geometry((37, 10), kernel=(1, 1), hw=(1, 1), pads=NONE), op="dense")
    data, weight = drawn(row, dtype, batch=2)
    matrix = weight[:, :, 0, 0]
    found = computed(primitive_of("gemm"), data[:, :, 0, 0], matrix, 0, row)
    wide = np.float64 if dtype == "float32" else np.int64
    expected = data[:, :, 0, 0].astype(wide) @ matrix.T.astype(wide)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 if dtype == "float32" else 0)


@pytest.mark.parametrize("name", ["direct", "gemm", "spatial_pack"])
def test_plan_names_every_layer_and_explains_what_falls_back(name: str) -> None:
    from dlas.testing.networks import tiny

    network = tiny("inverted_residual")
    plan = primitive_of(name).plan(network)
    assert [step.layer for step in plan.steps] == [row.name for row in network.layers]
    steps = {step.layer: step for step in plan.steps}
    assert steps["conv1"].primitive == name
    assert steps["fc"].primitive == "gemm"
    fell_back = name == "spatial_pack"
    assert steps["depthwise"].primitive == ("depthwise" if fell_back else name)
    assert ("output channels of a group" in steps["depthwise"].note) == fell_back
