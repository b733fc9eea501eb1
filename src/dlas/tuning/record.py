"""A record: one candidate of one kernel, measured once or failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from dlas.target import Target

#: ``wrong``: it ran, and computed something else than the other candidates.
Status = Literal["ok", "failed", "crashed", "timed_out", "out_of_memory", "wrong"]


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and with what a candidate was measured: records of one place may be compared.

    ``machine``: the device's fingerprint. ``target``: the processor as a compiler sees it.
    ``compiler``: with its version. ``revision``: of our schedule templates."""

    machine: str
    target: str
    compiler: str
    revision: int

    def __post_init__(self) -> None:
        if not 0 <= self.revision < 2**31:
            raise ValueError(f"revision {self.revision} is none that a template can have")


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``kernel``: a digest of all that is computed, and under which conditions (threads, where
    weights come from). ``primitive``: whose candidate it is, such as "spatial_pack" or "gemm int8".
    ``workload`` and ``knobs``: numbers that tell the kernel, and the candidate, from others.
    ``estimate``: the primitive's own, in multiply-adds. ``seconds``: of a call; None unless
    ``status`` is "ok". ``created``: seconds since 1970. ValueError for what cannot be."""

    kernel: str
    candidate: str
    primitive: str
    workload: Mapping[str, float]
    knobs: Mapping[str, float]
    estimate: float
    seconds: float | None
    status: Status
    place: Place
    created: float

    def __post_init__(self) -> None:
        numbers = (*self.workload.values(), *self.knobs.values(), self.estimate, self.created)
        if not all(map(math.isfinite, numbers)):
            raise ValueError("its numbers must be finite")
        if (self.status == "ok") != (self.seconds is not None):
            raise ValueError('it has seconds where its status is "ok", and only there')
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds must be above 0 and finite, not {self.seconds}")


def machine_name(target: Target) -> str:
    """What ``Place.machine`` says of the device with this processor: its fingerprint."""
    return ", ".join(f"{name} {value}" for name, value in target.fingerprint().items())
