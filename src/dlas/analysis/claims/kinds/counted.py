"""Tests that count settings: in how many is something so?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from dlas.analysis.claims.cells import MATCHED, Cells
from dlas.analysis.claims.evidence import ALPHA, Decision, Effect, HowOften, decide
from dlas.analysis.claims.kinds.base import Test
from dlas.analysis.claims.kinds.share import THRESHOLDS, Share
from dlas.analysis.claims.quantity import QUANTITIES, Measures, measures
from dlas.analysis.claims.settings import Matching, Setting, Sides, names_of, settings, why_none
from dlas.analysis.claims.verdict import NAN, Finding, Number
from dlas.errors import SpecError
from dlas.layer import did_you_mean
from dlas.measure.statistics import t_factor

_ASKED = {
    "always": "all",
    "generally": "more than half",
    "sometimes": "at least one",
    "rarely": "fewer than a quarter",
    "never": "none",
}


@dataclass(frozen=True)
class Weighed:
    """One setting: the effect that is shown; the chances of its evidence where the statement is
    false, and where it is true; whether it looks true; the rows behind it."""

    effect: Effect
    chances: tuple[float, float]
    looks: bool
    rows: tuple[int, ...]


class Counted(Test, frozen=True, kw_only=True):
    """``best_over``: columns that may differ, of which each side takes its best level.
    ``for_each``: columns by which the side that the claim is about is split further.
    ``about``: "networks like these" takes the networks as a sample and asks how sure the share is
    among others."""

    #: Whether only quantities that compare by a ratio have a meaning for it.
    ratios_only: ClassVar[bool] = True

    column: str = "latency_s"
    best_over: tuple[str, ...] = ()
    for_each: tuple[str, ...] = ()
    how_often: HowOften = "generally"
    about: Literal["these networks", "networks like these"] = "these networks"

    def columns(self) -> Iterator[tuple[str, str]]:
        yield "column", self.column

    def check(self, path: str) -> None:
        super().check(path)
        if self.ratios_only and QUANTITIES[self.column].scale != "ratio":
            known = ", ".join(name for name, one in QUANTITIES.items() if one.scale == "ratio")
            sentence = (
                f"{self.column!r} has no ratios, which {self.kind} needs: take one of {known}"
            )
            raise SpecError(f"{path}.column", sentence)
        for field in ("best_over", "for_each"):
            for column in getattr(self, field):
                if column not in MATCHED:
                    hint = did_you_mean(column, MATCHED)
                    raise SpecError(f"{path}.{field}", f"{column!r} is not a column{hint}")
        if self.about == "networks like these" and self.how_often not in THRESHOLDS:
            words = " or ".join(THRESHOLDS)
            raise SpecError(f"{path}.how_often", f"of networks like these only {words} is tested")

    @property
    def spans(self) -> bool:
        return super().spans or "machine" in self.best_over

    def sides(self) -> Sides:
        """Name → selectors; the first one is what the claim is about."""
        raise NotImplementedError

    def weigh(self, found: Measures, setting: Setting) -> Weighed:
        raise NotImplementedError

    def saying(self, found: Measures) -> str:
        """What is counted: "spatial_pack is faster than direct"."""
        raise NotImplementedError

    def effect_label(self) -> str:
        """What ``Weighed.effect`` is: "speed over the best rival"."""
        raise NotImplementedError

    def run(self, cells: Cells, alpha: float = ALPHA) -> Finding:
        found, sides = measures(cells, self.column), self.sides()
        matching = Matching(self.best_over, self.for_each)
        there = settings(found, self.where, sides, matching)
        if not there:
            return Finding.untestable(why_none(found, self.where, sides))
        few = self.too_few({setting.network for setting in there})
        if few:
            return few
        weighed = [self.weigh(found, setting) for setting in there]
        decision = decide([each.chances for each in weighed], self.how_often, alpha)
        share = Share.of((s.network, each.looks) for s, each in zip(there, weighed, strict=True))
        if self.about == "networks like these":
            decision = replace(decision, verdict=share.among_others(self.how_often, alpha))
        numbers = (self._count(found, there, weighed), *self._means(found, there, weighed))
        return Finding(
            decision.verdict,
            self._sentence(found, there, decision, numbers),
            (*numbers, share.number, *self._details(found, there, weighed)),
            settings=len(there),
        )

    def _sentence(
        self,
        found: Measures,
        there: Sequence[Setting],
        decision: Decision,
        numbers: Sequence[Number],
    ) -> str:
        n, networks = len(there), len({setting.network for setting in there})
        counted, *means = numbers
        looks = round(counted.value * n)
        if n == 1:
            text = f"{self.saying(found)}: {'' if looks else 'not '}in the one setting there is"
            if not decision.true + decision.false:
                text += " (the intervals overlap)"
        else:
            of = f"{networks} network{'s' * (networks != 1)}"
            text = f"{self.saying(found)}: in {looks} of {n} settings of {of}"
            sure = {"beyond doubt": decision.true, "certainly not": decision.false}
            sure["open"] = n - decision.true - decision.false
            text += f" ({', '.join(f'{count} {word}' for word, count in sure.items() if count)})"
            text += f"; asked is {_ASKED[self.how_often]}"
        for mean in means:
            text += f". {mean.label[0].upper()}{mean.label[1:]}: {mean.shown}"
        return f"{text}."

    def _count(
        self, found: Measures, there: Sequence[Setting], weighed: Sequence[Weighed]
    ) -> Number:
        looks = sum(each.looks for each in weighed)
        keys = _keys(found, [row for each in weighed for row in each.rows])
        return Number("settings in which it is so", looks / len(there), unit="share", keys=keys)

    def _means(
        self, found: Measures, there: Sequence[Setting], weighed: Sequence[Weighed]
    ) -> Iterator[Number]:
        """The mean effect, every network counting once."""
        if len(there) < 2:
            return
        log = weighed[0].effect.logarithmic
        by_network: dict[str, list[float]] = {}
        for setting, each in zip(there, weighed, strict=True):
            value = math.log(each.effect.value) if log else each.effect.value
            by_network.setdefault(setting.network, []).append(value)
        ends = mean_of([float(np.mean(values)) for values in by_network.values()])
        value, low, high = (math.exp(end) for end in ends) if log else ends
        label = f"{'geometric ' * log}mean of {self.effect_label()}"
        yield Number(label, value, low, high, "×" if log else found.quantity.unit)

    def _details(
        self, found: Measures, there: Sequence[Setting], weighed: Sequence[Weighed]
    ) -> Iterator[Number]:
        for name, each in zip(names_of(there), weighed, strict=True):
            effect = each.effect
            unit = "×" if effect.logarithmic else found.quantity.unit
            yield Number(name, effect.value, effect.low, effect.high, unit, _keys(found, each.rows))


def mean_of(networks: Sequence[float]) -> tuple[float, float, float]:
    """Of one number per network, with Student's 95 % interval over networks like these; none for
    fewer than three."""
    n, mean = len(networks), float(np.mean(networks))
    if n < 3:
        return mean, NAN, NAN
    half = t_factor(n - 1) * float(np.std(networks, ddof=1)) / math.sqrt(n)
    return mean, mean - half, mean + half


def _keys(found: Measures, rows: Sequence[int]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found.cells.keys[row] for row in rows))
