"""Kernels on 8-bit integers and bfloat16 compute the convolution, by every instruction that this
processor has: integers to the bit, against int64; bfloat16 against float64."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import msgspec
import numpy as np
import pytest
from dot_kernels import Drawn, executed, module
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_blocked_primitives import ROWS
from test_primitives import rows

from dlas.errors import Refused
from dlas.layer import member
from dlas.network import LayerRow
from dlas.target import Target, host
from dlas.testing.convolutions import GEOMETRIES, NONE, Array, geometry

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

NUMBERS = ("uint8", "int8", "bfloat16")
PRIMITIVES = ("direct", "spatial_pack", "grouped_spatial_pack", "depthwise", "gemm")
#: Of the largest output: sums of float32 in another order.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Machine:
    """``instructions`` for uint8, int8 and bfloat16, as they are called in assembly; "" where there
    is none and LLVM finds its own."""

    bits: int
    registers: int
    features: tuple[str, ...]
    instructions: tuple[str, str, str]

    @property
    def target(self) -> Target:
        """As this machine would be with these features only."""
        sizes = {"vector_bits": self.bits, "vector_registers": self.registers}
        return msgspec.structs.replace(
            host(), isa="x86-64", features=tuple(sorted(self.features)), **sizes
        )

    def skip_where_absent(self) -> None:
        absent = sorted({*self.features} - {*host().features})
        if absent:
            pytest.skip(f"this processor has no {' '.join(absent)}")


BASE = ("sse4_2", "popcnt")
AVX2 = (*BASE, "avx", "avx2", "fma", "f16c", "bmi2")
AVX512 = (*AVX2, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
VNNI = (*AVX512, "avx512_vnni", "avx512_bf16")
AMX = (*VNNI, "amx_tile", "amx_int8", "amx_bf16")
MACHINES = {
    "AMX": Machine(512, 32, AMX, ("tdpbusd", "tdpbssd", "tdpbf16ps")),
    "AVX-512 VNNI": Machine(512, 32, VNNI, ("vpdpbusd", "vpdpbusd", "vdpbf16ps")),
    "AVX-512": Machine(512, 32, AVX512, ("vpmaddwd", "vpmaddwd", "")),
    "AVX-VNNI": Machine(256, 16, (*AVX2, "avx_vnni"), ("vpdpbusd", "vpdpbusd", "")),
    "AVX2": Machine(256, 16, AVX2, ("vpmaddwd", "vpmaddwd", "")),
    "SSE": Machine(128, 16, BASE, ("", "", "")),
    "scalars": Machine(32, 16, BASE, ("", "", "")),
}
#: The machines with an instruction for every number take every row.
WHOLE = ("AMX", "AVX-512 VNNI")
FEW = (
    "3x3 odd channels", "7x7 stem", "1x1 of one pixel", "asymmetric padding", "4 groups of 3 → 5",
    "depthwise 5x5",
)  # fmt: skip
ON = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())


def takes(primitive: str, row: LayerRow) -> bool:
    if primitive == "depthwise" or row.groups == row.in_channels == row.out_channels:
        return primitive in ("depthwise", "gemm") and row.groups == row.in_channels
    refused: str | None = member("algorithms", primitive)().refuses_layer(row)  # type: ignore[attr-defined]
    return refused is None


def compare(drawn: Drawn, output: Array) -> str | None:
    """What is wrong with what a kernel wrote."""
    if not np.isfinite(output).all():  # also where channels fill up: the next layer reads them
        return "not all of the output is written"
    found, expected = drawn.by_channel(output), drawn.sums
    if drawn.number != "bfloat16":
        wrong = found != expected.astype(np.float32)
        return f"{wrong.sum()} of {wrong.size} sums are wrong" if wrong.any() else None
    worst = np.abs(found - expected).max() / np.abs(expected).max()
    return f"{worst:.1e} of the largest sum" if worst > TOLERANCE else None


CASES = [
    pytest.param(name, number, threads, id=f"{name}-{number}-{threads}")
    for name in MACHINES
    for number in NUMBERS
    for threads in ((1, 2) if name in WHOLE else (1,))
]


def chosen_rows(name: str, number: str, threads: int) -> dict[str, LayerRow]:
    """With one thread, every row of every number is one of two machines'."""
    if name not in WHOLE or threads > 1:
        return {label: ROWS[label] for label in FEW}
    turn = WHOLE.index(name) + NUMBERS.index(number)
    return dict(list(ROWS.items())[turn % 2 :: 2])


