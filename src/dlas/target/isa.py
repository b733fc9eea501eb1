"""Instruction set features that decide speed, and the names LLVM gives to them and to processors.

The tables are the whole knowledge: a new processor or extension is one line here.
"""

from __future__ import annotations

from collections.abc import Collection

#: What ``platform.machine`` calls it → our name.
ISAS = {"x86_64": "x86-64", "amd64": "x86-64", "arm64": "aarch64"}

#: Linux's flag → LLVM's attribute, by ISA.
FEATURES = {
    "x86-64": {
        "sse4_2": "sse4.2",
        "popcnt": "popcnt",
        "avx": "avx",
        "avx2": "avx2",
        "fma": "fma",
        "f16c": "f16c",
        "bmi2": "bmi2",
        "avx_vnni": "avxvnni",
        "avx512f": "avx512f",
        "avx512bw": "avx512bw",
        "avx512cd": "avx512cd",
        "avx512dq": "avx512dq",
        "avx512vl": "avx512vl",
        "avx512vbmi": "avx512vbmi",
        "avx512_vnni": "avx512vnni",
        "avx512_bf16": "avx512bf16",
        "avx512_fp16": "avx512fp16",
        "amx_tile": "amx-tile",
        "amx_int8": "amx-int8",
        "amx_bf16": "amx-bf16",
    },
    "aarch64": {
        "asimd": "neon",
        "asimdhp": "fullfp16",
        "asimddp": "dotprod",
        "asimdfhm": "fp16fml",
        "bf16": "bf16",
        "i8mm": "i8mm",
        "sve": "sve",
        "sve2": "sve2",
        "sme": "sme",
    },
    "riscv64": {
        "m": "m",
        "a": "a",
        "f": "f",
        "d": "d",
        "c": "c",
        "v": "v",
        "zfh": "zfh",
        "zvfh": "zvfh",
        "zvfbfwma": "zvfbfwma",
    },
}

#: x86-64 microarchitecture levels (psABI), best first: LLVM's name → what it needs.
_LEVELS = {
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v3": {"avx2", "fma", "f16c", "bmi2"},
    "x86-64-v2": {"sse4_2", "popcnt"},
    "x86-64": set[str](),
}

#: (vendor, family, first model, last model) → LLVM's name, as in llvm/lib/TargetParser/Host.cpp.
_X86 = {
    ("AuthenticAMD", 23, 0x00, 0x2F): "znver1",
    ("AuthenticAMD", 23, 0x30, 0xAF): "znver2",
    ("AuthenticAMD", 25, 0x00, 0x0F): "znver3",
    ("AuthenticAMD", 25, 0x10, 0x1F): "znver4",
    ("AuthenticAMD", 25, 0x20, 0x5F): "znver3",
    ("AuthenticAMD", 25, 0x60, 0x7F): "znver4",
    ("AuthenticAMD", 25, 0xA0, 0xAF): "znver4",
    ("AuthenticAMD", 26, 0x00, 0x4F): "znver5",
    ("AuthenticAMD", 26, 0x60, 0x77): "znver5",
    ("GenuineIntel", 6, 0x3C, 0x3C): "haswell",
    ("GenuineIntel", 6, 0x3D, 0x3D): "broadwell",
    ("GenuineIntel", 6, 0x3F, 0x3F): "haswell",
    ("GenuineIntel", 6, 0x45, 0x46): "haswell",
    ("GenuineIntel", 6, 0x47, 0x47): "broadwell",
    ("GenuineIntel", 6, 0x4E, 0x4E): "skylake",
    ("GenuineIntel", 6, 0x4F, 0x4F): "broadwell",
    ("GenuineIntel", 6, 0x55, 0x55): "skylake-avx512",
    ("GenuineIntel", 6, 0x56, 0x56): "broadwell",
    ("GenuineIntel", 6, 0x5E, 0x5E): "skylake",
    ("GenuineIntel", 6, 0x6A, 0x6A): "icelake-server",
    ("GenuineIntel", 6, 0x6C, 0x6C): "icelake-server",
    ("GenuineIntel", 6, 0x7D, 0x7E): "icelake-client",
    ("GenuineIntel", 6, 0x8C, 0x8D): "tigerlake",
    ("GenuineIntel", 6, 0x8E, 0x8E): "skylake",
    ("GenuineIntel", 6, 0x8F, 0x8F): "sapphirerapids",
    ("GenuineIntel", 6, 0x97, 0x97): "alderlake",
    ("GenuineIntel", 6, 0x9A, 0x9A): "alderlake",
    ("GenuineIntel", 6, 0x9E, 0x9E): "skylake",
    ("GenuineIntel", 6, 0xA5, 0xA6): "skylake",
    ("GenuineIntel", 6, 0xA7, 0xA7): "rocketlake",
    ("GenuineIntel", 6, 0xAA, 0xAA): "meteorlake",
    ("GenuineIntel", 6, 0xAD, 0xAE): "graniterapids",
    ("GenuineIntel", 6, 0xB7, 0xB7): "raptorlake",
    ("GenuineIntel", 6, 0xBA, 0xBA): "raptorlake",
    ("GenuineIntel", 6, 0xBF, 0xBF): "raptorlake",
    ("GenuineIntel", 6, 0xCF, 0xCF): "emeraldrapids",
}

