"""How a latency is measured: the protocol, and the session it is measured through."""

from __future__ import annotations

from typing import Annotated, Protocol as Interface

import msgspec


class Protocol(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The paper's protocol (batch 1, the first run kept apart, up to 150 runs, median), stopped
    early when the 95 % interval of the median is within ``interval`` of it on either side, or
    after ``time_budget_s`` of running."""

    runs: Annotated[int, msgspec.Meta(ge=3)] = 150
    warmups: Annotated[int, msgspec.Meta(ge=0)] = 3
    interval: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.01
    time_budget_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0


class Session(Interface):
    """An executable loaded on a device in a process of its own."""

    def run(self, count: int) -> list[float]:
        """Run it ``count`` times on one fixed image; the latency of each run, in seconds."""
        ...

    def peak_bytes(self) -> int:
        """The most memory the process has held so far; 0 where the device cannot say."""
        ...

    def energy_j(self) -> float | None:
        """Energy of the last ``run`` per inference, from a real counter; None where there is none."""
        ...

    def close(self) -> None: ...
