"""How sure a comparison is, and how sure "most of them" is.

A claim over n settings, "in at least u of n", is a partial conjunction hypothesis (Benjamini and
Heller, "Screening for partial conjunction hypotheses", Biometrics 64, 2008): with the chances p of
each setting's evidence arising where the statement is false there, the u-th smallest times
n − u + 1 bounds the chance for the whole, however the settings depend on each other. With u = 1 it
is Bonferroni's correction for "there is one", with u = n the weakest link for "everywhere".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dlas.analysis.claims.verdict import CONTRADICTED, HOLDS, NOT_TESTABLE, UNDECIDED, Word, word
from dlas.analysis.intervals import Z_95
from dlas.measure.statistics import t_factor

#: Chance of each of the two wrong words, "holds" and "contradicted", where nothing is so.
ALPHA = 0.025

HowOften = Literal["always", "generally", "sometimes", "rarely", "never"]


@dataclass(frozen=True)
class Effect:
    """A ratio (``logarithmic``) or a difference with its 95 % interval; NaN ends where unknown.
    ``degrees`` of freedom are behind the interval; few ones make far ends likelier."""

    value: float
    low: float
    high: float
    logarithmic: bool = False
    degrees: float = math.inf

    @classmethod
    def ratio(cls, value: float, low: float, high: float, degrees: float = math.inf) -> Effect:
        return cls(value, low, high, logarithmic=True, degrees=degrees)

    def chance_above(self, bound: float) -> float:
        """The chance of evidence this strong for "above the bound" where it is not above. The
        error is taken as Student's, on the logarithm for ratios, as wide as the interval's near
        side.
        Without an interval it is 1; an exact value gives 0 or 1."""
        return self._chance(self._along(self.value, bound), self._along(self.value, self.low))

    def chance_at_most(self, bound: float) -> float:
        """The same for "at most the bound", which an exact value may equal."""
        if self.low == self.value == self.high == bound:
            return 0.0
        return self._chance(self._along(bound, self.value), self._along(self.high, self.value))

    def _chance(self, distance: float, half: float) -> float:
        if math.isnan(half) or math.isnan(distance) or distance <= 0:
            return 1.0
        return _tail(distance / half, self.degrees) if half > 0 else 0.0

    def _along(self, value: float, start: float) -> float:
        if not self.logarithmic:
            return value - start
        return math.log(value / start) if value > 0 and start > 0 else math.nan


@dataclass(frozen=True)
class Decision:
    """Of n settings: ``verdict``, and in how many the statement is certainly true or false, each
    taken alone at 95 %."""

    verdict: Word
    true: int
    false: int
    needed: int


def decide(
    chances: Sequence[tuple[float, float]], how_often: HowOften, alpha: float = ALPHA
) -> Decision:
    """``chances``: per setting, of the evidence where the statement is false, and where it is true.

    "generally" is in more than half of the settings, "rarely" in fewer than a quarter."""
    n = len(chances)
    true = sorted(chance for chance, _ in chances)
    false = sorted(chance for _, chance in chances)
    certain = sum(c <= ALPHA for c in true), sum(c <= ALPHA for c in false)
    needed = {
        "always": n,
        "generally": n // 2 + 1,
        "sometimes": 1,
        "rarely": n - math.ceil(n / 4) + 1,
        "never": n,
    }[how_often]
    pro, contra = (false, true) if how_often in ("rarely", "never") else (true, false)
    so, not_so = conjunction(pro, needed) <= alpha, conjunction(contra, n - needed + 1) <= alpha
    return Decision(word(so, not_so), *certain, needed)


def conjunction(chances: Sequence[float], least: int) -> float:
    """The chance of this evidence for "at least ``least`` of them", ``chances`` rising."""
    return min(1.0, (len(chances) - least + 1) * chances[least - 1])


def all_of(words: Sequence[Word]) -> Word:
    """The verdict on statements joined by "and": one that is false decides, whatever the others
    are; else one that cannot be tested does, since the whole then cannot either."""
    order = (CONTRADICTED, NOT_TESTABLE, UNDECIDED, HOLDS)
    return min(words, key=order.index)


def _tail(halves: float, degrees: float) -> float:
    """The share of Student's distribution above so many halves of its 95 % interval."""
    if math.isinf(degrees):
        return 0.5 * math.erfc(Z_95 * halves / math.sqrt(2))
    from scipy.special import stdtr

    return float(stdtr(degrees, -t_factor(int(degrees)) * halves))
