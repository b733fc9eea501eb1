"""What code is generated for: instruction set, vector registers, cores and caches of a machine.

A target takes part in compiling; a *device* (``dlas.hardware``) takes part in measuring only.
"""

from __future__ import annotations

import hashlib
import platform
from functools import cache

import msgspec

from dlas.target.isa import llvm_attributes


class Cache(msgspec.Struct, frozen=True):
    """One data or unified cache as the first CPU sees it; ``shared_by`` logical CPUs use it."""

    level: int
    size_bytes: int
    shared_by: int


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A processor as a compiler sees it.

    ``features`` are Linux's names, sorted, of those in ``dlas.target.isa``; ``vector_bits`` and
    ``vector_registers`` describe the widest float32 vectors; ``cores`` are physical and online,
    ``cpus`` the logical CPUs this process may use and ``usable`` how many of them its quota lets it
    keep busy. ``llvm_cpu`` is None where LLVM's name is unknown."""

    isa: str
    cpu: str
    revision: str
    features: tuple[str, ...]
    vector_bits: int
    vector_registers: int
    cores: int
    cpus: tuple[int, ...]
    usable: int
    caches: tuple[Cache, ...]
    memory_bytes: int
    llvm_cpu: str | None

    @property
    def lanes(self) -> int:
        """float32 numbers in a vector."""
        return max(self.vector_bits // 32, 1)

    @property
    def llvm_features(self) -> tuple[str, ...]:
        """``+avx2``, ``-avx512f`` …, for LLVM's ``mattr``."""
        return llvm_attributes(self.isa, self.features)

    def cache_bytes(self, level: int) -> int:
        """The size of the data or unified cache of that level; 0 where there is none."""
        return max((c.size_bytes for c in self.caches if c.level == level), default=0)

    @property
    def name(self) -> str:
        """The processor and its instructions: machines of one name run each other's code."""
        digest = hashlib.sha256(" ".join(self.features).encode()).hexdigest()[:8]
        width = f" {self.vector_bits} bits" if "sve" in self.features else ""  # the rest imply it
        return f"{self.isa} {self.cpu} {self.revision} {digest}{width}"

    def fingerprint(self) -> dict[str, str]:
        """What tells one device from another; the same after a reboot, and free of names."""
        digest = hashlib.sha256(" ".join(self.features).encode()).hexdigest()[:8]
        return {
            "cpu": f"{self.cpu} {self.revision}".strip(),
            "isa": f"{self.isa} {digest}",
            "cores": str(self.cores),
            "memory_gib": str(round(self.memory_bytes / 2**30)),
        }


@cache
def host() -> Target:
    """This machine. Linux in full; macOS as far as ``sysctl`` tells."""
    from dlas.target import linux, macos  # they give Targets, so they import this module

    if platform.system() == "Darwin":
        return macos.read_target(macos.sysctl())
    return linux.read_target()
