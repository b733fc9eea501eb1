"""Does changing one choice change which level of another is the best?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Annotated

import msgspec

from dlas.analysis.claims.evidence import Effect, HowOften
from dlas.analysis.claims.kinds.counted import Counted, Weighed
from dlas.analysis.claims.kinds.faster import contest
from dlas.analysis.claims.quantity import Measures
from dlas.analysis.claims.select import Selector, short
from dlas.analysis.claims.settings import Setting, Sides
from dlas.errors import SpecError


class Flip(Counted, frozen=True, kw_only=True):
    """The best of ``levels`` is another one ``after`` than ``before``. It is so for sure only where
    every level is beaten, before or after, with intervals that do not overlap; that it is not so,
    where one level beats all others both times. The effect is what the best level from before
    loses afterwards."""

    kind = "flip"

    before: Selector
    after: Selector
    levels: Annotated[tuple[Selector, ...], msgspec.Meta(min_length=2)]
    how_often: HowOften = "sometimes"

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        yield "before", self.before
        yield "after", self.after
        for place, level in enumerate(self.levels):
            yield f"levels[{place}]", level

    def check(self, path: str) -> None:
        super().check(path)
        if self.for_each:
            raise SpecError(f"{path}.for_each", "a flip has no side to split: select with where")
        self.check_apart(path, "before", "after")
        self.check_apart(path, *(f"levels[{place}]" for place in range(len(self.levels))))

    def sides(self) -> Sides:
        return {
            f"{when} {place}": (selector, level)
            for when, selector in (("before", self.before), ("after", self.after))
            for place, level in enumerate(self.levels)
        }

    def weigh(self, found: Measures, setting: Setting) -> Weighed:
        places = range(len(self.levels))
        ahead: dict[tuple[str, int, int], Weighed] = {
            (when, a, b): contest(
                found, setting.sides[f"{when} {a}"], list(setting.sides[f"{when} {b}"]), 1.0
            )
            for when in ("before", "after")
            for a, b in permutations(places, 2)
        }
        beaten = [
            min(each.chances[0] for (_, _, rival), each in ahead.items() if rival == level)
            for level in places
        ]
        best_twice = [
            max(each.chances[0] for (_, first, _), each in ahead.items() if first == level)
            for level in places
        ]
        n = len(places)
        best = {when: self._best(found, setting, when) for when in ("before", "after")}
        was, now = best["before"], best["after"]
        then = [setting.sides[f"after {place}"][0] for place in (now, was)]
        rows = tuple(setting.sides[f"{w} {p}"][0] for w in best for p in sorted({was, now}))
        return Weighed(
            found.compare(*then) if was != now else Effect.ratio(1.0, 1.0, 1.0),
            (min(1.0, 2 * (n - 1) * max(beaten)), min(1.0, n * min(best_twice))),
            was != now,
            rows,
        )

    def _best(self, found: Measures, setting: Setting, when: str) -> int:
        firsts = [setting.sides[f"{when} {place}"][0] for place in range(len(self.levels))]
        return min(range(len(firsts)), key=lambda place: float(found.value[firsts[place]]))

    def saying(self, found: Measures) -> str:
        levels = ", ".join(short(level) for level in self.levels)
        change = f"from {short(self.before)} to {short(self.after)}"
        return f"Going {change}, the best of {levels} changes"

    def effect_label(self) -> str:
        return "the speed, afterwards, of what is then the best over what was it before"
