"""What the optimizations promise against what the clock says.

A promise comes from arithmetic alone (fewer multiply-accumulates, narrower numbers). Whether a
system keeps it is the across-stack question: observations IV-VI of Gibson et al., "DLAS: An
Exploration and Assessment of the Deep Learning Acceleration Stack", find that most do not.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

NONE = "none"
Row = Mapping[Hashable, Any]
_STATE = ["status", "message"]
CHOICES = ["dataset", "model", "optimizations", "algorithm", "system", "hardware"]


def promised_and_measured(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per optimized stack of a results frame, under the same index.

    ``promised``, ``measured`` (×, over no optimization), ``low`` and ``high`` (×, from the ends of
    both latency intervals, so wider than a 95 % interval), ``kept`` (measured / promised), and
    ``why``: the sentence that explains an absent number, "" where none is absent.
    """
    is_baseline = frame["optimizations"] == NONE
    base = frame[is_baseline].drop_duplicates("key").set_index("key")
    optimized = frame[~is_baseline]
    own = base.reindex(optimized["baseline"]).set_index(optimized.index)

    found = optimized[[*CHOICES, "emulated"]].copy()
    found["promised"] = optimized["promised_speedup"].astype(float)
    found["measured"] = optimized["measured_speedup"].astype(float)
    known = found["measured"].notna()
    low = own["latency_low_s"].astype(float) / optimized["latency_high_s"].astype(float)
    high = own["latency_high_s"].astype(float) / optimized["latency_low_s"].astype(float)
    found["low"], found["high"] = low.where(known), high.where(known)
    found["kept"] = found["measured"] / found["promised"]
    records = (table.to_dict("records") for table in (optimized[_STATE], own[_STATE], found))
    found["why"] = [_why(*three) for three in zip(*records, strict=True)]
    return found


def by_optimization(compared: pd.DataFrame) -> pd.DataFrame:
    """``promised_and_measured`` summed up: one row per optimizations × algorithm × system.

    ``promised``, ``measured``, ``low``, ``high`` and ``kept`` are geometric means over the
    ``measured_stacks`` of all ``stacks``; ``why`` and ``emulated`` tuples of distinct sentences.
    """
    by = ["optimizations", "algorithm", "system"]
    means = ["promised", "measured", "low", "high", "kept"]
    rows = []
    for keys, group in compared.groupby(by, sort=False):
        known = group[group["kept"].notna()]
        rows.append(
            {
                **dict(zip(by, keys, strict=True)),
                "stacks": len(group),
                "measured_stacks": len(known),
                **{name: _geometric_mean(known[name]) for name in means},
                "why": _distinct(group["why"]),
                "emulated": _distinct(known["emulated"]),
            }
        )
    columns = [*by, "stacks", "measured_stacks", *means, "why", "emulated"]
    return pd.DataFrame(rows, columns=columns)


def _why(stack: Row, baseline: Row, found: Row) -> str:
    if pd.notna(found["measured"]):
        return "" if pd.notna(found["promised"]) else "The promise of this optimization is unknown."
    if stack["status"] != "ok":
        return f"This stack was not measured: {_reason(stack)}"
    if pd.isna(baseline["status"]):
        return "The study has no stack without optimizations to compare with."
    if baseline["status"] != "ok":
        return f"The same stack without optimizations was not measured: {_reason(baseline)}"
    return "One of the two latencies is absent."


def _reason(row: Row) -> str:
    message = row["message"]
    known = isinstance(message, str) and message
    return f"{str(row['status']).replace('_', ' ')}, {message if known else 'no reason recorded'}"


def _geometric_mean(values: pd.Series) -> float:
    return float(np.exp(np.log(values.astype(float)).mean())) if len(values) else float("nan")


def _distinct(sentences: pd.Series) -> tuple[str, ...]:
    return tuple(dict.fromkeys(s for s in sentences if isinstance(s, str) and s))
