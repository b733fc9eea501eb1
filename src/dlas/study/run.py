"""Running a study: make what is missing, then measure with nothing else at work."""

from __future__ import annotations

from dlas.store.store import Store
from dlas.study.making import Limits, Making, usual_limits
from dlas.study.measuring import Measuring
from dlas.study.plan import make_plan
from dlas.study.remaining import Remaining
from dlas.study.space import Study
from dlas.study.watch import Watcher


def run_study(
    study: Study,
    store: Store,
    *,
    limits: Limits | None = None,
    retry: bool = False,
    watcher: Watcher | None = None,
) -> None:
    """Bring every stack of the study to its end: measured, or explained. Results are in the store
    as soon as they exist; killed at any point, the next call repeats nothing that was finished."""
    with store.locked():
        _run(study, store, limits or usual_limits(), retry, watcher or Watcher())


def _run(study: Study, store: Store, limits: Limits, retry: bool, watcher: Watcher) -> None:
    store.artifacts.sweep()
    plan = make_plan(study.stacks, store, retry)
    rows = [
        {"key": chain[-1].key, "stack": stack.spec(), "labels": study.labels(stack)}
        for stack, chain in zip(study.stacks, plan.chains, strict=True)
    ]
    store.results.add_nodes(plan.nodes.values())
    store.results.save_study(study.name, study.spec(), rows)

    remaining = Remaining(plan, limits.jobs)
    making = Making(plan, store, watcher, remaining)
    measured = [node for node in plan.pending if node.layer == "hardware"]
    expected_s = remaining.expect([*making.look(), *measured])
    watcher.planned(len(remaining), expected_s)
    making.run(limits)
    Measuring(plan, store, watcher, remaining).run(making.folders)
