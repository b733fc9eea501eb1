"""What a study teaches: which choices matter, which depend on each other, which are best.

Machines are never mixed: every statement is of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlas.analysis.interactions.anova import variances
from dlas.analysis.interactions.best import budgets, fronts
from dlas.analysis.interactions.correlations import correlations
from dlas.analysis.interactions.flips import find_flips
from dlas.analysis.interactions.grid import CHOICES, Grid, grids
from dlas.analysis.interactions.records import (
    NEGLIGIBLE,
    Best,
    Correlation,
    Dominated,
    Effect,
    Flip,
    Front,
    Rest,
    Steady,
    Understanding,
)
from dlas.analysis.interactions.timings import Timings
from dlas.analysis.words import count, listed

__all__ = [
    "NEGLIGIBLE",
    "Best",
    "Correlation",
    "Dominated",
    "Effect",
    "Flip",
    "Front",
    "Rest",
    "Steady",
    "Understanding",
    "understand",
]


def understand(
    frame: pd.DataFrame, rounds: Mapping[str, NDArray[np.float64]] | None = None
) -> Understanding:
    """``frame``: one row per stack, the columns of ``store.schema.RESULTS``. ``rounds``: by
    key the median latency of each round, in seconds; without them, comparisons rest on the frame's
    intervals alone."""
    parts = [_of_machine(*own, rounds) for own in _machines(frame)]
    said = [sentence for part in parts for sentence in part.said]
    return Understanding(
        tuple(machine for part in parts for machine in part.machines),
        (*_said(frame, parts), *said),
        *(
            tuple(one for part in parts for one in getattr(part, name))
            for name in ("effects", "rests", "flips", "steady", "correlations", "fronts", "budgets")
        ),
    )


_NUMBERS = (
    "latency_s", "latency_low_s", "latency_high_s", "accuracy", "macs", "effective_macs",
    "sparse_bytes", "threads", "batch", "test_images",
)  # fmt: skip


def _machines(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The measured stacks by machine. What was not recorded is the usual or unknown."""
    stacks = frame.assign(test_images=frame.get("test_images", np.nan)).reset_index(drop=True)
    numbers = {name: pd.to_numeric(stacks[name]).astype(float) for name in _NUMBERS}
    texts = {"machine", *CHOICES, *CHOICES.values()} - set(_NUMBERS)
    stacks = stacks.assign(
        **numbers, **{name: stacks[name].astype(object).fillna("unknown") for name in texts}
    ).fillna({"threads": 1, "batch": 1})
    latency = stacks["latency_s"]
    stacks = stacks[(latency > 0) & np.isfinite(latency)]
    return [(str(machine), own) for machine, own in stacks.groupby("machine", sort=False)]


def _said(frame: pd.DataFrame, parts: list[Understanding]) -> list[str]:
    if frame.empty:
        return ["The study has no stacks, so there is nothing to understand."]
    if not parts:
        statuses = frame["status"].astype(str).str.replace("_", " ").value_counts()
        how = ", ".join(f"{number} {status}" for status, number in statuses.items())
        return [f"No stack has a latency ({how}), so there is nothing to understand."]
    if len(parts) > 1:
        names = listed([part.machines[0] for part in parts])
        return [f"{len(parts)} machines are analysed apart, never compared: {names}."]
    return []


def _of_machine(
    machine: str, stacks: pd.DataFrame, rounds: Mapping[str, NDArray[np.float64]] | None
) -> Understanding:
    if len(stacks) == 1:
        only = f"{machine}: only one stack was measured, so there is nothing to compare."
        one = Understanding((machine,), (only,))
        return replace(
            one, fronts=tuple(fronts(machine, stacks)), budgets=tuple(budgets(machine, stacks))
        )
    crossed = list(grids(machine, stacks))
    said = [f"{machine}: {sentence}" for grid in crossed for sentence in grid.said]
    if stacks["accuracy"].isna().all():
        said.append(
            f"{machine}: no accuracy is known (networks that were never trained have none), so "
            "nothing is said of it, of fronts or of budgets."
        )
    narrow = stacks["latency_low_s"].notna() & stacks["latency_high_s"].notna()
    if not narrow.all():
        said.append(
            f"{machine}: {count(int((~narrow).sum()), 'stack')} of {len(stacks)} ran too few times "
            "for an interval of latency, so no flip is told of them."
        )
    found = [
        variances(*known)
        for grid in crossed
        for known in _quantities(grid, with_size=grid is crossed[-1])
    ]
    flips = find_flips(crossed, rounds)
    return Understanding(
        (machine,),
        tuple(dict.fromkeys([*said, *(s for one in found for s in one.said)])),
        tuple(effect for one in found for effect in one.effects),
        tuple(rest for one in found for rest in one.rest),
        flips.flips,
        flips.steady,
        tuple(correlations(machine, stacks)),
        tuple(fronts(machine, stacks)),
        tuple(budgets(machine, stacks)),
    )


def _quantities(
    grid: Grid, with_size: bool
) -> Iterator[tuple[Grid, str, NDArray[np.float64], NDArray[np.float64]]]:
    """Log latency and its noise, accuracy as it is, log size, which no system changes."""
    for quantity in ("latency_s", "accuracy", "sparse_bytes")[: 3 if with_size else 2]:
        values = grid.stacks[quantity].to_numpy(np.float64, na_value=np.nan)
        known = np.isfinite(values) & ((values > 0) | (quantity == "accuracy"))
        if known.sum() < 2:
            continue
        own = grid.where(known)
        values = values[known] if quantity == "accuracy" else np.log(values[known])
        noise = np.zeros(len(values))
        if quantity == "latency_s":
            noise = Timings(own.stacks, None).error
        yield own, quantity, values, noise
