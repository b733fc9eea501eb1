"""What every kind of test has: the stacks it is about, and what it finds in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import msgspec

from dlas.analysis.claims.cells import Cells
from dlas.analysis.claims.evidence import ALPHA
from dlas.analysis.claims.quantity import QUANTITIES
from dlas.analysis.claims.select import Selector, check, names_tuned
from dlas.analysis.claims.verdict import Finding
from dlas.errors import SpecError
from dlas.layer import did_you_mean

#: Columns that say which machine.
MACHINE = ("machine", "device", "processor")


class Test(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``part``: which part of the statement it tests, in its words. ``where``: the stacks that it
    is about. ``networks``: fewer different ones are too few to speak of the claim."""

    kind: ClassVar[str]

    part: str = ""
    where: Selector = {}
    networks: Annotated[int, msgspec.Meta(ge=1)] = 1

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        """(field, selector) besides ``where``."""
        yield from ()

    def columns(self) -> Iterator[tuple[str, str]]:
        """(field, name of a quantity) that it compares."""
        yield from ()

    def check(self, path: str) -> None:
        """SpecError for selectors and quantities that there are not."""
        check(self.where, f"{path}.where")
        for field, selector in self.selectors():
            check(selector, f"{path}.{field}")
        for field, name in self.columns():
            if name not in QUANTITIES:
                hint = did_you_mean(name, QUANTITIES)
                raise SpecError(f"{path}.{field}", f"{name!r} is not a quantity{hint}")

    def check_apart(self, path: str, *fields: str) -> None:
        """SpecError where two of these selectors are the same: nothing could come of them."""
        known = dict(self.selectors())
        for place, field in enumerate(fields):
            for other in fields[:place]:
                if known[field] == known[other]:
                    raise SpecError(f"{path}.{field}", f"the same as {other}: nothing differs")

    @property
    def spans(self) -> bool:
        """Whether it compares machines with each other."""
        return any(column in MACHINE for _, selector in self.selectors() for column in selector)

    @property
    def names_tuned(self) -> bool:
        return any(
            names_tuned(selector) for _, selector in (("where", self.where), *self.selectors())
        )

    def run(self, cells: Cells, alpha: float = ALPHA) -> Finding:
        """``alpha``: chance of each of the wrong words "holds" and "contradicted"."""
        raise NotImplementedError

    def too_few(self, networks: set[str]) -> Finding | None:
        if len(networks) >= self.networks:
            return None
        named = ", ".join(sorted(networks))
        count = f"{len(networks)} network" + "s" * (len(networks) != 1)
        missing = f"It needs {self.networks} networks: add others than {named} to the study."
        sentence = f"Only {count} ({named}), and the claim needs {self.networks}."
        return Finding.untestable([missing], sentence)
