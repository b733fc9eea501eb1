"""What is said about a claim, with the numbers behind it."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Finding:
    """What one test of a claim found."""

    verdict: Word
    sentence: str
    numbers: tuple[Number, ...] = ()
    missing: tuple[str, ...] = ()

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
