"""This machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from dlas.errors import Refused, SpecError
from dlas.executable import read_header
from dlas.hardware.base import Hardware
from dlas.hardware.probe import cached_probe
from dlas.hardware.process import ProcessSession
from dlas.measure.protocol import Session
from dlas.target.linux import one_per_core
from dlas.target.target import Target, host


class Local(Hardware, frozen=True, kw_only=True):
    """The machine that dlas runs on. Each executable is timed in a process of its own, pinned to
    ``cores``: logical CPUs, by default the last physical cores, as many as the executable has
    threads, since the first ones serve interrupts."""

    name: ClassVar[str] = "local"

    cores: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] | None = None

    def check(self, path: str) -> None:
        cpus = host().cpus
        for index, core in enumerate(self.cores or ()):
            if core not in cpus:
                usable = ", ".join(map(str, cpus))
                raise SpecError(f"{path}.cores[{index}]", f"{core} is not one of the CPUs {usable}")
        if self.cores is not None and len(set(self.cores)) != len(self.cores):
            raise SpecError(f"{path}.cores", f"{list(self.cores)} names a CPU twice")
        if self.cores == ():
            raise SpecError(f"{path}.cores", "names no CPU; leave it out for the last cores")

    def open(self, executable: Path) -> Session:
        threads = read_header(executable).threads
        cores = self.cores if self.cores is not None else last_cores(host(), threads)
        if threads > len(cores):
            raise Refused(
                f"the executable computes with {threads} threads and {self.name} has {len(cores)} "
                f"CPUs for it: give the system fewer threads, or {self.name} more cores"
            )
        return ProcessSession(executable, cores, threads, self.protocol.time_limit_s)

    def probe(self, folder: Path) -> None:
        cached_probe(folder)

    def fingerprint(self) -> dict[str, str]:
        return host().fingerprint()


def last_cores(target: Target, threads: int) -> tuple[int, ...]:
    """One logical CPU on each of the last physical cores; siblings too when there are fewer cores
    than threads. At most what the process may use."""
    apart = one_per_core(target.cpus)
    chosen = apart if threads <= len(apart) else target.cpus
    return chosen[-threads:]
