"""Flips made ready for the page: each sentence with its evidence and a small chart of intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from dlas.report.evidence import Rows
from dlas.report.quantities import count, times

if TYPE_CHECKING:
    from dlas.analysis.interactions import Flip

#: Lines of a chart; the table shows the stacks of all.
LINES = 6
_LEFT, _RIGHT = 16.0, 424.0
_STEP = 34
#: What tells a stack from others; where a flip happens are those that it does not speak of.
_CHOICES = (
    "dataset", "network", "compression", "optimizations", "primitive", "format", "software",
    "tuning", "threads", "batch",
)  # fmt: skip


def shown_flips(
    flips: Sequence[Flip], stacks: pd.DataFrame, rows: Rows, first: int
) -> list[dict[str, Any]]:
    """``first``: the number of the first, by which the page names them."""
    return [
        {
            "id": f"flip-{first + i}",
            "sentence": flip.sentence,
            "best_before": flip.best_before,
            "best_after": flip.best_after,
            "chart": chart(flip, _evidence(flip, stacks, rows)),
            **rows.link(flip.rows),
        }
        for i, flip in enumerate(flips)
    ]


def _evidence(flip: Flip, stacks: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    found = [rows[key] for key in flip.rows]
    return stacks.loc[sorted({row for row in found if row is not None})]


def chart(flip: Flip, evidence: pd.DataFrame) -> dict[str, Any] | None:
    """How many times as fast ``best_before`` is as ``best_after``, before and after the change,
    one line per context, on a logarithmic scale; None where the evidence holds no such four."""
    found = list(_ratios(flip, evidence))
    if not found:
        return None
    shown = found[:LINES]
    reach = max(max(abs(math.log(v)) for v in ends) for _, *both in shown for ends in both)
    reach = max(reach * 1.08, math.log(1.1))
    height = 22 + _STEP * len(shown) + 16

    def x(ratio: float) -> float:
        return round((_LEFT + _RIGHT) / 2 + (_RIGHT - _LEFT) / 2 * math.log(ratio) / reach, 1)

    lines = []
    for i, (label, before, after) in enumerate(shown):
        ends = [
            {"kind": kind, "low": x(low), "x": x(value), "high": x(high)}
            for kind, (value, low, high) in (("before", before), ("after", after))
        ]
        lines.append({"label": label, "y": 22 + _STEP * i + 23, "ends": ends})
    more = len(found) - len(shown)
    return {
        "height": height,
        "middle": x(1.0),
        "ticks": [{"x": x(t), "text": _tick(t)} for t in _ticks(reach)],
        "lines": lines,
        "more": f"The same in {count(more, 'more context')}." if more else "",
        "said": _said(flip, shown),
    }


Ratio = tuple[float, float, float]


def _ratios(flip: Flip, evidence: pd.DataFrame) -> Iterator[tuple[str, Ratio, Ratio]]:
    """(context, before, after): latency of ``best_after`` over that of ``best_before``, with the
    ends of both intervals."""
    fixed = [c for c in _CHOICES if c not in (flip.changed, flip.of)]
    tied = {"compression": "optimizations", "optimizations": "compression"}
    fixed = [c for c in fixed if c not in (tied.get(flip.changed), tied.get(flip.of))]
    differing = [c for c in fixed if evidence[c].nunique() > 1]
    for context, group in evidence.groupby(fixed, sort=False, dropna=False):
        cells = {
            (row[flip.changed], row[flip.of]): row
            for _, row in group.sort_values("latency_s", ascending=False).iterrows()
        }
        both = []
        for level in (flip.before, flip.after):
            slow = cells.get((level, flip.best_after))
            fast = cells.get((level, flip.best_before))
            if slow is not None and fast is not None:
                both.append(_ratio(slow, fast))
        if len(both) == 2 and all(math.isfinite(v) and v > 0 for ends in both for v in ends):
            known = dict(zip(fixed, context, strict=True))
            yield " · ".join(str(known[c]) for c in differing) or "all else alike", *both


def _ratio(over: pd.Series, under: pd.Series) -> Ratio:
    return (
        over["latency_s"] / under["latency_s"],
        over["latency_low_s"] / under["latency_high_s"],
        over["latency_high_s"] / under["latency_low_s"],
    )


def _ticks(reach: float) -> list[float]:
    """Ratios to both sides of 1."""
    for steps in ((1.05, 1.1), (1.1, 1.25), (1.25, 1.5), (1.5, 2), (2, 4), (3, 10), (10, 100)):
        if math.log(steps[1]) * 1.6 > reach:
            break
    sides = [step for step in steps if math.log(step) < reach * 0.95]
    return [1 / step for step in sides[::-1]] + sides


def _tick(ratio: float) -> str:
    return f"{ratio:g}×" if ratio >= 1 else f"1/{1 / ratio:g}×"


def _said(flip: Flip, shown: Sequence[tuple[str, Ratio, Ratio]]) -> str:
    lines = [
        f"{label}: {times(before[0])} before and {times(after[0])} after"
        for label, before, after in shown
    ]
    return f"{flip.best_before} against {flip.best_after}, times as fast. {'; '.join(lines)}."
