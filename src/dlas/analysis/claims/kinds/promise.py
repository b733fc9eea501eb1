"""Does the clock keep what arithmetic promises?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from dlas.analysis.claims.kinds.counted import Counted, Weighed
from dlas.analysis.claims.kinds.faster import contest
from dlas.analysis.claims.quantity import Measures
from dlas.analysis.claims.select import Selector, short
from dlas.analysis.claims.settings import Setting, Sides
from dlas.errors import SpecError


class Promise(Counted, frozen=True, kw_only=True):
    """The measured speedup of ``choice`` over ``than`` is above this share (``reach``) of what its
    optimizations promise (dense over effective multiply-accumulates, × 2 for float16 and bfloat16,
    × 4 for int8). The effect is the share that was kept."""

    kind = "promise"

    choice: Selector
    than: Selector = msgspec.field(
        default_factory=lambda: {"compression": "none", "format": "dense"}
    )
    reach: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    column: str = "promised_latency_s"

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        yield "choice", self.choice
        yield "than", self.than

    def check(self, path: str) -> None:
        super().check(path)
        if self.column != "promised_latency_s":
            raise SpecError(f"{path}.column", "promises are of latency: leave the column out")
        self.check_apart(path, "choice", "than")

    def sides(self) -> Sides:
        return {"choice": (self.choice,), "than": (self.than,)}

    def weigh(self, found: Measures, setting: Setting) -> Weighed:
        return contest(found, setting.sides["choice"], list(setting.sides["than"]), self.reach)

    def saying(self, found: Measures) -> str:
        share = "its promised speedup" if self.reach == 1 else f"{self.reach:.0%} of its promise"
        return f"{short(self.choice)} reaches {share} over {short(self.than)}"

    def effect_label(self) -> str:
        return "measured over promised speedup"
