"""A results frame made ready for people: texts never NaN, numbers always floats, names for a row."""

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
    "out_of_memory": "no memory",
    "timed_out": "timed out",
    "pending": "pending",
}


def ready(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with rows numbered from 0, an ``engine`` column (system and algorithm) and a
    ``task`` column (data set and hardware: only stacks of one task can be compared)."""
    result = frame.reset_index(drop=True)
    texts = {
        name: ["" if pd.isna(value) else str(value) for value in result[name]] for name in TEXTS
    }
    numbers = {name: pd.to_numeric(result[name]).astype(float) for name in NUMBERS}
    result = pd.DataFrame({**texts, **numbers}, index=result.index)
    pairs = zip(result["system"], result["algorithm"], strict=True)
    result["engine"] = [engine(system, algorithm) for system, algorithm in pairs]
    result["task"] = result["dataset"] + " on " + result["hardware"]
    return result


def engine(system: str, algorithm: str) -> str:
    """System and algorithm in one name; a system that chooses for itself stands alone."""
    return system if algorithm == "vendor" else f"{system} · {algorithm}"


def name(row: pd.Series) -> str:
    """What tells a stack from the others of its task."""
    return f"{row['model']} · {row['optimizations']} · {row['engine']}"


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame["status"] == "ok") & frame["latency_s"].notna()]


def tasks(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for task in frame["task"].unique():
        yield task, frame[frame["task"] == task]


def absences(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Every stack without a number, gathered by what happened: word, stage, sentence, stacks."""
    found = []
    absent = frame[frame["status"] != "ok"]
    several = frame["task"].nunique() > 1
    for (status, stage, message), group in absent.groupby(["status", "stage", "message"], sort=False):
        names = [f"{name(row)} ({row['task']})" if several else name(row) for _, row in group.iterrows()]
        found.append(
            {
                "word": STATUS_WORDS.get(status, status),
                "stage": stage,
                "sentence": message or "No reason was recorded.",
                "stacks": names,
            }
        )
    return found
