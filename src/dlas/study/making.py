"""The first half of a run: make every artifact that is missing, parents first."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlas.errors import StoreError
from dlas.node import Node
from dlas.store.results import Outcome
from dlas.store.store import Store
from dlas.study.costs import Spent
from dlas.study.plan import StudyPlan
from dlas.study.pool import Pool
from dlas.study.remaining import Remaining
from dlas.study.stages import Job, read_outcome
from dlas.study.watch import Watcher

#: What each layer hands down, and what it takes from above.
_GIVES = {"datasets": "data", "models": "network", "optimizations": "network", "algorithms": "plan"}
_TAKES = {
    "datasets": (),
    "models": ("data",),
    "optimizations": ("data", "network"),
    "algorithms": ("network",),
    "systems": ("data", "network", "plan"),
}
_ORDER = tuple(_TAKES)


@dataclass(frozen=True)
class Limits:
    """``jobs`` nodes are made at once, with ``threads`` cores each and at most ``time_limit_s``."""

    jobs: int
    threads: int
    time_limit_s: float


def usual_limits(jobs: int | None = None, time_limit_s: float | None = None) -> Limits:
    """By default a job per usable core; fewer jobs share the cores."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    jobs = jobs or cores
    return Limits(jobs, max(1, cores // jobs), time_limit_s or 6 * 3600.0)


class Making:
    """Makes the artifacts that ``plan``'s unmeasured stacks need. ``outcomes`` grows as nodes end;
    ``folders`` are the artifacts that are there, by key."""

    def __init__(
        self,
        plan: StudyPlan,
        store: Store,
        watcher: Watcher,
        remaining: Remaining,
        spent: Spent | None = None,
    ) -> None:
        self.plan, self.store, self.watcher, self.remaining = plan, store, watcher, remaining
        self.spent = spent or Spent()
        self.outcomes = dict(plan.outcomes)
        self.folders: dict[str, Path] = {}
        self.waiting: dict[str, Node] = {}
        self._adopted: dict[str, Outcome] = {}
        self._scratch: dict[str, Path] = {}
        self._started: dict[str, float] = {}

    def look(self) -> list[Node]:
        """Find what is there; the nodes that wait to be made. An artifact whose maker was killed
        before the outcome was recorded is adopted, with the outcome written beside it."""
        for chain in self.plan.chains:
            executable = chain[-2].key
            if self.plan.ended(executable):
                continue
            needed = set() if chain[-1].key in self.plan.observed else {executable}
            for node in reversed(chain[:-1]):
                if node.key in needed or node.key not in self.outcomes:
                    needed.update(self._find(node))
        return list(self.waiting.values())

    def _find(self, node: Node) -> tuple[str, ...]:
        """Look for an artifact; the keys that are needed to make it, when it is not there."""
        if node.key in self.folders:
            return ()
        folder = self.store.artifacts.find(node.key)
        if folder is None:
            self.waiting[node.key] = node
            return tuple(self._above(node).values())
        self.folders[node.key] = folder
        if node.key not in self.outcomes:
            self.outcomes[node.key] = self._adopted[node.key] = read_outcome(folder)
        return ()

    def run(self, limits: Limits) -> None:
        """Work until nothing can be made any more. StoreError where the disk is full."""
        for key, outcome in self._adopted.items():
            self.store.results.add_outcome(key, outcome)
        log = self.store.root / "logs" / "workers.log"
        with Pool(limits.jobs, limits.threads, log, limits.time_limit_s) as pool:
            try:
                while self.waiting or pool.busy:
                    while pool.busy < limits.jobs and (node := self._next()):
                        self._start(node, pool)
                    if not pool.busy:
                        break  # what still waits hangs below something that failed
                    idle, began = limits.jobs - pool.busy, time.monotonic()
                    events = list(pool.wait())
                    self.spent.waiting_s += idle * (time.monotonic() - began)
                    for job, event in events:
                        self._hear(self.plan.nodes[job.key], event)
                    self.watcher.idle()
            finally:
                for folder in self._scratch.values():
                    self.store.artifacts.drop(folder)

    def _next(self) -> Node | None:
        """The next node whose inputs are there, upper layers first so that work fans out."""
        ready = (
            n for n in self.waiting.values() if set(self._above(n).values()) <= self.folders.keys()
        )
        return min(ready, key=lambda n: _ORDER.index(n.layer), default=None)

    def _above(self, node: Node) -> dict[str, str]:
        """What a node takes in: data, network and plan → the nearest key above that gives it."""
        found: dict[str, str] = {}
        key = node.parent
        while key:
            above = self.plan.nodes[key]
            found.setdefault(_GIVES[above.layer], key)
            key = above.parent
        return {name: found[name] for name in _TAKES[node.layer]}

    def _start(self, node: Node, pool: Pool) -> None:
        del self.waiting[node.key]
        checkpoints = self.store.artifacts.checkpoints(node.key)
        folder = self._scratch[node.key] = self.store.artifacts.begin(node.key)
        job = Job(
            key=node.key,
            layer=node.layer,
            member=dict(node.spec),
            node=node.plain(),
            inputs={name: str(self.folders[key]) for name, key in self._above(node).items()},
            folder=str(folder),
            checkpoints=str(checkpoints),
            threads=pool.threads,
        )
        self._started[node.key] = time.monotonic()
        self.watcher.started(node)
        pool.submit(job)

    def _hear(self, node: Node, event: Mapping[str, Any]) -> None:
        if "progress" in event:
            self.watcher.progressed(node, event["progress"], event["text"])
            return
        folder = self._scratch.pop(node.key)
        elapsed_s = time.monotonic() - self._started.pop(node.key)
        seconds = event.get("seconds", elapsed_s)  # a dead worker cannot say
        self.spent.worked(node.layer, seconds)
        if event["status"] == "ok":
            self.folders[node.key] = self.store.artifacts.finish(node.key, folder)
            self._record(node, read_outcome(self.folders[node.key]))
            return
        self.store.artifacts.drop(folder)
        if event["status"] == "disk_full":
            raise StoreError(
                f"{event['message']}; make room and run again: what is finished is kept"
            )
        self._record(node, Outcome(event["status"], event["message"], seconds))

    def _record(self, node: Node, outcome: Outcome) -> None:
        self.outcomes[node.key] = outcome
        self.store.results.add_outcome(node.key, outcome)
        self.watcher.ended(node, outcome, self.remaining.after(node, outcome))
