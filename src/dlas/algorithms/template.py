"""What a primitive with a schedule template is."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dlas.algorithms.primitive import Primitive
from dlas.target import Target

#: A schedule template's choices by name, and what they are for one kernel.
Knobs = Mapping[str, int]


class TemplatePrimitive(Primitive, frozen=True, kw_only=True):
    """A primitive with a second form, and a schedule template for it.

    The template is applied to the kernel after fusion, to the stage of that kernel that is named
    ``stage``: what precedes it there pads, what follows it is elementwise."""

    #: Whether it multiplies by vectors of weights (…, ci, b) that are worth prefetching.
    streams_weights: ClassVar[bool] = False

    @property
    def stage(self) -> str:
        return f"{self.name}_template"

    @abc.abstractmethod
    def candidates(self, order: Any, target: Target) -> Sequence[Knobs]:
        """Knobs for the kernel in this ``tvm.s_tir.Schedule``, by estimated cost, best first."""
        raise NotImplementedError

    @abc.abstractmethod
    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        """Order the kernel's loops as the knobs say."""
        raise NotImplementedError
