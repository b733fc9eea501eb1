"""Generated code run for another instruction set: kernels, a table of calls and a small C program,
linked statically and executed by qemu's user mode, which needs neither a board nor TVM on it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dlas.target import Target, host
from dlas.target.linux import read_target

Array = NDArray[Any]
#: (name of a kernel, numbers of its tensors: inputs, then the output)
Call = tuple[str, tuple[int, ...]]
#: numpy's kinds of numbers, as DLPack calls them.
KINDS = {"f": "kDLFloat", "i": "kDLInt", "u": "kDLUInt"}


@dataclass(frozen=True)
class Machine:
    """A processor as its Linux describes it, the compiler that links for it, what runs it where
    this is not such a processor, and an instruction on its widest vectors of float32."""

    architecture: str  # as ``uname -m`` says
    files: dict[str, str]
    compiler: str
    emulator: tuple[str, ...]
    multiply_add: str

    def target(self, root: Path) -> Target:
        for name, text in self.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return read_target(root, self.architecture)


MACHINES = {
    "AVX2": Machine(
        "x86_64",
        {
            "proc/cpuinfo": "vendor_id: GenuineIntel\ncpu family: 6\nmodel: 60\n"
            "flags: sse4_2 popcnt avx avx2 fma f16c bmi2\n"
        },
        "x86_64-linux-gnu-gcc",
        ("qemu-x86_64", "-cpu", "Haswell"),
        r"vfmadd\d+ps.*%ymm",
    ),
    "NEON": Machine(
        "aarch64",
        {"proc/cpuinfo": "Features: fp asimd\nCPU implementer: 0x41\nCPU part: 0xd08\n"},
        "aarch64-linux-gnu-gcc",
        ("qemu-aarch64", "-cpu", "cortex-a72"),
        r"fmla\s+v\d+\.4s",
    ),
    "SVE of 256 bits": Machine(
        "aarch64",
        {
            "proc/cpuinfo": "Features: fp asimd asimdhp asimddp bf16 i8mm sve\n"
            "CPU implementer: 0x41\nCPU part: 0xd40\n",
            "proc/sys/abi/sve_default_vector_length": "32\n",
        },
        "aarch64-linux-gnu-gcc",
        ("qemu-aarch64", "-cpu", "max,sve-max-vq=2"),
        r"(fmla|fmad)\s+z\d+\.s",
    ),
    "RVV": Machine(
        "riscv64",
        {"proc/cpuinfo": "isa: rv64imafdcv\n"},
        "riscv64-linux-gnu-gcc",
        ("qemu-riscv64", "-cpu", "rv64,v=true,vlen=128,vext_spec=v1.0"),
        r"vfm(acc|add)\.v",
    ),
}


def command(machine: Machine, target: Target) -> tuple[str, ...]:
    """What runs the machine's programs here; skips where nothing does."""
    if shutil.which(machine.compiler) is None:
        pytest.skip(f"{machine.compiler} is not installed: on Debian, gcc-…-linux-gnu")
    if target.isa == host().isa and set(target.features) <= set(host().features):
        return ()
    emulator, *options = machine.emulator
    found = shutil.which(emulator) or shutil.which(f"{emulator}-static")
    if found is None:
        pytest.skip(f"{emulator} is not installed: on Debian, qemu-user-static")
    return (found, *options)


def run(
    machine: Machine, target: Target, kernels: Any, calls: Sequence[Call], values: Sequence[Array],
    folder: Path,
) -> Array:  # fmt: skip
    """Execute the calls of ``kernels``, a ``tvm.IRModule`` of PrimFuncs in order, on tensors of
    these values; returns the last call's output."""
    return run_all(machine, target, kernels, calls, values, folder)[-1]


def run_all(
    machine: Machine, target: Target, kernels: Any, calls: Sequence[Call], values: Sequence[Array],
    folder: Path,
) -> list[Array]:  # fmt: skip
    """The same; the outputs of all calls."""
    import tvm
    from tvm_ffi.libinfo import include_paths

    from dlas.systems.tvm.lower import compiled

    prefix = command(machine, target)
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        built = compiled(kernels, target, 1).mod
    built.write_to_file(str(folder / "kernels.o"), "o")
    (folder / "program.h").write_text(tables(calls, values))
    runtime = Path(tvm.__file__).parent / "include"
    places = [f"-I{place}" for place in (folder, runtime, *include_paths())]
    source, program = Path(__file__).with_suffix(".c"), folder / "program"
    link = [machine.compiler, "-O1", "-static", *places, source, folder / "kernels.o"]
    subprocess.run([*link, "-o", program, "-lm"], check=True, timeout=60)
    given = b"".join(np.ascontiguousarray(value).tobytes() for value in values)
    done = subprocess.run([*prefix, program], input=given, capture_output=True, timeout=60)
    if b"Assertion" in done.stderr:  # the program has none
        pytest.skip(f"{machine.emulator[0]} has a defect: {done.stderr.decode().strip()}")
    assert done.returncode == 0, (done.returncode, done.stderr)
    found, start = [], 0
    for _, (*_, output) in calls:
        like = values[output]
        found.append(np.frombuffer(done.stdout, like.dtype, like.size, start).reshape(like.shape))
        start += like.nbytes
    return found


def tables(calls: Sequence[Call], values: Sequence[Array]) -> str:
    """program.h: declarations of the kernels, the tensors and the calls."""
    names = sorted({name for name, _ in calls})
    declared = "const TVMFFIAny *, int32_t, TVMFFIAny *"
    lines = [f"int __tvm_ffi_{name}(void *, {declared});" for name in names]
    for number, value in enumerate(values):
        extents = ", ".join(map(str, value.shape)) or "1"
        lines.append(f"static int64_t shape{number}[] = {{{extents}}};")
    tensors = [
        f"{{.device = {{kDLCPU, 0}}, .ndim = {value.ndim}, .shape = shape{number}, "
        f".dtype = {{{KINDS[value.dtype.kind]}, {8 * value.itemsize}, 1}}}}"
        for number, value in enumerate(values)
    ]
    entries = [
        f"{{__tvm_ffi_{name}, {len(numbers)}, {{{', '.join(map(str, numbers))}}}}}"
        for name, numbers in calls
    ]
    most = max(len(numbers) for _, numbers in calls)
    return "\n".join([
        *lines,
        f"enum {{ MOST = {most} }};",
        f"static DLTensor tensors[] = {{{', '.join(tensors)}}};",
        "static const struct { TVMFFISafeCallType kernel; int count, tensors[MOST]; } calls[] = "
        f"{{{', '.join(entries)}}};",
        "",
    ])  # fmt: skip
