"""Who gains less by a change? A ratio of two speedups."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from dlas.analysis.claims.evidence import Effect
from dlas.analysis.claims.kinds.counted import Counted, Weighed
from dlas.analysis.claims.quantity import Measures
from dlas.analysis.claims.select import Selector, short
from dlas.analysis.claims.settings import Setting, Sides
from dlas.errors import SpecError


class Gain(Counted, frozen=True, kw_only=True):
    """Going from ``before`` to ``after``, ``choice`` gains less than ``than`` (or, with ``gains =
    "differently"``, more or less by at least ``times``). Each of the four corners is the fastest
    stack there. The effect is the rival's speedup over the choice's."""

    kind = "gain"

    choice: Selector
    than: Selector
    before: Selector
    after: Selector
    gains: Literal["less", "more", "differently"] = "less"
    times: Annotated[float, msgspec.Meta(gt=0)] = 1.0

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        for field in ("choice", "than", "before", "after"):
            yield field, getattr(self, field)

    def check(self, path: str) -> None:
        super().check(path)
        if self.gains == "differently" and self.times < 1:
            raise SpecError(f"{path}.times", f"{self.times:g} is below 1: how far apart they lie")
        self.check_apart(path, "choice", "than")
        self.check_apart(path, "before", "after")

    def sides(self) -> Sides:
        return {
            "choice before": (self.choice, self.before),
            "choice after": (self.choice, self.after),
            "than before": (self.than, self.before),
            "than after": (self.than, self.after),
        }

    def weigh(self, found: Measures, setting: Setting) -> Weighed:
        corners = [setting.sides[name] for name in self.sides()]
        mine, mine_after, other, other_after = (rows[0] for rows in corners)
        own = found.compare(mine_after, mine)
        rival = found.compare(other_after, other)
        effect = _quotient(rival, own)
        picks = math.prod(len(rows) for rows in corners)
        less, more = effect.chance_above(self.times), effect.chance_at_most(self.times)
        looks = effect.value > self.times
        if self.gains == "more":
            bound = 1 / self.times
            less, more = effect.chance_at_most(bound), effect.chance_above(bound)
            looks = effect.value < bound
        if self.gains == "differently":
            less, more = either(effect, self.times)
            looks = max(effect.value, 1 / effect.value) > self.times
        return Weighed(
            effect,
            (min(1.0, picks * less), min(1.0, picks * more)),
            looks,
            (mine, mine_after, other, other_after),
        )

    def saying(self, found: Measures) -> str:
        change = f"from {short(self.before)} to {short(self.after)}"
        by = f", by {self.times:g}× or more" if self.times != 1 else ""
        return f"{short(self.choice)} gains {self.gains} {change} than {short(self.than)}{by}"

    def effect_label(self) -> str:
        return f"the speedup of {short(self.than)} over that of {short(self.choice)}"


def either(effect: Effect, times: float) -> tuple[float, float]:
    """Chances for "off 1 by more than ``times`` in either direction", and for "within"."""
    apart = 2 * min(effect.chance_above(times), effect.chance_at_most(1 / times))
    within = max(effect.chance_at_most(times), effect.chance_above(1 / times))
    return min(1.0, apart), within


def _quotient(numerator: Effect, denominator: Effect) -> Effect:
    """Of two ratios measured apart from each other: their errors add as squares, on logarithms."""
    value = numerator.value / denominator.value
    down = math.hypot(
        _log(numerator.value, numerator.low), _log(denominator.high, denominator.value)
    )
    up = math.hypot(_log(numerator.high, numerator.value), _log(denominator.value, denominator.low))
    degrees = min(numerator.degrees, denominator.degrees)
    return Effect.ratio(value, value * math.exp(-down), value * math.exp(up), degrees)


def _log(more: float, less: float) -> float:
    return math.log(more / less) if more > 0 and less > 0 else math.nan
