"""What tuning did while a network was compiled: ``tuning.json`` in the executable's folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

FILE = "tuning.json"


class Tally(msgspec.Struct):
    """``kernels``: asked about, each once; ``known``: those of which something had been measured
    before; ``measured``: candidates; ``failed``: those discarded, by how; ``late``: kernels that
    the time was too short for. ``seconds``: of measuring. ``notes``: sentences."""

    kernels: int = 0
    known: int = 0
    measured: int = 0
    failed: dict[str, int] = {}
    late: int = 0
    seconds: float = 0.0
    notes: list[str] = []

    def discard(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            self.failed[kind] = self.failed.get(kind, 0) + 1

    def add(self, other: Tally) -> None:
        """What was done besides, of other kernels."""
        self.kernels += other.kernels
        self.known += other.known
        self.measured += other.measured
        for kind, number in other.failed.items():
            self.failed[kind] = self.failed.get(kind, 0) + number
        self.late += other.late
        self.seconds += other.seconds
        self.notes += [note for note in other.notes if note not in self.notes]

    def sentence(self) -> str:
        parts = [
            f"{self.measured} candidates of {self.kernels} kernels measured in "
            f"{self.seconds:.1f} s, {self.known} kernels known before"
        ]
        if self.failed:
            kinds = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in self.failed.items())
            parts.append(f"discarded: {kinds}")
        if self.late:
            parts.append(f"{self.late} kernels untried when the time was up")
        return "; ".join([*parts, *self.notes])

    def save(self, folder: Path) -> None:
        (folder / FILE).write_bytes(msgspec.json.encode(self))


def open_tally(folder: Path) -> Tally | None:
    """What ``save`` wrote; None where nothing was tuned."""
    file = folder / FILE
    return msgspec.json.decode(file.read_bytes(), type=Tally) if file.exists() else None
