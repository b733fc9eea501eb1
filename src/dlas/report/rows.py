"""A results frame made ready for people: texts never NaN, numbers always floats, rows named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from dlas.store.schema import RESULTS

TEXTS = [c.name for c in RESULTS if not c.unit]
NUMBERS = [c.name for c in RESULTS if c.unit]
#: Short words for a status, where a number would stand.
STATUS_WORDS = {
    "ok": "measured",
    "refused": "refused",
    "failed": "failed",
    "out_of_memory": "out of memory",
    "timed_out": "timed out",
    "pending": "pending",
}


def ready(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with rows numbered from 0, an ``engine`` column (system and algorithm) and a
    ``task`` column (only stacks of one task can be compared)."""
    result = frame.reset_index(drop=True)
    texts = {
        name: ["" if pd.isna(value) else str(value) for value in result[name]] for name in TEXTS
    }
    numbers = {name: pd.to_numeric(result[name]).astype(float) for name in NUMBERS}
    result = pd.DataFrame({**texts, **numbers}, index=result.index)
    pairs = zip(result["system"], result["algorithm"], strict=True)
    result["engine"] = [engine(system, algorithm) for system, algorithm in pairs]
    result["task"] = _tasks(result)
    return result


def _tasks(frame: pd.DataFrame) -> list[str]:
    """Data set and hardware; the machine where there are several, since the same choice of hardware
    is another device on each; images per inference where they differ."""
    labels = frame.groupby("machine")["hardware"].nunique()
    several, batches = len(machines(frame)) > 1, frame["batch"].nunique() > 1
    found = []
    columns = (frame[name] for name in ("dataset", "hardware", "machine", "batch"))
    for dataset, hardware, machine, batch in zip(*columns, strict=True):
        place = [hardware]
        if several:
            place = [hardware] if labels[machine] > 1 else []
            place.append(machine or "an unknown machine")
        if batches and pd.notna(batch):
            place.append(f"{batch:.0f} at a time")
        found.append(f"{dataset} on {', '.join(place)}")
    return found


def machines(frame: pd.DataFrame) -> list[str]:
    """The devices that stacks were timed on, or would be, by their sentences; "" is unknown."""
    return [str(m) for m in frame["machine"].unique()]


def engine(system: str, algorithm: str) -> str:
    """System and algorithm in one name; a system that chooses for itself stands alone."""
    return system if algorithm == "vendor" else f"{system} · {algorithm}"


def name(row: pd.Series) -> str:
    """What tells a stack from the others of its task."""
    return f"{row['model']} · {row['optimizations']} · {row['engine']}"


def at(frame: pd.DataFrame, index: Any) -> pd.Series:
    """One row."""
    row: pd.Series = frame.loc[index]
    return row


def word(row: pd.Series) -> str:
    """What stands where a latency is missing."""
    status = str(row["status"])
    return "no latency" if status == "ok" else STATUS_WORDS.get(status, status)


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame["status"] == "ok") & frame["latency_s"].notna()]


def tasks(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for task in frame["task"].unique():
        yield task, frame[frame["task"] == task]


def absences(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Every stack without a number, gathered by what happened: ``word``, ``stage``, ``sentence``,
    the ``stacks`` by name and their ``rows``."""
    found = []
    absent = frame[frame["status"] != "ok"]
    several = frame["task"].nunique() > 1
    alike = absent.groupby(["status", "stage", "message"], sort=False)
    for _, group in alike:
        rows = [row for _, row in group.iterrows()]
        found.append(
            {
                "word": word(rows[0]),
                "stage": rows[0]["stage"],
                "sentence": rows[0]["message"] or "No reason was recorded.",
                "stacks": [name(r) + (f" ({r['task']})" if several else "") for r in rows],
                "rows": list(group.index),
            }
        )
    return found
