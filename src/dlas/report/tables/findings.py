"""What the analysis found: verdicts of claims, explained variance, flips."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from dlas.analysis.claims import judge, published
from dlas.analysis.interactions import Effect, understand
from dlas.analysis.words import NUMBERS
from dlas.errors import InputError
from dlas.layer import did_you_mean
from dlas.report.quantities import ABSENT
from dlas.report.tables.stacks import together, whole_number
from dlas.report.tables.table import Table
from dlas.store.archive import StudyResults


def verdicts(found: Sequence[StudyResults], only: str = ".*") -> Table:
    """Of the published claims whose names match ``only``, a regular expression: the verdict and
    why."""
    try:
        named = re.compile(only)
    except re.error as error:
        raise InputError(f"only={only} is not a regular expression: {error}") from None
    claims = [claim for claim in published() if named.fullmatch(claim.id)]
    whole = together(found)
    rows = [
        [
            each.claim.id.removeprefix("dlas."),
            each.claim.title,
            f"**{each.verdict}**",
            each.sentence,
        ]
        for each in judge(claims, whole.frame, whole.rounds)
    ]
    return Table(["Claim", "Says", "Verdict", "Why"], rows, texts=4)


def effects(found: Sequence[StudyResults], quantity: str = "latency_s") -> Table:
    """The share of the variance of log latency, or another quantity, that each choice and each pair
    of choices explains, most first."""
    if quantity not in NUMBERS:
        hint = did_you_mean(quantity, NUMBERS) or f"; there are {', '.join(NUMBERS)}"
        raise InputError(f"there is no quantity {quantity!r}{hint}")
    whole = together(found)
    effects = understand(whole.frame, whole.rounds).effects
    known = [e for e in effects if e.quantity == quantity]
    rows = [
        [e.scope or "all stacks", " × ".join(e.factors), _percent(e.share), _interval(e)]
        for e in sorted(known, key=lambda e: (e.scope, -e.share))
    ]
    return Table(["Among", "Choice", "Share, %", "95 % interval"], rows, texts=2)


def _interval(effect: Effect) -> str:
    known = math.isfinite(effect.low) and math.isfinite(effect.high)
    return f"{_percent(effect.low)}–{_percent(effect.high)}" if known else ABSENT


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if math.isfinite(share) else ABSENT


def flips(found: Sequence[StudyResults], most: str = "20") -> Table:
    """The changes of the best choice where only one other choice changes, those that cost most
    first."""
    shown, whole = whole_number("most", most), together(found)
    known = understand(whole.frame, whole.rounds).flips
    rows = [[flip.sentence] for flip in known[:shown]]
    more = len(known) - len(rows)
    return Table(["Flip"], rows, notes=[f"And {more} more." if more > 0 else ""])
