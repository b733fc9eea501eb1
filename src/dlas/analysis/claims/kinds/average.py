"""A mean over networks: within bounds, or more than another mean?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from dlas.analysis.claims.cells import Cells
from dlas.analysis.claims.evidence import ALPHA, Effect
from dlas.analysis.claims.kinds.base import Test
from dlas.analysis.claims.quantity import Measures, measures
from dlas.analysis.claims.select import Selector, short
from dlas.analysis.claims.settings import why_none
from dlas.analysis.claims.verdict import Finding, Number, Word, word
from dlas.errors import SpecError

#: What all networks have by the same images, so that their errors are alike.
_OF_SAME_IMAGES = ("accuracy", "baseline_accuracy")


class Average(Test, frozen=True, kw_only=True):
    """The mean of ``column`` over the networks of ``choice``, each counting once (with the mean of
    its stacks), is at least ``at_least`` and at most ``at_most``; or, with ``than``, more than the
    mean of those stacks. In the column's unit: points for accuracies. It is about the networks
    that were measured: the interval is that of the measurements."""

    kind = "average"

    choice: Selector
    than: Selector | None = None
    column: str = "accuracy_loss"
    at_least: float | None = None
    at_most: float | None = None

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        yield "choice", self.choice
        if self.than is not None:
            yield "than", self.than

    def columns(self) -> Iterator[tuple[str, str]]:
        yield "column", self.column

    def check(self, path: str) -> None:
        super().check(path)
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if bool(bounds) == (self.than is not None):
            raise SpecError(path, "an average needs bounds (at_least, at_most) or a rival (than)")
        if len(bounds) == 2 and bounds[0] >= bounds[1]:
            raise SpecError(f"{path}.at_least", f"{bounds[0]:g} is not below at_most")
        if self.than is not None:
            self.check_apart(path, "choice", "than")

    def run(self, cells: Cells, alpha: float = ALPHA) -> Finding:
        found = measures(cells, self.column)
        mine = self._means(found, self.choice)
        other = None if self.than is None else self._means(found, self.than)
        if not mine or other == {}:
            sides = {field: (selector,) for field, selector in self.selectors()}
            return Finding.untestable(why_none(found, self.where, sides))
        few = self.too_few(set(mine)) or (self.too_few(set(other)) if other else None)
        if few:
            return few
        alike = self.column in _OF_SAME_IMAGES
        mean = _mean(mine, alike)
        unit = found.quantity.unit
        label = f"mean {self.column} of {short(self.choice)}"
        numbers = [_number(label, mean, unit, _keys(mine))]
        low, high = self.at_least, self.at_most
        if other:
            rival = _mean(other, alike)
            label = f"mean {self.column} of {short(self.than or {})}"
            numbers.append(_number(label, rival, unit, _keys(other)))
            down = math.hypot(mean.value - mean.low, rival.high - rival.value)
            up = math.hypot(mean.high - mean.value, rival.value - rival.low)
            gap = mean.value - rival.value
            mean, low, high = Effect(gap, gap - down, gap + up), 0.0, None
        details = [_number(network, effect, unit, keys) for network, (effect, keys) in mine.items()]
        asked = " and ".join(
            f"{word} {bound:g}"
            for word, bound in (("at least", self.at_least), ("at most", self.at_most))
            if bound is not None
        )
        text = "; ".join(f"{number.label} over networks: {number.shown}" for number in numbers)
        text += f"; asked is {asked} {unit}".rstrip() if asked else "; asked is that it be more"
        return Finding(
            _within(mean, low, high, alpha),
            f"{text[0].upper()}{text[1:]}.",
            (*numbers, *details),
            settings=len(mine),
        )

    def _means(
        self, found: Measures, selector: Selector
    ) -> dict[str, tuple[Effect, tuple[str, ...]]]:
        """Per network the mean over its stacks; they are of the same images, so no surer."""
        cells = found.cells
        taken = np.flatnonzero(cells.mask(self.where, selector) & found.known).tolist()
        rows_of: dict[str, list[int]] = {}
        for row in taken:
            rows_of.setdefault(cells.subjects[row], []).append(row)
        means = {}
        for network, rows in rows_of.items():
            places = np.asarray(rows)
            ends = (found.value[places], found.low[places], found.high[places])
            value, low, high = (float(np.mean(end)) for end in ends)
            means[network] = Effect(value, low, high), tuple(cells.keys[row] for row in rows)
        return means


def _mean(of: dict[str, tuple[Effect, tuple[str, ...]]], alike: bool) -> Effect:
    """Errors that are ``alike`` do not cancel in a mean; others add as squares."""
    effects = [effect for effect, _ in of.values()]
    value = sum(e.value for e in effects) / len(effects)
    added = math.fsum if alike else lambda errors: math.hypot(*errors)
    down = added([e.value - e.low for e in effects]) / len(effects)
    up = added([e.high - e.value for e in effects]) / len(effects)
    return Effect(value, value - down, value + up)


def _keys(of: Mapping[str, tuple[Effect, tuple[str, ...]]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for _, keys in of.values() for key in keys))


def _within(mean: Effect, low: float | None, high: float | None, alpha: float) -> Word:
    """In the bounds only if surely above the lower and surely below the upper one."""
    above = 0.0 if low is None else mean.chance_above(low)
    below = 0.0 if high is None else mean.chance_at_most(high)
    under = 1.0 if low is None else mean.chance_at_most(low)
    over = 1.0 if high is None else mean.chance_above(high)
    return word(max(above, below) <= alpha, min(under, over) <= alpha)


def _number(label: str, effect: Effect, unit: str, keys: tuple[str, ...] = ()) -> Number:
    return Number(label, effect.value, effect.low, effect.high, unit, keys)
