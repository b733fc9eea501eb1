"""What a run costs: how much of its time was the members' work, and what sharing saves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec


class Spent(msgspec.Struct, kw_only=True):
    """Where the time of one run went, in seconds.

    Wall time is ``planning_s`` + ``making_s`` + ``measuring_s``. While making, ``jobs`` slots are
    there: ``members_s`` is what members worked in them, by layer, and ``waiting_s`` is when a slot
    had nothing that could be made yet. While measuring, executables are loaded (``loading_s``) and
    run (``timed_s``: samples, warm-ups, discarded runs, profiles); ``probing_s`` is what the device
    itself was measured for, once in a store: neither work of the study nor overhead."""

    jobs: int = 1
    planning_s: float = 0.0
    making_s: float = 0.0
    waiting_s: float = 0.0
    members_s: dict[str, float] = {}
    measuring_s: float = 0.0
    loading_s: float = 0.0
    timed_s: float = 0.0
    probing_s: float = 0.0

    def worked(self, layer: str, seconds: float) -> None:
        self.members_s[layer] = self.members_s.get(layer, 0.0) + seconds

    @property
    def wall_s(self) -> float:
        return self.planning_s + self.making_s + self.measuring_s

    @property
    def work_s(self) -> float:
        """What the study is for: members' work, loading and timed runs."""
        return sum(self.members_s.values()) + self.loading_s + self.timed_s

    @property
    def making_overhead_s(self) -> float:
        """Slot seconds that were neither work nor a wait for other nodes: starting workers,
        handing jobs out, hashing and recording what came back."""
        return max(0.0, self.making_s * self.jobs - sum(self.members_s.values()) - self.waiting_s)

    @property
    def measuring_overhead_s(self) -> float:
        """Between blocks of runs: messages, the machine's conditions, recording, closing."""
        known_s = self.loading_s + self.timed_s + self.probing_s
        return max(0.0, self.measuring_s - known_s)

    @property
    def overhead_s(self) -> float:
        return self.planning_s + self.making_overhead_s + self.measuring_overhead_s

    @property
    def overhead_share(self) -> float:
        """Of ``work_s``; 0 where nothing was done."""
        return self.overhead_s / self.work_s if self.work_s else 0.0

    @property
    def strict_share(self) -> float:
        """The same overhead over measuring and compiling alone, as if nothing had been trained."""
        work_s = self.members_s.get("systems", 0.0) + self.loading_s + self.timed_s
        return self.overhead_s / work_s if work_s else 0.0


class GridCost(NamedTuple):
    """Seconds of members' work in a grid: ``shared_s`` with every node once, ``alone_s`` if each
    stack had been made by itself."""

    stacks: int
    shared_s: float
    alone_s: float

    @property
    def share(self) -> float:
        """In (0, 1]; 1 where nothing is shared or nothing was done."""
        return self.shared_s / self.alone_s if self.alone_s else 1.0


def grid_cost(chains: Iterable[Iterable[str]], seconds: Mapping[str, float]) -> GridCost:
    """``chains``: each stack's node keys. ``seconds``: what each node took; one without was not
    made, as below a refusal, and counts on neither side. Stacks given twice count once."""
    distinct = {tuple(chain) for chain in chains}
    taken = [sum(seconds.get(key, 0.0) for key in chain) for chain in distinct]
    keys = {key for chain in distinct for key in chain}
    shared_s = sum(seconds.get(key, 0.0) for key in keys)
    return GridCost(len(distinct), shared_s, sum(taken))


def last_spent(runs: Sequence[Mapping[str, Any]]) -> Spent | None:
    """Of the last of ``Results.runs``; None where none is recorded."""
    return msgspec.convert(runs[-1]["spent"], Spent) if runs else None


def cost_lines(grid: GridCost, spent: Spent | None) -> list[str]:
    """Sentences for people; ``spent`` is None where no run is recorded."""
    lines = []
    if grid.alone_s:
        lines.append(
            f"grid: {grid.stacks:,} stacks cost {duration(grid.shared_s)} of work, "
            f"{grid.share:.1%} of the {duration(grid.alone_s)} that they would one by one"
        )
    if spent and spent.work_s:
        waited = f"; slots waited {duration(spent.waiting_s)} for what was not made yet"
        lines.append(
            f"harness: {spent.overhead_share:.1%} on top of {duration(spent.work_s)} of work "
            f"(planning {spent.planning_s:.1f} s, making {spent.making_overhead_s:.1f} s, "
            f"measuring {spent.measuring_overhead_s:.1f} s){waited if spent.waiting_s >= 1 else ''}"
        )
    return lines


def duration(seconds: float) -> str:
    """``"4.2 s"``, ``"42 s"``, ``"12 min"``, ``"3.1 h"``."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
