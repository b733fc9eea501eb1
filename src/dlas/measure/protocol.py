"""How a latency is measured: the protocol, and the session it is measured through."""

from __future__ import annotations

from typing import Annotated, Literal
from typing import Protocol as Interface

import msgspec

from dlas.errors import DlasError


class Protocol(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The paper's protocol (batch 1, the first run kept apart, up to 150 runs, median), stopped
    early when the 95 % interval of the median is within ``interval`` of it on either side, or
    after ``time_budget_s`` of running. Loading, or one block of runs, that takes longer than
    ``time_limit_s`` is given up."""

    runs: Annotated[int, msgspec.Meta(ge=3)] = 150
    warmups: Annotated[int, msgspec.Meta(ge=0)] = 3
    interval: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.01
    time_budget_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    time_limit_s: Annotated[float, msgspec.Meta(gt=0)] = 120.0


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a session's process has used so far; 0 where the device cannot say. ``peak_bytes`` is
    the most memory it held, ``base_bytes`` what it held before it loaded the executable."""

    peak_bytes: int = 0
    base_bytes: int = 0
    cpu_s: float = 0.0


class LayerTime(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a part of one inference went: one kernel or operator as the system runs it.

    ``name``: the system's own, ``op``: what it computes. ``layers``: the convolutions and dense
    layers of the network that it computes, several where they were fused. ``kind``: "layer" where
    there are any, "layout" where an image is only moved into another layout or padded. ``seconds``:
    the median over some runs, or the mean where a library keeps no more."""

    name: str
    op: str
    seconds: float
    kind: Literal["layer", "layout", "other"] = "other"
    layers: tuple[str, ...] = ()


class SessionError(DlasError):
    """A session ended before its time; ``status`` as in ``dlas.store.schema``: failed,
    out_of_memory or timed_out."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Session(Interface):
    """An executable on a device in a process of its own, from the moment it starts to load.

    Every method but ``close`` raises SessionError when the process has died or does not answer."""

    def wait(self) -> None:
        """Return when it is loaded and ready to run. Several sessions may load side by side."""
        ...

    def run(self, count: int) -> list[float]:
        """Run it ``count`` times on one fixed image; the latency of each run, in seconds."""
        ...

    def profile(self, count: int) -> tuple[LayerTime, ...]:
        """Where the time of a run goes, by ``count`` further runs, in the order of computing.
        Raises Refused with a sentence where the system cannot tell."""
        ...

    def usage(self) -> Usage:
        """As of the last answer."""
        ...

    def energy_j(self) -> float | None:
        """Energy of the last ``run`` per inference, from a real counter; None without one."""
        ...

    def energy_absent(self) -> str:
        """Why there is no energy, as a sentence; "" where there is."""
        ...

    def close(self) -> None:
        """End the process; may be called twice, and on a session that has died."""
        ...
