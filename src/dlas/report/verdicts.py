"""Verdicts of published claims, made ready for the page: the paper's observations first."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlas.report.evidence import Rows
from dlas.report.quantities import ABSENT, count, number, scaled, with_unit

if TYPE_CHECKING:
    from dlas.analysis.claims import Number, Verdict

#: Every verdict has a sign, so that none is told by its colour alone.
SIGNS = {"holds": "✓", "contradicted": "✗", "undecided": "≈", "not testable here": "–"}
UNTESTABLE = list(SIGNS)[-1]
OBSERVATIONS = "The paper's thirteen observations"
OTHERS = "Other claims"
#: Where one part of a claim's sentence ends.
_PART = re.compile(rf"(\((?:{'|'.join(SIGNS)})\)) ")


def verdict_groups(verdicts: Sequence[Verdict], rows: Rows) -> list[dict[str, Any]]:
    """Per machine and source the observations, then the others: ``title``, ``paper``, ``summary``,
    ``verdicts``, and apart from those ``untestable`` ones that are no observations."""
    found: dict[tuple[str, bool, str], list[Verdict]] = {}
    for verdict in verdicts:
        paper = verdict.claim.source.paper
        found.setdefault((verdict.machine, not is_observation(verdict), paper), []).append(verdict)
    places = list(dict.fromkeys(machine for machine, _, _ in found))
    groups = []
    for machine, other, paper in sorted(found, key=lambda g: (places.index(g[0]), g[1])):
        own = found[machine, other, paper]
        shown = [_shown(verdict, rows, places.index(machine)) for verdict in own]
        apart = [one for one in shown if other and one["verdict"] == UNTESTABLE]
        groups.append(
            {
                "title": (OTHERS if other else OBSERVATIONS)
                + (f", {machine}" if len(places) > 1 else ""),
                "paper": paper,
                "summary": _summary(own),
                "verdicts": [one for one in shown if one not in apart],
                "untestable": apart,
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
    number = claim.id.rpartition(".")[2]
    return {
        "id": f"claim-{claim.id.replace('.', '-')}" + (f"-{place + 1}" if place else ""),
        "name": claim.id,
        "verdict": str(verdict.verdict),
        "title": f"{number} · {claim.title}" if is_observation(verdict) else claim.title,
        "statement": claim.statement,
        "quoted": claim.quoted,
        "section": claim.source.section,
        "reading": claim.reading,
        "sentences": _PART.sub(r"\1\n", verdict.sentence).split("\n"),
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