@pytest.mark.parametrize("name, number, threads", CASES)
def test_computes_the_convolution(name: str, number: str, threads: int) -> None:
    """With one thread by all primitives in turns, as they recommend; with two by GEMM and by any
    candidate. Every other image is two."""
    machine, random, runs = MACHINES[name], np.random.default_rng(0), {}
    machine.skip_where_absent()
    for i, (label, row) in enumerate(chosen_rows(name, number, threads).items()):
        drawn = Drawn.of(row, number, batch=1 + i % 2)
        able = [primitive for primitive in PRIMITIVES if takes(primitive, row)]
        primitive = able[i % len(able)] if threads == 1 else "gemm"
        found = drawn.kernels(primitive, machine.target)
        kernel = found[0] if threads == 1 else found[random.integers(len(found))]
        runs[f"{label}, {kernel.choices}"] = drawn, kernel
    outputs = executed(list(runs.values()), machine.target, threads)
    pairs = zip(runs.items(), outputs, strict=True)
    wrong = {label: compare(drawn, output) for (label, (drawn, _)), output in pairs}
    assert {label: what for label, what in wrong.items() if what} == {}


CHOSEN = [
    pytest.param(machine, number, instruction, id=f"{name}-{number}")
    for name, machine in MACHINES.items()
    for number, instruction in zip(NUMBERS, machine.instructions, strict=True)
    if instruction
]


@pytest.mark.parametrize("machine, number, instruction", CHOSEN)
def test_multiplies_by_the_instruction(machine: Machine, number: str, instruction: str) -> None:
    kernel = Drawn.of(geometry((16, 32)), number).kernels("spatial_pack", machine.target)[0]
    assert instruction in module([kernel], machine.target).mod.inspect_source("asm")


BEST = [machine for machine in MACHINES.values() if {*machine.features} <= {*host().features}]


@pytest.mark.parametrize("label", ["3x3 odd channels", "3 groups of 7 → 11", "depthwise 5x5"])
@pytest.mark.parametrize("number", ["uint8", "bfloat16"])
def test_all_candidates(number: str, label: str) -> None:
    """Of this processor's best instruction, and of its best vectors."""
    if not BEST:
        pytest.skip("this processor has none of the instructions")
    drawn = Drawn.of(ROWS[label], number, batch=2)
    primitive = "depthwise" if takes("depthwise", ROWS[label]) else "spatial_pack"
    for machine in BEST[: 1 if primitive == "depthwise" else 2]:
        kernels = drawn.kernels(primitive, machine.target)
        outputs = executed([(drawn, kernel) for kernel in kernels], machine.target, threads=2)
        wrong = [compare(drawn, output) for output in outputs]
        assert {k.choices: w for k, w in zip(kernels, wrong, strict=True) if w} == {}


@settings(max_examples=12, deadline=None, database=None)
@given(
    rows(), st.sampled_from(NUMBERS), st.sampled_from(BEST or [None]), st.integers(1, 2),
    st.integers(0, 99),
)  # fmt: skip
def test_computes_what_hypothesis_draws(
    row: LayerRow, number: str, machine: Machine | None, batch: int, which: int
) -> None:
    """With any of the candidates."""
    if machine is None:
        pytest.skip("this processor has none of the instructions")
    drawn = Drawn.of(row, number, batch)
    able = [primitive for primitive in PRIMITIVES if takes(primitive, row)]
    kernels = drawn.kernels(able[which % len(able)], machine.target)
    assume(kernels)  # none: a depthwise layer of fewer channels than a vector has
    [output] = executed([(drawn, kernels[which % len(kernels)])], machine.target, 1 + which % 2)
    assert compare(drawn, output) is None


# -- at the limits of the integers -----------------------------------------------------------------


