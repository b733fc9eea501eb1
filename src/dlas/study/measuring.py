"""The second half of a run: time the executables, nothing else being at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
import numpy as np

from dlas.hardware.base import Hardware
from dlas.measure.interleave import Contender, measure
from dlas.measure.observation import Failure, Observation
from dlas.measure.observation import Outcome as Timing
from dlas.measure.protocol import LayerTime, Session, Usage
from dlas.node import Node
from dlas.store.results import Measured, Outcome
from dlas.store.store import Store
from dlas.study.costs import Spent
from dlas.study.plan import StudyPlan
from dlas.study.remaining import Remaining
from dlas.study.watch import Watcher


class Measuring:
    """Measures ``plan``'s stacks that were never measured and whose executable is there. The
    stacks of one trained network are contenders: they are interleaved, so that drift of the
    machine hits them alike and their ratios can be trusted."""

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

    def run(self, executables: Mapping[str, Path]) -> None:
        """``executables``: the compiled folders by their node's key."""
        groups: dict[str, list[Node]] = {}
        for key, chain in {chain[-1].key: chain for chain in self.plan.chains}.items():
            if key not in self.plan.observed and chain[-2].key in executables:
                model = next(node.key for node in chain if node.layer == "models")
                groups.setdefault(model, []).append(chain[-1])
        for leaves in groups.values():
            began = time.monotonic()
            self._device(leaves[0]).probe(self.store.root)
            self.spent.probing_s += time.monotonic() - began
            self._measure(leaves, executables)

    def _device(self, leaf: Node) -> Hardware:
        return cast(Hardware, self.plan.members[leaf.key])

    def _measure(self, leaves: list[Node], executables: Mapping[str, Path]) -> None:
        contenders = {}
        for leaf in leaves:
            device = self._device(leaf)
            folder = executables[leaf.parent]
            opened = partial(Clocked, partial(device.open, folder), self.spent)
            contenders[leaf.key] = Contender(opened, device.protocol)

        started, reached = time.monotonic(), 0.0

        def progress(fraction: float, text: str) -> None:
            nonlocal reached
            reached = fraction
            self.watcher.progressed(leaves[0], fraction, text)

        def done(key: str, timing: Timing) -> None:
            # They are timed side by side: what one takes is its share of the group's time.
            share_s = (time.monotonic() - started) / max(1.0, reached * len(leaves))
            self._record(self.plan.nodes[key], timing, share_s)

        self.watcher.started(leaves[0])
        measure(contenders, done, progress=progress)

    def _record(self, leaf: Node, timing: Timing, seconds: float) -> None:
        if isinstance(timing, Failure):
            outcome = Outcome(timing.status, timing.message)
            self.store.results.add_outcome(leaf.key, outcome)
        else:
            outcome = Outcome("ok", "", seconds)
            self.store.results.add_observation(leaf.key, as_measured(timing), seconds)
        self.watcher.ended(leaf, outcome, self.remaining.after(leaf, outcome))


def as_measured(observation: Observation) -> Measured:
    """The form the store keeps: samples as numbers, all else as plain data."""
    record = msgspec.to_builtins(observation)
    samples_s = np.asarray(record.pop("samples_s"), np.float64)
    return Measured(record.pop("taken_at"), samples_s, record)


class Clocked:
    """A session that notes in ``spent`` what is loading and timed runs; the rest is ours. Sessions
    load side by side, but are started and waited for one after the other."""

    def __init__(self, start: Callable[[], Session], spent: Spent) -> None:
        self._spent = spent
        began = time.monotonic()
        self._session = start()
        spent.loading_s += time.monotonic() - began

    def wait(self) -> None:
        began = time.monotonic()
        try:
            self._session.wait()
        finally:
            self._spent.loading_s += time.monotonic() - began

    def run(self, count: int) -> list[float]:
        samples_s = self._session.run(count)
        self._spent.timed_s += sum(samples_s)
        return samples_s

    def profile(self, count: int) -> tuple[LayerTime, ...]:
        began = time.monotonic()
        try:
            return self._session.profile(count)
        finally:
            self._spent.timed_s += time.monotonic() - began

    def usage(self) -> Usage:
        return self._session.usage()

    def energy_j(self) -> float | None:
        return self._session.energy_j()

    def energy_absent(self) -> str:
        return self._session.energy_absent()

    def close(self) -> None:
        self._session.close()
