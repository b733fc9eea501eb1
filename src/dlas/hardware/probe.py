"""The measured ceilings of this machine: arithmetic in registers, and reading a working set.

``probe.c`` is compiled for the processor it runs on and executed in a process of its own.
Arithmetic counts 2 operations per multiply-add. What has no instruction or no compiler is absent,
and said so.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path

import msgspec

from dlas.errors import InputError
from dlas.measure.statistics import median, spread
from dlas.target.linux import one_per_core
from dlas.target.target import Target, host

REFUSED = "the operating system lends no program the registers for it (arch_prctl)"
#: Short runs, and many: on a machine that others use, some fall between the others' turns.
REPEATS, RUN_S = 30, 0.005
SOURCE = "probe.c"
TIMEOUT_S = 120.0
ARITHMETIC = ("fp32", "fp16", "bf16", "int8")
#: The features of which one is needed; fp32 needs none.
_NEEDS = {
    "fp16": ("avx512_fp16", "asimdhp"),
    "bf16": ("avx512_bf16", "bf16"),
    "int8": ("avx512_vnni", "avx_vnni", "asimddp"),
}
#: Instructions on whole matrices. Most processors have none, so only those are missed that this
#: one has.
_MATRIX = {"bf16-matrix": ("amx_bf16",), "int8-matrix": ("amx_int8", "i8mm")}
_Task = tuple[str, int, int]  # kernel, threads, bytes per thread
_CPU_FLAGS: tuple[list[str], ...] = (
    ["-march=native"],
    ["-mcpu=native"],
    [],
)  # which of them works depends on the compiler


class Rate(msgspec.Struct, frozen=True):
    """Operations, bytes or cycles per second over some runs. ``best`` is the ceiling; ``median``
    falls below it where others use the machine; ``spread`` is the robust relative deviation."""

    median: float
    best: float
    spread: float


class Ceiling(msgspec.Struct, frozen=True):
    """``working_set_bytes`` is per core, 0 for arithmetic."""

    instruction: str
    one_core: Rate
    all_cores: Rate
    working_set_bytes: int = 0


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """``arithmetic``: fp32, fp16, bf16, int8 (operations/s), each by the fastest instruction that
    this machine has; ``others``: by its other instructions, the faster first; ``reading``: L1, L2,
    L3, memory (bytes/s); ``clock_hz``: the running frequency; ``absent``: what could not be
    measured, with a sentence."""

    fingerprint: dict[str, str]
    taken_at: str
    load_average: float
    compiler: str
    cores: int
    arithmetic: dict[str, Ceiling]
    others: dict[str, tuple[Ceiling, ...]] = {}
    reading: dict[str, Ceiling]
    clock_hz: Rate | None
    absent: dict[str, str]


def cached_probe(folder: Path, *, again: bool = False) -> Probe:
    """This machine's probe from ``folder``; measured (about 5 s) and kept there if missing."""
    fingerprint = host().fingerprint()
    kept = None if again else read_probe(folder, fingerprint)
    if kept is not None:
        return kept
    probe = measure_probe()
    path = _place(folder, fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(probe), indent=1))
    scratch.replace(path)
    return probe


def read_probe(folder: Path, fingerprint: Mapping[str, str]) -> Probe | None:
    """A device's probe from ``folder``; None where there is none that can be read."""
    try:
        return msgspec.json.decode(_place(folder, fingerprint).read_bytes(), type=Probe)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None  # never measured, damaged, or of another dlas


def _place(folder: Path, fingerprint: Mapping[str, str]) -> Path:
    """Another for every program: what an older one measured may be less than what there is."""
    program = (files(__package__) / SOURCE).read_bytes()
    named = msgspec.json.encode(sorted(fingerprint.items()))
    digest = hashlib.sha256(program + named).hexdigest()
    return folder / f"probe-{digest[:16]}.json"