#: (CPU implementer, CPU part) → LLVM's name.
ARM = {
    (0x41, 0xD03): "cortex-a53",
    (0x41, 0xD05): "cortex-a55",
    (0x41, 0xD07): "cortex-a57",
    (0x41, 0xD08): "cortex-a72",
    (0x41, 0xD09): "cortex-a73",
    (0x41, 0xD0A): "cortex-a75",
    (0x41, 0xD0B): "cortex-a76",
    (0x41, 0xD0C): "neoverse-n1",
    (0x41, 0xD0D): "cortex-a77",
    (0x41, 0xD40): "neoverse-v1",
    (0x41, 0xD41): "cortex-a78",
    (0x41, 0xD44): "cortex-x1",
    (0x41, 0xD46): "cortex-a510",
    (0x41, 0xD47): "cortex-a710",
    (0x41, 0xD48): "cortex-x2",
    (0x41, 0xD49): "neoverse-n2",
    (0x41, 0xD4F): "neoverse-v2",
    (0x41, 0xD84): "neoverse-v3",
    (0xC0, 0xAC3): "ampere1",
    (0xC0, 0xAC4): "ampere1a",
}

_APPLE = {f"Apple M{generation}": f"apple-m{generation}" for generation in range(1, 5)}


def x86_name(vendor: str, family: int, model: int, features: Collection[str]) -> str:
    """LLVM's name of an x86-64 processor; one not in the table gets its microarchitecture level."""
    for (maker, kind, first, last), name in _X86.items():
        if (maker, kind) == (vendor, family) and first <= model <= last:
            if name == "skylake-avx512" and "avx512_vnni" in features:
                return "cooperlake" if "avx512_bf16" in features else "cascadelake"
            return name
    return next(name for name, needs in _LEVELS.items() if needs <= set(features))


def arm_name(implementer: int, part: int) -> str:
    return ARM.get((implementer, part), "generic")


def apple_name(brand: str) -> str:
    """From ``Apple M2 Pro`` and the like."""
    return next((name for chip, name in _APPLE.items() if brand.startswith(chip)), "generic")


def llvm_attributes(isa: str, features: Collection[str]) -> tuple[str, ...]:
    """``+avx2``, ``-avx512f`` …: what is absent is said too, since a hypervisor may mask features
    that the processor's name promises."""
    table = FEATURES.get(isa, {})
    return tuple(("+" if flag in features else "-") + name for flag, name in table.items())


def vector(isa: str, features: Collection[str]) -> tuple[int, int]:
    """(bits, architectural count) of the widest vector registers; for SVE and RISC-V's V the
    width the architecture guarantees. 32 bits where there are only scalar registers."""
    if isa == "x86-64":
        if "avx512f" in features:
            return 512, 32
        return (256 if "avx2" in features else 128), 16
    if isa == "aarch64":
        return 128, 32
    return (128 if "v" in features else 32), 32
