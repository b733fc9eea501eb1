"""Running a study: make what is missing, then measure with nothing else at work."""

from __future__ import annotations

import time
from contextlib import suppress

import msgspec

from dlas.errors import DlasError
from dlas.store.results import now
from dlas.store.store import Store
from dlas.study.costs import Spent
from dlas.study.live import Publisher
from dlas.study.making import Limits, Making, usual_limits
from dlas.study.measuring import Measuring
from dlas.study.plan import make_plan
from dlas.study.remaining import Remaining
from dlas.study.space import Study
from dlas.study.watch import Watcher, Watchers


def run_study(
    study: Study,
    store: Store,
    *,
    limits: Limits | None = None,
    retry: bool = False,
    again: bool = False,
    watcher: Watcher | None = None,
) -> None:
    """Bring every stack of the study to its end: measured, or explained. Results are in the store
    as soon as they exist; killed at any point, the next call repeats nothing that was finished.
    What the run cost is recorded, however it ends."""
    with store.locked():
        publisher = Publisher(store.root, study.name, study.spec()["command"])
        watchers = Watchers([publisher, watcher or Watcher()])
        started_at, state = now(), publisher.state
        try:
            _run(study, store, limits or usual_limits(), retry, again, watchers, state.spent)
        except KeyboardInterrupt:
            publisher.close("stopped")
            raise
        except DlasError as error:
            publisher.close("failed", str(error))
            raise
        else:
            publisher.close("ended")
        finally:
            if state.done:
                spent = msgspec.to_builtins(state.spent)
                with suppress(DlasError):  # what ended the run is what counts
                    store.results.add_run(study.name, started_at, state.phase, spent)


def _run(
    study: Study,
    store: Store,
    limits: Limits,
    retry: bool,
    again: bool,
    watcher: Watcher,
    spent: Spent,
) -> None:
    began = time.monotonic()
    spent.jobs = limits.jobs
    store.artifacts.sweep()
    plan = make_plan(study.stacks, store, retry, again)
    rows = [
        {"key": chain[-1].key, "stack": stack.spec(), "labels": study.labels(stack)}
        for stack, chain in zip(study.stacks, plan.chains, strict=True)
    ]
    store.results.add_nodes(plan.nodes.values())
    store.results.save_study(study.name, study.spec(), rows)

    remaining = Remaining(plan, limits.jobs)
    making = Making(plan, store, watcher, remaining, spent)
    measured = [node for node in plan.pending if node.layer == "hardware"]
    expected_s = remaining.expect([*making.look(), *measured])
    watcher.planned(len(remaining), expected_s)
    made = _clocked(began, spent, "planning_s")

    watcher.entered("making")
    try:
        making.run(limits)
    finally:
        measuring = _clocked(made, spent, "making_s")
    watcher.entered("measuring")
    try:
        Measuring(plan, store, watcher, remaining, spent).run(making.folders)
    finally:
        _clocked(measuring, spent, "measuring_s")


def _clocked(began: float, spent: Spent, name: str) -> float:
    """Note the seconds since ``began`` under ``name``; the time now."""
    ended = time.monotonic()
    setattr(spent, name, ended - began)
    return ended
