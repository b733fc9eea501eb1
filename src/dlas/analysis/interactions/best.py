"""Pareto fronts with the distance of what is dominated, and the best stack per budget."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from dlas.analysis.interactions.records import Best, Dominated, Front
from dlas.analysis.intervals import wilson
from dlas.analysis.pareto import distances, front

#: Accuracy that may be lost against the best, as shares.
_LOSSES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)
#: Seconds that one inference may take: 1, 2, 5 of every power of ten within what was measured.
_STEPS = (1.0, 2.0, 5.0)


def fronts(machine: str, stacks: pd.DataFrame) -> Iterator[Front]:
    """Of latency and accuracy, a front per task."""
    for task, own in _tasks(stacks):
        latency, accuracy = own["latency_s"].to_numpy(float), own["accuracy"].to_numpy(float)
        low, high = own["latency_low_s"].to_numpy(float), own["latency_high_s"].to_numpy(float)
        keys = own["key"].to_numpy(object)
        on = front(np.stack([latency, -accuracy], axis=1))
        shrink, gain, by = distances(latency, accuracy)
        members = np.flatnonzero(on)[np.argsort(latency[on], kind="stable")]
        others = np.flatnonzero(~on)
        others = others[np.lexsort((gain[others], shrink[others]))]
        yield Front(
            machine,
            task,
            tuple(keys[members]),
            tuple(
                Dominated(
                    keys[i], keys[by[i]], float(shrink[i]), float(gain[i]),
                    bool(high[by[i]] < low[i]),
                )
                for i in others
            ),
        )  # fmt: skip


def _tasks(stacks: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """What can be compared: a data set, and a batch where several were measured."""
    several = stacks["batch"].nunique() > 1
    known = stacks[stacks["accuracy"].notna()]
    for (dataset, batch), own in known.groupby(["dataset", "batch"], sort=False):
        yield f"{dataset}, batch {batch:g}" if several else str(dataset), own


def budgets(machine: str, stacks: pd.DataFrame) -> list[Best]:
    """Where several budgets have the same best stack, the widest of them."""
    found = {(best.task, best.goal, best.key): best for best in _budgets(machine, stacks)}
    return sorted(found.values(), key=lambda best: (best.task, best.goal))


def _budgets(machine: str, stacks: pd.DataFrame) -> Iterator[Best]:
    """The strictest budgets first."""
    for task, own in _tasks(stacks):
        top = float(own["accuracy"].max())
        shares = zip(own["accuracy"], own["test_images"], strict=True)
        own = own.assign(accuracy_high=[wilson(share, images)[1] for share, images in shares])
        limits = dict.fromkeys(math.floor(1e4 * (top - loss)) / 1e4 for loss in _LOSSES)
        for limit in (limit for limit in limits if limit > 0):
            allowed = own[own["accuracy"] >= limit - 1e-9]  # 0.95 − 0.02 is not quite 0.93
            said = f"at an accuracy of {100 * limit:.2f} % or more on {task}"
            yield _fastest(machine, task, allowed, "accuracy", limit, said)
            if allowed["sparse_bytes"].notna().any():
                yield _smallest(machine, task, allowed, limit, said)
        for limit in _times(own["latency_s"]):
            allowed = own[own["latency_s"] <= limit]
            said = f"within {1e3 * limit:g} ms on {task}"
            yield _most_accurate(machine, task, allowed, limit, said)


def _times(latency: pd.Series) -> list[float]:
    low, high = float(latency.min()), float(latency.max())
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [step * 10.0**power for power in powers for step in _STEPS]
    found = [step for step in steps if low <= step < high]
    return [*found, next(step for step in steps if step >= high)]


def _fastest(
    machine: str, task: str, allowed: pd.DataFrame, budget: str, limit: float, said: str
) -> Best:
    best = allowed.iloc[int(allowed["latency_s"].to_numpy(float).argmin())]
    near = ~(allowed["latency_low_s"] > best["latency_high_s"])
    rivals = _others(allowed[near].sort_values("latency_s", kind="stable"), best["key"])
    value = float(best["latency_s"])
    sentence = (
        f"The fastest stack {said} takes {1e3 * value:.3g} ms and has {_percent(best)}: "
        f"{stack_words(best)}"
    )
    return Best(
        machine, task, "latency_s", budget, limit, _with(sentence, rivals), best["key"], value,
        rivals,
    )  # fmt: skip


def _smallest(machine: str, task: str, allowed: pd.DataFrame, limit: float, said: str) -> Best:
    least = allowed["sparse_bytes"].min()
    same = allowed[allowed["sparse_bytes"] == least].sort_values("latency_s", kind="stable")
    best = same.iloc[0]
    sentence = (
        f"The smallest network {said} has {float(best['sparse_bytes']) / 1e6:.3g} MB of weights "
        f"and {_percent(best)}, at its fastest: {stack_words(best)}."
    )
    value = float(best["sparse_bytes"])
    return Best(
        machine, task, "sparse_bytes", "accuracy", limit, sentence, best["key"], value,
        _others(same, best["key"]),
    )  # fmt: skip


def _most_accurate(machine: str, task: str, allowed: pd.DataFrame, limit: float, said: str) -> Best:
    """Rivals: as accurate, or their intervals over the test images overlap."""
    ordered = allowed.sort_values("latency_s", kind="stable")
    best = ordered.iloc[int(ordered["accuracy"].to_numpy(float).argmax())]
    low, _ = wilson(float(best["accuracy"]), float(best["test_images"]))
    near = (ordered["accuracy"] == best["accuracy"]) | (ordered["accuracy_high"] >= low)
    rivals = _others(ordered[near], best["key"])
    sentence = (
        f"The most accurate stack {said} has {_percent(best)} and takes "
        f"{1e3 * float(best['latency_s']):.3g} ms: {stack_words(best)}"
    )
    return Best(
        machine, task, "accuracy", "latency_s", limit, _with(sentence, rivals), best["key"],
        float(best["accuracy"]), rivals,
    )  # fmt: skip


def _others(stacks: pd.DataFrame, key: str) -> tuple[str, ...]:
    return tuple(stacks.loc[stacks["key"] != key, "key"])


def _with(sentence: str, rivals: tuple[str, ...]) -> str:
    if not rivals:
        return f"{sentence}."
    others = "another stack" if len(rivals) == 1 else f"{len(rivals)} others"
    return f"{sentence}; {others} cannot be told apart from it."


def _percent(stack: pd.Series) -> str:
    return f"{100 * float(stack['accuracy']):.2f} %"


def stack_words(stack: pd.Series) -> str:
    algorithm = "" if stack["primitive"] == "vendor" else f", {stack['algorithm']}"
    compressed = "" if stack["optimizations"] == "none" else f" with {stack['optimizations']}"
    threads = "1 thread" if stack["threads"] == 1 else f"{stack['threads']:g} threads"
    return f"{stack['model']}{compressed} on {stack['system']}{algorithm}, {threads}"
