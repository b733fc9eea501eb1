"""The target of a Linux machine, from ``/proc`` and ``/sys``."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

from dlas.target.amx import use_matrix_registers
from dlas.target.cgroup import ROOT, cpu_quota
from dlas.target.isa import FEATURES, ISAS, arm_name, vector, x86_name
from dlas.target.target import Cache, Target


def read_target(root: Path = ROOT, machine: str | None = None) -> Target:
    """From ``/proc`` and ``/sys`` below ``root``."""
    machine = machine or platform.machine()
    isa = ISAS.get(machine, machine)
    info = _cpuinfo(text_of(root / "proc/cpuinfo"))
    features = tuple(sorted(_flags(info) & FEATURES.get(isa, {}).keys()))
    if root == ROOT and not use_matrix_registers():
        features = tuple(name for name in features if not name.startswith("amx_"))
    bits, registers = vector(isa, features)
    if "sve" in features:
        bits = 8 * int(text_of(root / "proc/sys/abi/sve_default_vector_length") or bits // 8)
    cpu, revision, llvm_cpu = _processor(isa, info, features)
    cpus = _allowed(root)
    quota = cpu_quota(root)
    memory = re.search(r"MemTotal:\s+(\d+) kB", text_of(root / "proc/meminfo"))
    return Target(
        isa=isa,
        cpu=" ".join(filter(None, [cpu, text_of(root / "proc/device-tree/model").strip("\0")])),
        revision=revision,
        features=features,
        vector_bits=bits,
        vector_registers=registers,
        cores=len(one_per_core(_online(root), root)),
        cpus=cpus,
        usable=len(cpus) if quota is None else max(1, min(len(cpus), int(quota))),
        caches=_caches(root / "sys/devices/system/cpu" / f"cpu{cpus[0]}" / "cache"),
        memory_bytes=int(memory[1]) * 1024 if memory else 0,
        llvm_cpu=llvm_cpu,
    )


def one_per_core(cpus: Iterable[int], root: Path = ROOT) -> tuple[int, ...]:
    """The first logical CPU of each physical core among ``cpus``, in order."""
    found: dict[str, int] = {}
    for cpu in sorted(cpus):
        topology = root / "sys/devices/system/cpu" / f"cpu{cpu}" / "topology"
        siblings = text_of(topology / "thread_siblings_list") or str(cpu)
        found.setdefault(siblings, cpu)
    return tuple(found.values())


def _processor(
    isa: str, info: dict[str, str], features: tuple[str, ...]
) -> tuple[str, str, str | None]:
    """(model name, revision, LLVM's name)."""
    if isa == "x86-64":
        family, model = int(info.get("cpu family", 0)), int(info.get("model", 0))
        name = x86_name(info.get("vendor_id", ""), family, model, features)
        return info.get("model name", "x86-64"), f"family {family} model {model}", name
    if isa == "aarch64":
        implementer, part = (int(info.get(f"CPU {k}", "0"), 0) for k in ("implementer", "part"))
        name = arm_name(implementer, part)
        shown = info.get("model name") or (name if name != "generic" else "aarch64")
        return shown, f"implementer {implementer:#x} part {part:#x}", name
    if isa == "riscv64":
        return info.get("uarch", "riscv64"), "", "generic-rv64"
    return info.get("model name", isa), "", None


def _cpuinfo(text: str) -> dict[str, str]:
    """The first processor's entries of ``/proc/cpuinfo``."""
    first = text.split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _flags(info: dict[str, str]) -> set[str]:
    """Extensions by Linux's names; RISC-V writes "rv64imafdcv_zfh": letters, then names."""
    letters, *names = info.get("isa", "").removeprefix("rv64").split("_")
    return {*(info.get("flags") or info.get("Features") or "").split(), *letters, *names}


def _online(root: Path) -> tuple[int, ...]:
    listed = cpu_list(text_of(root / "sys/devices/system/cpu/online"))
    return listed or tuple(range(os.cpu_count() or 1))


def _allowed(root: Path) -> tuple[int, ...]:
    listed = re.search(r"Cpus_allowed_list:\s*(\S+)", text_of(root / "proc/self/status"))
    online = _online(root)
    allowed = set(cpu_list(listed[1])) if listed else set(online)
    return tuple(cpu for cpu in online if cpu in allowed) or online


def cpu_list(text: str) -> tuple[int, ...]:
    """``"0-2,5"`` → (0, 1, 2, 5)."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return tuple(found)


def _caches(folder: Path) -> tuple[Cache, ...]:
    found = []
    for index in sorted(folder.glob("index*")):
        size = re.match(r"(\d+)([KM]?)", text_of(index / "size"))
        if size and text_of(index / "type").strip() != "Instruction":
            size_bytes = int(size[1]) * {"": 1, "K": 2**10, "M": 2**20}[size[2]]
            shared = len(cpu_list(text_of(index / "shared_cpu_list"))) or 1
            found.append(Cache(int(text_of(index / "level")), size_bytes, shared))
    return tuple(found)


def text_of(path: Path) -> str:
    """The file's text; "" where the kernel does not offer it."""
    try:
        return path.read_text()
    except OSError:
        return ""
