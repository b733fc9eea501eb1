"""The target of a Mac, from what ``sysctl hw machdep.cpu`` says."""

from __future__ import annotations

import os
import platform
import subprocess

from dlas.target.isa import FEATURES, ISAS, apple_name, vector, x86_name
from dlas.target.target import Cache, Target

_ARM_FLAGS = {"FP16": "asimdhp", "DotProd": "asimddp", "BF16": "bf16", "I8MM": "i8mm"}


def read_target(values: dict[str, str], machine: str | None = None) -> Target:
    """The target from sysctl's values by name, as ``sysctl`` returns them."""
    machine = machine or platform.machine()
    isa = ISAS.get(machine, machine)
    features = tuple(sorted(_flags(isa, values) & FEATURES.get(isa, {}).keys()))
    bits, registers = vector(isa, features)
    brand = values.get("machdep.cpu.brand_string", isa)
    logical = int(values.get("hw.logicalcpu", os.cpu_count() or 1))
    names = enumerate(("hw.l1dcachesize", "hw.l2cachesize", "hw.l3cachesize"), start=1)
    sizes = [(level, int(values.get(name, 0))) for level, name in names]
    return Target(
        isa=isa,
        cpu=brand,
        revision="",
        features=features,
        vector_bits=bits,
        vector_registers=registers,
        cores=int(values.get("hw.physicalcpu", logical)),
        cpus=tuple(range(logical)),
        usable=logical,
        caches=tuple(Cache(level, size, 1) for level, size in sizes if size),
        memory_bytes=int(values.get("hw.memsize", 0)),
        llvm_cpu=_llvm_name(isa, brand, values, features),
    )


def sysctl() -> dict[str, str]:
    """sysctl's values below ``hw`` and ``machdep.cpu``, by name."""
    command = ["sysctl", "hw", "machdep.cpu"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    pairs = (line.partition(": ") for line in shown.splitlines())
    return {key: value for key, _, value in pairs}


def _flags(isa: str, values: dict[str, str]) -> set[str]:
    """The features by Linux's names."""
    if isa == "aarch64":
        prefix = "hw.optional.arm.FEAT_"
        has = {flag for name, flag in _ARM_FLAGS.items() if values.get(prefix + name) == "1"}
        return has | {"asimd"}
    lists = (values.get(f"machdep.cpu.{name}", "") for name in ("features", "leaf7_features"))
    words = " ".join(lists).lower().replace("avx1.0", "avx").replace(".", "_")
    return set(words.split())


def _llvm_name(isa: str, brand: str, values: dict[str, str], features: tuple[str, ...]) -> str:
    if isa == "aarch64":
        return apple_name(brand)
    family, model = (int(values.get(f"machdep.cpu.{k}", 0)) for k in ("family", "model"))
    return x86_name(values.get("machdep.cpu.vendor", ""), family, model, features)
