"""Flips made ready for the page: each sentence with its evidence and a small chart of intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlas.analysis.words import level_word
from dlas.report.evidence import Rows
from dlas.report.quantities import count, times

if TYPE_CHECKING:
    from dlas.analysis.interactions import Flip

_MIDDLE, _HALF = 170.0, 162.0
_LINES = {"before": 46.0, "after": 80.0}


def shown_flips(flips: Sequence[Flip], rows: Rows, first: int) -> list[dict[str, Any]]:
    """``first``: the number of the first, by which the page names them."""
    return [
        {
            "id": f"flip-{first + i}",
            "sentence": flip.sentence,
            "best_before": level_word(flip.of, flip.best_before),
            "best_after": level_word(flip.of, flip.best_after),
            "contexts": list(flip.contexts),
            "looked": flip.looked,
            "chart": chart(flip),
            **rows.link(flip.rows),
        }
        for i, flip in enumerate(flips)
    ]


def chart(flip: Flip) -> dict[str, Any] | None:
    """A line before and one after the change, on a logarithmic scale: how many times as fast the
    best of the one is as the best of the other. None where a number is unknown."""
    before = flip.margin_before, flip.low_before, flip.high_before
    after = 1 / flip.margin, 1 / flip.high, 1 / flip.low
    if not all(math.isfinite(v) and v > 0 for v in (*before, *after)):
        return None
    reach = max(max(abs(math.log(v)) for v in (*before, *after)) * 1.08, math.log(1.1))

    def x(ratio: float) -> float:
        return round(_MIDDLE + _HALF * math.log(ratio) / reach, 1)

    lines = [
        {"kind": kind, "label": label, "y": _LINES[kind], "low": x(low), "x": x(v), "high": x(high)}
        for kind, label, (v, low, high) in (
            ("before", level_word(flip.changed, flip.before), before),
            ("after", level_word(flip.changed, flip.after), after),
        )
    ]
    return {
        "middle": _MIDDLE,
        "ticks": [{"x": x(t), "text": _tick(t)} for t in _ticks(reach)],
        "lines": lines,
        "said": (
            f"{flip.before}: {flip.best_before} is {_times(before)} as fast as {flip.best_after}; "
            f"{flip.after}: {flip.best_after} is {_times((flip.margin, flip.low, flip.high))} "
            f"as fast as {flip.best_before}, {count(len(flip.contexts), 'context')}."
        ),
    }


def _times(ends: tuple[float, float, float]) -> str:
    value, low, high = (times(v) for v in ends)
    return f"{value} ({low}–{high})"


def _ticks(reach: float) -> list[float]:
    """Ratios to both sides of 1."""
    for steps in ((1.02, 1.05), (1.1, 1.2), (1.2, 1.5), (1.5, 2), (2, 4), (3, 10), (10, 100)):
        if math.log(steps[1]) * 1.6 > reach:
            break
    sides = [step for step in steps if math.log(step) < reach * 0.95]
    return [1 / step for step in sides[::-1]] + list(sides)


def _tick(ratio: float) -> str:
    """On either side of 1 the times as fast."""
    return f"{max(ratio, 1 / ratio):.3g}×"
