"""Made-up records of tuning."""

from __future__ import annotations

from typing import Any

import msgspec

from dlas.tuning.record import Place, Record

PLACE = Place(machine="cpu A", target="x86-64 A", compiler="apache-tvm 0.27", revision=5)
ELSEWHERE = msgspec.structs.replace(PLACE, machine="cpu B")


def made(number: int = 0, **changes: Any) -> Record:
    plain = dict(
        kernel="k", candidate=f"c{number}", primitive="gemm", workload={"rows": 64.0, "taps": 9.0},
        knobs={"tile": float(number)}, estimate=1e6, seconds=1e-3 * (number + 1), status="ok",
        place=PLACE, created=1000.0 + number,
    )  # fmt: skip
    return Record(**{**plain, **changes})


def failed(number: int = 0, **changes: Any) -> Record:
    return made(number, **{"seconds": None, "status": "crashed", **changes})
