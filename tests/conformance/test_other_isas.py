"""Code for other instruction sets than this machine's: compiled here, executed by qemu's user mode
(or by this processor, where it can) and compared with the float64 reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cross_run import MACHINES, Call, Machine, run, run_all
from dot_kernels import Drawn, in_order, module
from onnx.reference import ReferenceEvaluator
from test_blocked_primitives import MORE, as_wanted, by_channel
from test_dot import NUMBERS
from test_dot import compare as compare_dots
from test_primitives import TOLERANCE

from dlas.algorithms import MEMBERS
from dlas.layer import member
from dlas.network import LayerRow, Network
from dlas.systems.tvm.runtime import quick_import
from dlas.target import Target
from dlas.testing.convolutions import GEOMETRIES, Array, convolution, drawn, geometry
from dlas.testing.networks import noise_images, tiny

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

#: Everything that has a schedule template.
PRIMITIVES = [name for name in MEMBERS if getattr(member("algorithms", name), "template", None)]
ROWS = {
    "3x3 larger than a tile": geometry((16, 32), hw=(14, 14)),
    "3x3 odd channels": GEOMETRIES["3x3 odd channels"],
    "3x3 stride 2": GEOMETRIES["3x3 stride 2"],
    "1x1": GEOMETRIES["1x1"],
    "1x1 stride 2": GEOMETRIES["1x1 stride 2"],
    "7x7 stem": GEOMETRIES["7x7 stem"],
    "8 groups of 4": MORE["8 groups of 4"],
    "16 groups of 2 → 3": MORE["16 groups of 2 → 3"],
    "depthwise stride 2": GEOMETRIES["depthwise stride 2"],
    "depthwise 5x5": MORE["depthwise 5x5"],
}
CASES = [
    pytest.param(name, row, id=f"{name}-{label}")
    for name in PRIMITIVES
    for label, row in ROWS.items()
    if member("algorithms", name)().refuses_layer(row) is None  # type: ignore[attr-defined]
]
EVERYWHERE = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())


def kernel(name: str, row: LayerRow, target: Target, threads: int = 1) -> tuple[Any, list[Array]]:
    """The primitive by its template, as the tuner's first candidate, and its tensors' values."""
    from dlas.systems.tvm.template import by_template, opened

    primitive: Any = member("algorithms", name)()
    data, weight = drawn(row, "float32")
    if primitive.template == "plain":
        form, given = primitive.compute_plain, (data, primitive.pack(weight, row))
    else:
        given = as_wanted(primitive, data, weight, row, target.lanes)
        form = primitive.compute_blocked

    def compute(image: Any, taps: Any) -> Any:
        return form(image, taps, row, target.lanes)

    def order(plain: Any) -> Any:
        plain = plain.with_attr("tirx.noalias", True)
        return by_template(plain, primitive.candidates(opened(plain), target)[0], threads)

    return ordered(compute, order, *given)


def untuned(name: str, row: LayerRow, target: Target) -> tuple[Any, list[Array]]:
    """The same in the untuned order."""
    quick_import("tvm")
    from tvm import tirx

    from dlas.systems.tvm.schedule import schedule

    primitive: Any = member("algorithms", name)()
    data, weight = drawn(row, "float32")

    def compute(image: Any, taps: Any) -> Any:
        return primitive.compute(image, taps, tirx.const(0, "float32"), row)

    def order(plain: Any) -> Any:
        return schedule(plain, target.lanes, 1)

    return ordered(compute, order, data, primitive.pack(weight, row))


def ordered(compute: Any, order: Any, *given: Array) -> tuple[Any, list[Array]]:
    """A module with the one kernel "convolution", and the values of its tensors."""
    tvm: Any = quick_import("tvm")
    from tvm import te

    inputs = [te.placeholder(value.shape, "float32") for value in given]
    sums = compute(*inputs)
    made = order(te.create_prim_func([*inputs, sums])).with_attr("global_symbol", "convolution")
    return tvm.IRModule({"convolution": made}), [*given, empty(sums.shape)]


def empty(shape: Sequence[Any]) -> Array:
    """Values that whoever computes the tensor must replace."""
    return np.full([int(extent) for extent in shape], np.nan, np.float32)


def check(machine: Machine, name: str, row: LayerRow, folder: Path, threads: int = 1) -> None:
    target = machine.target(folder)
    kernels, values = kernel(name, row, target, threads)
    found = run(machine, target, kernels, [("convolution", (0, 1, 2))], values, folder)
    if found.ndim == 5:
        found = by_channel(found, member("algorithms", name)(), row)
    compare(found, row, TOLERANCE.get(name, 1e-5))


def compare(found: Array, row: LayerRow, tolerance: float) -> None:
    data, weight = (array.astype(np.float64) for array in drawn(row, "float32"))
    expected = convolution(data, weight, 0, row)
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@EVERYWHERE
@pytest.mark.parametrize("name, row", CASES)
def test_computes_the_convolution(
    machine: Machine, name: str, row: LayerRow, tmp_path: Path
) -> None:
    check(machine, name, row, tmp_path)


@EVERYWHERE
def test_parallel_loops(machine: Machine, tmp_path: Path) -> None:
    check(machine, "spatial_pack", ROWS["3x3 odd channels"], tmp_path, threads=2)


@EVERYWHERE
@pytest.mark.parametrize("name", ["direct", "gemm", "spatial_pack"])
def test_untuned(machine: Machine, name: str, tmp_path: Path) -> None:
    row, target = ROWS["3x3 odd channels"], machine.target(tmp_path)
    kernels, values = untuned(name, row, target)
    found = run(machine, target, kernels, [("convolution", (0, 1, 2))], values, tmp_path)
    compare(found, row, 1e-5)


def assembly(machine: Machine, name: str, row: LayerRow, folder: Path) -> str:
    quick_import("tvm")
    from dlas.systems.tvm.lower import compiled

    target = machine.target(folder)
    kernels, _ = kernel(name, row, target)
    code: str = compiled(kernels, target, 1).mod.inspect_source("asm")
    return code


@EVERYWHERE
@pytest.mark.parametrize("name", PRIMITIVES)
def test_uses_the_vectors_of_the_target(machine: Machine, name: str, tmp_path: Path) -> None:
    refuses_layer = member("algorithms", name)().refuses_layer  # type: ignore[attr-defined]
    row = next(row for row in ROWS.values() if refuses_layer(row) is None)
    code = assembly(machine, name, row, tmp_path)
    assert len(re.findall(machine.multiply_add, code)) >= 4
    assert "%zmm" not in code


@EVERYWHERE
@pytest.mark.parametrize("name", ["direct", "gemm", "spatial_pack", "winograd"])
def test_a_register_tile_stays_in_registers(machine: Machine, name: str, tmp_path: Path) -> None:
    code = assembly(machine, name, geometry((64, 64), hw=(28, 28)), tmp_path)
    instructions = re.sub(r"\n\.Ltmp.*", "", code)  # labels for a debugger
    blocks = re.split(r"\n\S+:|\n\t(?:b|cb|j)[a-z.]*\t", instructions)
    innermost = max(blocks, key=lambda block: len(re.findall(machine.multiply_add, block)))
    assert not re.findall(r"\n.*(?:%rsp|\bsp\b|mul vl)", innermost)  # the stack; SVE's too


def test_what_a_hypervisor_masks_is_not_used(tmp_path: Path) -> None:
    flags = MACHINES["AVX2"].files["proc/cpuinfo"].partition("flags")[2]
    zen4 = f"vendor_id: AuthenticAMD\ncpu family: 25\nmodel: 17\nflags{flags}"
    machine = replace(MACHINES["AVX2"], files={"proc/cpuinfo": zen4})
    assert machine.target(tmp_path).llvm_cpu == "znver4"  # which has AVX-512
    code = assembly(machine, "spatial_pack", ROWS["3x3 larger than a tile"], tmp_path)
    assert "%ymm" in code
    assert "%zmm" not in code


@EVERYWHERE
@pytest.mark.parametrize("name", ["residual", "squeeze_excite", "dense_block"])
def test_whole_networks(machine: Machine, name: str, tmp_path: Path) -> None:
    """All kernels of a network, one after another as its graph says."""
    network = tiny(name)
    target = machine.target(tmp_path)
    image = noise_images(network.input_shape, 1)
    kernels, calls, values = network_program(network, target, image)
    found = run(machine, target, kernels, calls, values, tmp_path)
    [truth] = ReferenceEvaluator(network.model).run(None, {network.input_name: image})
    assert np.abs(found - truth).max() <= 1e-4 * np.abs(truth).max()


def network_program(
    network: Network, target: Target, image: Array
) -> tuple[Any, list[Call], list[Array]]:
    """Kernels, calls and tensors of a network compiled by templates, every knob as estimated."""
    tvm: Any = quick_import("tvm")
    from tvm import relax

    from dlas.systems.tvm.blocked import translate_blocked
    from dlas.systems.tvm.lower import FUSE, kernels_of, llvm_target
    from dlas.systems.tvm.questions import Setting
    from dlas.systems.tvm.tuning import Tuner

    plan = member("algorithms", "cheapest")().plan(network)  # type: ignore[attr-defined]
    module = translate_blocked(network, plan, target.lanes)
    with llvm_target(target, 1), tvm.transform.PassContext(opt_level=3):
        module = tvm.transform.Sequential(FUSE)(module)
    found = kernels_of(module)
    arranged = Tuner(Setting(target, threads=1, weight_bytes=0), 1).arrange(list(found.values()))
    kernels = tvm.IRModule({
        name.name_hint: kernel.with_attr("global_symbol", name.name_hint)
        for name, kernel in zip(found, arranged, strict=True)
    })  # fmt: skip
    main = module["main"]
    values, calls = [image], []
    numbers = {main.params[0]: 0}
    for binding in main.body.blocks[0].bindings:
        if isinstance(binding.value, relax.Var):
            numbers[binding.var] = numbers[binding.value]
            continue
        callee, arguments = binding.value.args[:2]
        given = []
        for argument in arguments:
            if isinstance(argument, relax.Var):
                given.append(numbers[argument])
            else:  # a constant
                given.append(len(values))
                values.append(argument.value.numpy())
        numbers[binding.var] = len(values)
        values.append(empty(binding.var.ty.shape))
        calls.append((callee.name_hint, (*given, numbers[binding.var])))
    assert numbers[main.body.body] == len(values) - 1
    return kernels, calls, values


#: Those, and Arm's with dot products: of integers, Neoverse N1; of bfloat16 as well, AmpereOne.
DOT_MACHINES = {
    **MACHINES,
    "NEON, sdot": Machine(
        "aarch64",
        {
            "proc/cpuinfo": "Features: fp asimd asimdhp asimddp\n"
            "CPU implementer: 0x41\nCPU part: 0xd0c\n"
        },
        "aarch64-linux-gnu-gcc",
        ("qemu-aarch64", "-cpu", "neoverse-n1"),
        r"fmla\s+v\d+\.4s",
    ),
    "NEON, usdot, bfdot": Machine(
        "aarch64",
        {
            "proc/cpuinfo": "Features: fp asimd asimdhp asimddp bf16 i8mm\n"
            "CPU implementer: 0xc0\nCPU part: 0xac3\n"
        },
        "aarch64-linux-gnu-gcc",
        ("qemu-aarch64", "-cpu", "max"),
        r"fmla\s+v\d+\.4s",
    ),
}
#: By machine: what multiplies uint8, int8, bfloat16.
DOTS = {
    "AVX2": ("vpmaddwd", "vpmaddwd", r"vfmadd\d+ps"),
    "NEON": (r"mla\s+v\d+\.4s", r"mla\s+v\d+\.4s", r"fmla\s+v\d+\.4s"),
    "NEON, sdot": (r"sdot\s+v\d+\.4s", r"sdot\s+v\d+\.4s", r"fmla\s+v\d+\.4s"),
    "NEON, usdot, bfdot": (
        r"usdot\s+v\d+\.4s", r"\tsdot\s+v\d+\.4s", r"bfdot\s+v\d+\.4s",
    ),
    "SVE of 256 bits": (r"mla\s+z\d+\.s", r"mla\s+z\d+\.s", r"fmla\s+z\d+\.s"),
    "RVV": (r"vmacc\.v", r"vmacc\.v", r"vfm(acc|add)\.v"),
}  # fmt: skip
NARROW_ROWS = ("3x3 odd channels", "3x3 stride 2", "8 groups of 4", "depthwise stride 2")


@pytest.mark.parametrize("name", DOT_MACHINES)
@pytest.mark.parametrize("number", NUMBERS)
def test_narrow_numbers(name: str, number: str, tmp_path: Path) -> None:
    """One after another in one program."""
    machine = DOT_MACHINES[name]
    target = machine.target(tmp_path)
    tvm: Any = quick_import("tvm")
    functions, calls, values, runs = {}, [], [], []
    for label in NARROW_ROWS:
        drawn = Drawn.of(ROWS[label], number)
        kernel = drawn.kernels("spatial_pack", target)[0]
        function, first, given = f"kernel{len(runs)}", len(values), drawn.arguments(kernel)
        functions[function] = in_order(kernel, threads=1, name=function)
        calls.append((function, tuple(range(first, first + len(given)))))
        values += given
        runs.append(drawn)
    found = run_all(machine, target, tvm.IRModule(functions), calls, values, tmp_path)
    wrong = [compare_dots(drawn, each) for drawn, each in zip(runs, found, strict=True)]
    assert wrong == [None] * len(runs)


@pytest.mark.parametrize("name", DOT_MACHINES)
@pytest.mark.parametrize("number", NUMBERS)
def test_multiplies_narrow_numbers_by(name: str, number: str, tmp_path: Path) -> None:
    target = DOT_MACHINES[name].target(tmp_path)
    [kernel, *_] = Drawn.of(geometry((16, 32)), number).kernels("spatial_pack", target)
    code = module([kernel], target).mod.inspect_source("asm")
    assert re.search(DOTS[name][NUMBERS.index(number)], code)
    assert "%zmm" not in code