@ON
def test_extremes(machine: Machine) -> None:
    """No instruction saturates between the image and the sums."""
    machine.skip_where_absent()
    row, runs = GEOMETRIES["3x3 odd channels"], []
    for number, weight in product(("uint8", "int8"), (127, -128)):
        limits, drawn = np.iinfo(number), Drawn.of(row, number)
        for level, zero in ((limits.max, limits.min), (limits.min, limits.max)):
            full = np.full_like(drawn.image, level), np.full_like(drawn.weight, weight)
            extreme = Drawn(row, number, *full, int(zero))
            runs.append((extreme, extreme.kernels("gemm", machine.target)[0]))
    outputs = executed(runs, machine.target, threads=1)
    pairs = zip(runs, outputs, strict=True)
    assert [compare(drawn, output) for (drawn, _), output in pairs] == [None] * len(runs)


#: The largest sum of absolute weights whose sums an int32 holds, whatever the image.
MOST = (2**31 - 1) // 255
LONG = geometry((-(-MOST // 127), 3), (1, 1), (1, 1), pads=NONE)


def long_weights() -> Array:
    """As many as fit, all positive, all negative, and both."""
    weight = np.full((3, LONG.in_channels, 1, 1), 127, np.int8)
    weight[:, -1] = MOST - 127 * (LONG.in_channels - 1)
    weight[1] *= -1
    weight[2, ::2] *= -1
    return weight


@ON
def test_sums_at_the_bound_of_int32(machine: Machine) -> None:
    """From the largest to the smallest, in the sum over the image and in the zero point's."""
    machine.skip_where_absent()
    runs = []
    for number, level, zero in (
        ("uint8", 255, 0), ("uint8", 0, 255), ("uint8", 255, 255), ("int8", 127, -128),
        ("int8", -128, 127),
    ):  # fmt: skip
        image = np.full((1, LONG.in_channels, 1, 1), level, number)
        drawn = Drawn(LONG, number, image, long_weights(), zero)
        assert np.abs(drawn.sums).max() in (255 * MOST, 0)
        runs.append((drawn, drawn.kernels("gemm", machine.target)[0]))
    outputs = executed(runs, machine.target, threads=1)
    pairs = zip(runs, outputs, strict=True)
    assert [compare(drawn, output) for (drawn, _), output in pairs] == [None] * len(runs)


def test_larger_sums_are_refused() -> None:
    from dlas.systems.tvm.dots import DotLayers

    layers = DotLayers(host(), lambda kernels: kernels[0], most=1)
    weight, ones = long_weights(), np.ones(3, np.float32)
    layers.integers(LONG, weight, ones, ones, 1.0)
    weight[1, -1] -= 1
    with pytest.raises(Refused, match=r"sums of layer 'layer' may reach \d+, more than int32"):
        layers.integers(LONG, weight, ones, ones, 1.0)


@pytest.mark.parametrize(
    "number, zero", [("uint8", 0), ("uint8", 255), ("uint8", 37), ("int8", -5)]
)
def test_rounding_to_steps(number: str, zero: int) -> None:
    """Ties to even before the zero point is added; beyond the largest and smallest step, those."""
    import tvm
    from tvm import te

    from dlas.systems.tvm.lower import compiled
    from dlas.systems.tvm.rounding import levels

    ties = np.arange(-300, 300) + 0.5
    beside = np.nextafter(ties, [[np.inf], [-np.inf]], dtype=np.float32).ravel()
    far = np.array([1e4, 1e9, 1e30, np.inf])
    values = np.concatenate([ties, beside, far, -far]).astype(np.float32)
    data = te.placeholder(values.shape, "float32")
    function = te.create_prim_func([data, levels(data, number=number, zero=zero)])
    main = function.with_attr("global_symbol", "main")
    built = compiled(tvm.IRModule({"main": main}), host(), 1).jit()
    found = tvm.runtime.empty(values.shape, number)
    built["main"](tvm.runtime.tensor(values), found)
    limits = np.iinfo(number)
    expected = np.clip(np.rint(values) + zero, limits.min, limits.max).astype(number)
    np.testing.assert_array_equal(found.numpy(), expected)
