"""Records in rows for a person: by primitive, by place, and by kernel."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

import msgspec

from dlas.tuning.record import Place, Record

Key = TypeVar("Key", bound=Hashable)


class PrimitiveRow(msgspec.Struct, frozen=True):
    """``failed``: how many, by status; ``here``: of this machine. ``newest``: since 1970."""

    primitive: str
    kernels: int
    records: int
    failed: dict[str, int]
    here: int
    newest: float


class PlaceRow(msgspec.Struct, frozen=True):
    place: Place
    here: bool
    records: int
    newest: float


class KernelRow(msgspec.Struct, frozen=True):
    """One kernel at one place. ``fastest``: None where every candidate failed."""

    kernel: str
    primitive: str
    workload: Mapping[str, float]
    place: Place
    candidates: int
    failed: dict[str, int]
    fastest: Record | None


class Summary(msgspec.Struct, frozen=True):
    primitives: tuple[PrimitiveRow, ...]
    places: tuple[PlaceRow, ...]


def summary(records: Iterable[Record], machine: str) -> Summary:
    """Of all of them; ``machine`` is this one."""
    records = tuple(records)
    primitives = tuple(
        PrimitiveRow(
            primitive=primitive,
            kernels=len({each.kernel for each in some}),
            records=len(some),
            failed=_failed(some),
            here=sum(each.place.machine == machine for each in some),
            newest=_newest(some),
        )
        for primitive, some in sorted(_grouped(records, lambda each: each.primitive).items())
    )
    places = (
        PlaceRow(place, place.machine == machine, len(some), _newest(some))
        for place, some in _grouped(records, lambda each: each.place).items()
    )
    return Summary(primitives, tuple(sorted(places, key=lambda row: -row.newest)))


def by_kernel(records: Iterable[Record]) -> list[KernelRow]:
    """The slowest kernels first, since they are most of a network's time; what failed last."""
    rows = []
    for (kernel, place), some in _grouped(records, lambda r: (r.kernel, r.place)).items():
        first = by_time(some)[0]
        rows.append(
            KernelRow(
                kernel=kernel,
                primitive=first.primitive,
                workload=first.workload,
                place=place,
                candidates=len(some),
                failed=_failed(some),
                fastest=first if first.status == "ok" else None,
            )
        )
    return sorted(rows, key=lambda row: (row.fastest is None, -_seconds(row.fastest)))


def by_time(records: Iterable[Record]) -> list[Record]:
    """The fastest first, what failed last."""
    return sorted(records, key=lambda each: (_seconds(each), each.status, each.candidate))


def _seconds(record: Record | None) -> float:
    return math.inf if record is None or record.seconds is None else record.seconds


def _failed(records: Iterable[Record]) -> dict[str, int]:
    return dict(sorted(Counter(each.status for each in records if each.status != "ok").items()))


def _newest(records: Iterable[Record]) -> float:
    return max(each.created for each in records)


def _grouped(records: Iterable[Record], key: Callable[[Record], Key]) -> Mapping[Key, list[Record]]:
    found: dict[Key, list[Record]] = defaultdict(list)
    for record in records:
        found[key(record)].append(record)
    return found
