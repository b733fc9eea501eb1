"""Networks in several precisions, side by side for every algorithm and system: what a narrower type
gains in time and what it loses in accuracy, as executed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dlas.analysis.speedup import NONE
from dlas.report.quantities import QUANTITIES, times
from dlas.report.rows import tasks, word

PLAIN = "float32"
SHARES = ("accuracy", "label_agreement", "output_agreement")


def precision_tables(stacks: pd.DataFrame) -> list[dict[str, Any]]:
    """Per task and model a table of engines × optimizations, the network as it was trained first
    and then those of a reduced precision; none for a model in one precision only. A frame of
    ``rows.ready``."""
    tables = []
    for task, group in tasks(stacks):
        for model, rows in group.groupby("model", sort=False):
            reduced = rows[~rows["precision"].isin(["", PLAIN])]
            if reduced.empty:
                continue
            precisions = reduced.drop_duplicates("optimizations").set_index("optimizations")
            columns = {NONE: PLAIN, **precisions["precision"].to_dict()}
            shown = rows[rows["optimizations"].isin(list(columns))]
            tables.append(
                {
                    "task": task,
                    "model": model,
                    "columns": columns,
                    "engines": list(dict.fromkeys(shown["engine"])),
                    "cells": {
                        (row["engine"], row["optimizations"]): _cell(row)
                        for _, row in shown.iterrows()
                    },
                }
            )
    return tables


def _cell(row: pd.Series) -> dict[str, Any]:
    """Texts of a stack's numbers; "" for what there is not."""
    if row["status"] != "ok":
        return {"word": word(row), "why": row["message"]}
    speedup = row["measured_speedup"]
    has_speedup = row["optimizations"] != NONE and pd.notna(speedup)
    return {
        "word": "",
        "why": row["emulated"],
        "latency": QUANTITIES["latency_s"].text(row["latency_s"]),
        "speedup": times(speedup) if has_speedup else "",
        **{
            name: QUANTITIES[name].text(row[name]) if pd.notna(row[name]) else "" for name in SHARES
        },
    }
