"""Is it faster (or smaller, or more accurate) than its rivals, all else equal?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from dlas.analysis.claims.evidence import Effect
from dlas.analysis.claims.kinds.counted import Counted, Weighed
from dlas.analysis.claims.quantity import QUANTITIES, Measures
from dlas.analysis.claims.select import Selector, short
from dlas.analysis.claims.settings import Setting, Sides
from dlas.errors import SpecError


class Faster(Counted, frozen=True, kw_only=True):
    """The best stack of ``choice`` has less of ``column`` than every stack of every rival in
    ``than``: at least ``times`` less, or for differences ``points`` less.

    With several rivals it is "the best choice"; with one, a paired comparison. A rival that was
    not measured in a setting takes the setting out, so nothing wins by absence.
    """

    kind = "faster"
    ratios_only = False

    choice: Selector
    than: Annotated[tuple[Selector, ...], msgspec.Meta(min_length=1)]
    times: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    points: float = 0.0

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        yield "choice", self.choice
        for place, rival in enumerate(self.than):
            yield f"than[{place}]", rival

    def check(self, path: str) -> None:
        super().check(path)
        scale = QUANTITIES[self.column].scale
        if scale == "ratio" and self.points:
            raise SpecError(f"{path}.points", f"{self.column} compares by ratios: say times")
        if scale == "difference" and self.times != 1:
            raise SpecError(f"{path}.times", f"{self.column} compares by points: say points")
        for place in range(len(self.than)):
            self.check_apart(path, "choice", f"than[{place}]")

    def sides(self) -> Sides:
        rivals = {f"than {place}": (rival,) for place, rival in enumerate(self.than)}
        return {"choice": (self.choice,), **rivals}

    def weigh(self, found: Measures, setting: Setting) -> Weighed:
        mine = setting.sides["choice"]
        rivals = {
            row: None for name, rows in setting.sides.items() if name != "choice" for row in rows
        }
        bound = self.times if found.quantity.scale == "ratio" else self.points
        return contest(found, mine, sorted(rivals, key=lambda r: float(found.value[r])), bound)

    def saying(self, found: Measures) -> str:
        rivals = ", and than ".join(short(rival) for rival in self.than)
        text = f"{short(self.choice)} is {found.quantity.less} than {rivals}"
        if self.times != 1.0:
            text += f", at least {self.times:.3g}×"
        if self.points:
            text += f", by more than {self.points:g} points"
        return text

    def effect_label(self) -> str:
        if self.column == "latency_s":
            return "its speed over the best rival's"
        if QUANTITIES[self.column].scale == "ratio":
            return f"the least rival's {self.column} over its own"
        return f"the least rival's {self.column} minus its own"


def contest(found: Measures, mine: tuple[int, ...], rivals: list[int], bound: float) -> Weighed:
    """Is the least of mine below the least of the rivals by more than the bound? Both leasts were
    picked by what was measured, which flatters them: the chance is taken once for every value
    that could have been picked."""
    champion, runner = mine[0], rivals[0]
    effect: Effect = found.compare(champion, runner)
    true = max(found.compare(champion, rival).chance_above(bound) for rival in rivals)
    false = max(found.compare(one, runner).chance_at_most(bound) for one in mine)
    return Weighed(
        effect=effect,
        chances=(min(1.0, picks(found, mine) * true), min(1.0, picks(found, rivals) * false)),
        looks=effect.value > bound,
        rows=(champion, runner),
    )


def picks(found: Measures, rows: Sequence[int]) -> int:
    """How many different values the least was picked from: a network's own numbers, the same for
    all its stacks, are one."""
    return len({(float(found.value[row]), float(found.low[row])) for row in rows})
