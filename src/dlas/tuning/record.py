"""A record: one candidate of one kernel, measured once or failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

#: ``wrong``: it ran, and computed something else than the other candidates.
Status = Literal["ok", "failed", "crashed", "timed_out", "out_of_memory", "wrong"]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what a candidate was measured: records of one place may be compared.

    ``machine``: the device's fingerprint. ``target``: the processor as a compiler sees it.
    ``compiler``: with its version. ``revision``: of our schedule templates."""

    machine: str
    target: str
    compiler: str
    revision: int


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``kernel``: a digest of all that is computed, and under which conditions (threads, where
    weights come from). ``primitive``: whose candidate it is, such as "spatial_pack" or "gemm int8".
    ``workload`` and ``knobs``: numbers that tell the kernel, and the candidate, from others.
    ``estimate``: the primitive's own, in multiply-adds. ``seconds``: the shortest run; None unless
    ``status`` is "ok". ``created``: seconds since 1970."""

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
