"""Verdicts of published claims, made ready for the page: the paper's observations first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlas.report.evidence import Rows
from dlas.report.quantities import ABSENT, count, number, scaled, with_unit

if TYPE_CHECKING:
    from dlas.analysis.claims import Number, Verdict

#: Every verdict has a sign, so that none is told by its colour alone.
SIGNS = {"holds": "✓", "contradicted": "✗", "undecided": "≈", "not testable here": "–"}
OBSERVATIONS = "The thirteen observations of the paper"
OTHERS = "Other claims"


def verdict_groups(verdicts: Sequence[Verdict], rows: Rows) -> list[dict[str, Any]]:
    """Per machine the observations and then the others: ``title``, ``summary``, ``verdicts``."""
    groups = []
    machines = list(dict.fromkeys(verdict.machine for verdict in verdicts))
    for place, machine in enumerate(machines):
        own = [verdict for verdict in verdicts if verdict.machine == machine]
        for title, of_paper in ((OBSERVATIONS, True), (OTHERS, False)):
            found = [verdict for verdict in own if is_observation(verdict) == of_paper]
            if not found:
                continue
            on = f", on {machine}" if len(machines) > 1 else ""
            groups.append(
                {
                    "title": title + on,
                    "summary": _summary(found),
                    "verdicts": [_shown(verdict, rows, place) for verdict in found],
                }
            )
    return groups


def verdict_counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many there are of each verdict, 0 left out, in the order of ``SIGNS``."""
    found = Counter(str(verdict.verdict) for verdict in verdicts)
    return {word: found[word] for word in SIGNS if found[word]}


def is_observation(verdict: Verdict) -> bool:
    return verdict.claim.kind == "observation"


def _summary(verdicts: Sequence[Verdict]) -> str:
    said = [f"{word} {many}" for word, many in verdict_counts(verdicts).items()]
    return f"{count(len(verdicts), 'claim')}: {', '.join(said)}."


def _shown(verdict: Verdict, rows: Rows, place: int) -> dict[str, Any]:
    claim = verdict.claim
    return {
        "id": f"claim-{claim.id}" + (f"-{place + 1}" if place else ""),
        "verdict": str(verdict.verdict),
        "title": claim.title,
        "statement": claim.statement,
        "quoted": claim.quoted,
        "source": ", ".join(filter(None, [claim.source.paper, claim.source.section])),
        "reading": claim.reading,
        "sentence": verdict.sentence,
        "numbers": [_number(one, rows) for one in verdict.numbers],
        "missing": list(verdict.missing),
        **rows.link(verdict.rows),
    }


def _number(one: Number, rows: Rows) -> dict[str, Any]:
    ends = [one.low, one.high]
    known = all(math.isfinite(end) for end in ends)
    low, high = (_text(end, one.unit) for end in ends)
    return {
        "label": one.label,
        "value": _text(one.value, one.unit),
        "interval": f"{low} – {high}" if known else "unknown",
        **rows.link(one.keys),
    }


def _text(value: float, unit: str) -> str:
    """A number as people read it; shares in per cent, seconds and bytes with a prefix."""
    if not math.isfinite(value):
        return ABSENT
    if unit == "share":
        return with_unit(number(value * 100), "%")
    if unit == "s":
        return with_unit(number(value * 1e3), "ms")
    if unit == "bytes":
        return scaled(value, "B")
    return with_unit(number(value), unit) if unit else number(value)
