"""What a primitive with a schedule template is."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dlas.algorithms.primitive import Primitive
from dlas.algorithms.tiles import workload
from dlas.target import Target

#: A schedule template's choices by name, and what they are for one kernel.
Knobs = Mapping[str, int]
#: Knobs after their estimated cost, in multiply-adds of a machine that does nothing else.
Ranked = tuple[float, Knobs]


class TemplatePrimitive(Primitive, frozen=True, kw_only=True):
    """A primitive with a second form, and a schedule template for it.

    The template is applied to the kernel after fusion, to the stage of that kernel that is named
    ``stage``: what precedes it there pads, what follows it is elementwise."""

    #: Whether it multiplies by vectors of weights (…, ci, b) that are worth prefetching.
    streams_weights: ClassVar[bool] = False

    #: Numbers of its packed weights for each weight of the layer.
    expansion: ClassVar[float] = 1.0

    @property
    def stage(self) -> str:
        return f"{self.name}_template"

    @abc.abstractmethod
    def ranked(self, order: Any, target: Target) -> Sequence[Ranked]:
        """Knobs for the kernel in this ``tvm.s_tir.Schedule``, cheapest estimate first."""
        raise NotImplementedError

    def candidates(self, order: Any, target: Target) -> Sequence[Knobs]:
        return [knobs for _, knobs in self.ranked(order, target)]

    def workload(self, order: Any) -> Mapping[str, float]:
        """The kernel in numbers, by which it is told from others."""
        return workload(order, order.get_sblock(self.stage))

    def traits(self, knobs: Knobs) -> Mapping[str, float]:
        """The knobs, and what they amount to, as a cost model sees them: the sums that a tile holds
        in registers, and how many of them read the same weights."""
        tile = {name: knobs[name] for name in ("rk", "rh", "rw", "ri") if name in knobs}
        held = math.prod(tile.values())
        return {**knobs, "held": held, "places": held // tile.get("rk", 1)}

    @abc.abstractmethod
    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        """Order the kernel's loops as the knobs say."""
        raise NotImplementedError
