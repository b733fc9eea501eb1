"""A device that takes a constant time for everything: the whole pipeline without waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from dlas.errors import Refused
from dlas.executable import read_header
from dlas.hardware.base import Hardware
from dlas.measure.protocol import LayerTime, Session, Usage


class Null(Hardware, frozen=True, kw_only=True):
    """Runs nothing and says that every inference took ``latency_s``."""

    name: ClassVar[str] = "null"

    latency_s: Annotated[float, msgspec.Meta(gt=0)] = 0.001

    def open(self, executable: Path) -> Session:
        read_header(executable)
        return NullSession(self.latency_s)

    def fingerprint(self) -> dict[str, str]:
        return {"device": "null"}


class NullSession:
    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s

    def wait(self) -> None:
        pass

    def run(self, count: int) -> list[float]:
        return [self._latency_s] * count

    def profile(self, count: int) -> tuple[LayerTime, ...]:
        raise Refused("the null device computes no layer")

    def usage(self) -> Usage:
        return Usage()

    def energy_j(self) -> float | None:
        return None

    def energy_absent(self) -> str:
        return "the null device has no energy counter"

    def close(self) -> None:
        pass
