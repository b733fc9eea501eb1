"""Energy from a real counter of this machine, or none at all: dlas never models it.

Counters: RAPL packages (``/sys/class/powercap``) and hwmon energy inputs, both in microjoules.
They count everything on the package, idle parts and other processes too. Sensors that only give
momentary power (``power1_input``) are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True)
class Counter:
    """One file that counts microjoules up and starts again at 0 after ``wraps_uj``."""

    path: Path
    wraps_uj: int

    def read_uj(self) -> int:
        return int(self.path.read_text())

    def between_j(self, before_uj: int, after_uj: int) -> float:
        passed = after_uj - before_uj
        return 1e-6 * (passed if passed >= 0 else passed + self.wraps_uj)


def find_counters(root: Path = ROOT) -> tuple[list[Counter], str]:
    """The counters of all packages, and "" — or none, and why as a sentence."""
    candidates: list[tuple[Path, Path | None]] = [
        (zone / "energy_uj", zone / "max_energy_range_uj")
        for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
        if zone.name.count(":") == 1  # "intel-rapl:0:0" is a part of the package "intel-rapl:0"
    ]
    if not candidates:
        inputs = sorted((root / "sys/class/hwmon").glob("hwmon*/energy*_input"))
        candidates = [(path, None) for path in inputs]
    if not candidates:
        return [], "no energy counter: this machine shows neither RAPL nor hwmon energy"
    try:
        counters = [Counter(p, int(r.read_text()) if r else 1 << 64) for p, r in candidates]
        for counter in counters:
            counter.read_uj()
    except (OSError, ValueError):
        place = candidates[0][0]
        return (
            [],
            f"no energy counter: {place} is not readable by this user (sudo chmod a+r {place})",
        )
    return counters, ""


class Meter:
    """Energy between two moments, summed over ``counters``."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._before = [counter.read_uj() for counter in counters]

    def passed_j(self) -> float:
        """Since this meter was made."""
        pairs = zip(self._counters, self._before, strict=True)
        return sum(c.between_j(before, c.read_uj()) for c, before in pairs)
