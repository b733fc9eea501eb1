"""What was run where, and the cells without a number."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dlas.report.quantities import ABSENT, count
from dlas.report.rows import STATUS_WORDS, absences, ready
from dlas.report.tables.table import Table
from dlas.store.archive import StudyResults, joined


def studies(found: Sequence[StudyResults]) -> Table:
    """A row per study: its machine, when it was measured, how its stacks ended, and how wide the
    95 % interval of a latency is in the median."""
    rows = []
    for each in found:
        frame = ready(each.frame)
        timed = frame[frame["taken_at"] != ""]
        ends = frame["status"].value_counts()
        said = ", ".join(f"{n} {STATUS_WORDS.get(str(s), str(s))}" for s, n in ends.items())
        when = f"{timed['taken_at'].min()[:10]}" if len(timed) else "never"
        machines = "; ".join(m for m in frame["machine"].unique() if m) or "none"
        doubts = int((timed["warnings"] != "").sum())
        half = (timed["latency_high_s"] - timed["latency_low_s"]) / 2
        width = (half / timed["latency_s"]).median()
        interval = f"±{100 * width:.1f} %" if pd.notna(width) else ABSENT
        row = [each.study, machines, when, count(len(frame), "stack") + f": {said}"]
        rows.append([*row, str(doubts), interval])
    headings = ["Study", "Machine", "Measured on", "Stacks", "With warnings", "Interval, median"]
    return Table(headings, rows, texts=4)


def holes(found: Sequence[StudyResults]) -> Table:
    """Every stack without a number, gathered by the sentence that says why."""
    frame = ready(joined(found).frame)
    rows = [
        [
            absence["word"],
            str(len(absence["rows"])),
            _named(frame.loc[absence["rows"]]),
            absence["sentence"],
        ]
        for absence in absences(frame)
    ]
    nothing = "" if rows else "Every stack was measured."
    return Table(["How it ended", "Stacks", "Which", "Why"], rows, texts=4, notes=[nothing])


def _named(stacks: pd.DataFrame) -> str:
    """The choices that these stacks have, by field; those of which there are many are counted."""
    parts = []
    for column in ("network", "compression", "primitive", "software", "tuning", "threads"):
        values = list(dict.fromkeys(str(v).removesuffix(".0") for v in stacks[column]))
        if column == "threads":
            values = [] if values == ["1"] else [f"{v} threads" for v in values]
        if values and values != ["none"] and values != ["vendor"]:
            parts.append(", ".join(values) if len(values) <= 4 else f"{len(values)} {column}s")
    return " · ".join(parts)
