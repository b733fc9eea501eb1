"""What is said about a claim, with the numbers behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dlas.analysis.claims.claim import Claim

Word = Literal["holds", "contradicted", "undecided", "not testable here"]
HOLDS: Word = "holds"
CONTRADICTED: Word = "contradicted"
UNDECIDED: Word = "undecided"
NOT_TESTABLE: Word = "not testable here"

NAN = float("nan")


def word(so: bool, not_so: bool) -> Word:
    """By whether it is so beyond doubt, and whether it is not."""
    return HOLDS if so else CONTRADICTED if not_so else UNDECIDED


@dataclass(frozen=True)
class Number:
    """``value`` with a 95 % interval in ``unit``; NaN ends where there is none. ``keys``: the
    stacks it comes from."""

    label: str
    value: float
    low: float = NAN
    high: float = NAN
    unit: str = ""
    keys: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """``1.31× [1.20, 1.44]``, ``40 %``, ``1.8 points``."""
        form = "{:.0%}" if self.unit == "share" else "{:.3g}"
        unit = {"share": "", "×": "×"}.get(self.unit, f" {self.unit}")
        text = f"{form.format(self.value)}{unit}".rstrip()
        if math.isnan(self.low) or math.isnan(self.high) or self.low == self.high:
            return text
        return f"{text} [{form.format(self.low)}, {form.format(self.high)}]"


@dataclass(frozen=True)
class Finding:
    """What one test of a claim found. ``settings``: in how many it was tested, or on how many
    networks where it is about those."""

    verdict: Word
    sentence: str
    numbers: tuple[Number, ...] = ()
    missing: tuple[str, ...] = ()
    settings: int = 0

    @classmethod
    def untestable(cls, missing: Sequence[str], sentence: str = "") -> Finding:
        """``missing``: one or more; the first says why, unless there is a sentence."""
        return cls(NOT_TESTABLE, sentence or missing[0], missing=tuple(missing))

    @property
    def testable(self) -> bool:
        return self.verdict != NOT_TESTABLE


@dataclass(frozen=True)
class Verdict:
    """``sentence``: why, with the numbers. ``rows``: keys of the stacks behind it. ``missing``:
    which cells are missing, and what would make it testable."""

    claim: Claim
    machine: str
    verdict: Word
    sentence: str
    numbers: tuple[Number, ...] = ()
    rows: tuple[str, ...] = ()
    missing: tuple[str, ...] = field(default=())
