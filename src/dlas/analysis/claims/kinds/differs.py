"""Do two choices differ at all, in either direction?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from dlas.analysis.claims.kinds.counted import Counted, Weighed
from dlas.analysis.claims.kinds.gain import either
from dlas.analysis.claims.quantity import Measures
from dlas.analysis.claims.select import Selector, short
from dlas.analysis.claims.settings import Setting, Sides


class Differs(Counted, frozen=True, kw_only=True):
    """The best of ``choice`` and the best of ``than`` lie apart by more than ``times``, whichever
    is ahead. Within it for sure (two one-sided tests) contradicts."""

    kind = "differs"

    choice: Selector
    than: Selector
    times: Annotated[float, msgspec.Meta(gt=1)] = 1.05

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        yield "choice", self.choice
        yield "than", self.than

    def check(self, path: str) -> None:
        super().check(path)
        self.check_apart(path, "choice", "than")

    def sides(self) -> Sides:
        return {"choice": (self.choice,), "than": (self.than,)}

    def weigh(self, found: Measures, setting: Setting) -> Weighed:
        mine, other = setting.sides["choice"], setting.sides["than"]
        effect = found.compare(mine[0], other[0])
        picks = len(mine) * len(other)
        apart, within = either(effect, self.times)
        return Weighed(
            effect,
            (min(1.0, picks * apart), min(1.0, picks * within)),
            max(effect.value, 1 / effect.value) > self.times,
            (mine[0], other[0]),
        )

    def saying(self, found: Measures) -> str:
        by = f"more than {self.times:g}×"
        return f"{short(self.choice)} and {short(self.than)} lie {by} apart"

    def effect_label(self) -> str:
        return f"the speed of {short(self.choice)} over that of {short(self.than)}"