def measure_probe(
    target: Target | None = None, repeats: int = REPEATS, run_s: float = RUN_S
) -> Probe:
    """Measure now. What fails leaves its sentence in ``absent``; nothing is raised."""
    target = target or host()
    cpus = one_per_core(target.cpus)[::-1][: target.usable]
    sets = working_sets(target, len(cpus))
    compiler = find_compiler()
    kernels: dict[str, str] = {}
    rates: dict[_Task, Rate] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="dlas-probe-") as folder:
            program = compile_probe(compiler, Path(folder))
            kernels = _kernels(program)
            running = [k for k, instruction in kernels.items() if instruction and k != "read"]
            tasks = [(k, n, 0) for k in running for n in (1, len(cpus))]
            tasks += [("read", n, size) for size in sets.values() for n in (1, len(cpus))]
            rates = _run(program, cpus, tasks, repeats, run_s)
        absent = _absent(kernels, target, compiler)
    except InputError as error:
        absent = dict.fromkeys((*ARITHMETIC, "read", "clock"), str(error))

    def ceiling(kernel: str, size: int = 0) -> Ceiling:
        one, every = rates[kernel, 1, size], rates[kernel, len(cpus), size]
        return Ceiling(kernels[kernel], one, every, size)

    by_precision = {
        precision: sorted(
            (ceiling(k) for k in kernels if _precision(k) == precision and (k, 1, 0) in rates),
            key=lambda found: -found.one_core.best,
        )
        for precision in ARITHMETIC
    }
    return Probe(
        fingerprint=target.fingerprint(),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        load_average=os.getloadavg()[0],
        compiler=compiler or "",
        cores=len(cpus),
        arithmetic={name: found[0] for name, found in by_precision.items() if found},
        others={name: tuple(found[1:]) for name, found in by_precision.items() if found[1:]},
        reading={level: ceiling("read", s) for level, s in sets.items() if ("read", 1, s) in rates},
        clock_hz=rates.get(("clock", 1, 0)),
        absent=absent,
    )


def find_compiler() -> str | None:
    """The system's C compiler: ``$CC``, else cc, gcc or clang; None where there is none."""
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


def compile_probe(compiler: str | None, folder: Path) -> Path:
    """Compile ``probe.c`` into ``folder``. InputError says why it cannot."""
    if compiler is None:
        raise InputError("there is no C compiler (cc, gcc, clang or $CC): install one, like gcc")
    program = folder / "probe"
    said = ""
    with as_file(files(__package__) / SOURCE) as source:
        for flags in _CPU_FLAGS:
            command = [compiler, "-O3", *flags, "-o", str(program), str(source), "-lpthread"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return program
            said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
    raise InputError(f"{compiler} cannot compile the probe: {said.strip()}")


def working_sets(target: Target, cores: int) -> dict[str, int]:
    """Bytes that each core reads, by level: half of what one core has of a cache when all cores
    use it; for memory, four times the largest cache, and at least 64 MiB, split over the cores."""
    sets = {}
    for cache in target.caches:
        share = cache.size_bytes // min(cache.shared_by, cores)
        sets[f"L{cache.level}"] = _whole_lines(share // 2)
    largest = max((cache.size_bytes for cache in target.caches), default=0)
    sets["memory"] = _whole_lines(max(4 * largest, 2**26) // cores)
    return sets


def _whole_lines(size: int) -> int:
    return max(4096, size - size % 4096)


def _kernels(program: Path) -> dict[str, str]:
    """A kernel's instruction; "" where the operating system refuses it."""
    pairs = (line.partition(" ") for line in _call([str(program), "list"]))
    return {name: instruction for name, _, instruction in pairs}


def _precision(kernel: str) -> str:
    return kernel.partition("-")[0]


def _run(
    program: Path,
    cpus: Sequence[int],
    tasks: Iterable[_Task],
    repeats: int,
    run_s: float,
) -> dict[_Task, Rate]:
    tasks = list(dict.fromkeys(tasks))
    places = ",".join(map(str, cpus))
    words = [f"{kernel}:{threads}:{size}" for kernel, threads, size in tasks]
    samples: dict[_Task, list[float]] = {task: [] for task in tasks}
    for line in _call([str(program), str(repeats), str(run_s), places, *words]):
        index, amount, seconds = line.split()
        samples[tasks[int(index)]].append(float(amount) / float(seconds))
    return {task: Rate(median(s), max(s), spread(s)) for task, s in samples.items()}


def _call(command: Sequence[str]) -> list[str]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"the probe took longer than {TIMEOUT_S:g} s") from None
    except subprocess.CalledProcessError as error:
        why = (error.stderr or "").strip() or f"it ended with status {error.returncode}"
        raise InputError(f"the probe failed: {why}") from None
    return done.stdout.splitlines()


def _absent(kernels: Mapping[str, str], target: Target, compiler: str | None) -> dict[str, str]:
    """Why there is no ceiling of a precision, or none by an instruction that this processor has."""
    found = {k: _why_absent(k, needs, target, compiler) for k, needs in _NEEDS.items()}
    for kernel, needs in _MATRIX.items():
        if any(flag in target.features for flag in needs):
            found[kernel] = _why_absent(kernel, needs, target, compiler)
    there = {*kernels, *(_precision(k) for k, instruction in kernels.items() if instruction)}
    refused = {k: REFUSED for k, instruction in kernels.items() if not instruction}
    return {k: why for k, why in found.items() if k not in there} | refused


def _why_absent(kernel: str, needs: Sequence[str], target: Target, compiler: str | None) -> str:
    has = [flag for flag in needs if flag in target.features]
    if has:
        return f"{compiler} does not know {has[0]}, which this processor has: install a newer one"
    needed = ", ".join(needs)
    return f"this processor has no instruction that multiplies and adds {kernel} ({needed})"
