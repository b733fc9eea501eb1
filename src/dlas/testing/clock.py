"""A machine whose time passes only when its sessions run: measuring tested without waiting."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from dlas.errors import DlasError
from dlas.measure import statistics
from dlas.measure.conditions import Conditions
from dlas.measure.protocol import LayerTime, SessionError, Usage

#: Latency in seconds of a run that starts at that second.
Latency = Callable[[float], float]

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class FakeMachine:
    """Two CPUs; ``others`` and ``steal`` are the shares of them that other processes use and that
    a hypervisor takes away. ``log`` has a (session, count) for every block that was run."""

    def __init__(
        self, others: float = 0.0, steal: float = 0.0, available_bytes: int = 1 << 34
    ) -> None:
        self.at_s = 0.0
        self.worked_s = 0.0
        self.log: list[tuple[str, int]] = []
        self.open: list[str] = []
        self._others, self._steal, self._available_bytes = others, steal, available_bytes

    def now(self) -> datetime:
        return _EPOCH + timedelta(seconds=self.at_s)

    def available_bytes(self) -> int:
        return self._available_bytes

    def usable_cpus(self) -> int:
        return 2

    def conditions(self) -> Conditions:
        return Conditions(
            at_s=self.at_s,
            cpus=2,
            own_s=0.0,
            load_average=2 * self._others,
            busy_s=self.worked_s + 2 * self.at_s * self._others,
            steal_s=2 * self.at_s * self._steal,
        )


class FakeSession:
    """Takes ``latency`` for each run, and raises ``error`` at the run number ``fails_at`` (from 0;
    −1: while loading), and ``unprofiled`` when it is asked for a profile: else half of a run's
    time is its convolution's."""

    def __init__(
        self,
        machine: FakeMachine,
        name: str,
        latency: float | Latency,
        *,
        peak_bytes: int = 1 << 20,
        fails_at: int | None = None,
        error: SessionError | None = None,
        unprofiled: DlasError | None = None,
    ) -> None:
        self.machine, self.name = machine, name
        self.closed = False
        self._latency = latency
        self._peak_bytes = peak_bytes
        self._fails_at = fails_at
        self._error = error or SessionError("failed", f"{name} failed")
        self._unprofiled = unprofiled
        self._runs = 0
        self._cpu_s = 0.0
        machine.open.append(name)

    def wait(self) -> None:
        if self._fails_at == -1:
            raise self._error

    def run(self, count: int) -> list[float]:
        self.machine.log.append((self.name, count))
        return [self._once() for _ in range(count)]

    def _once(self) -> float:
        if self._runs == self._fails_at:
            raise self._error
        self._runs += 1
        latency_s = (
            self._latency if isinstance(self._latency, float) else self._latency(self.machine.at_s)
        )
        self.machine.at_s += latency_s
        self.machine.worked_s += latency_s
        self._cpu_s += latency_s
        return latency_s

    def profile(self, count: int) -> tuple[LayerTime, ...]:
        if self._unprofiled is not None:
            raise self._unprofiled
        each_s = statistics.median([self._once() for _ in range(count)]) / 2
        return (
            LayerTime(name="conv", op="Conv", seconds=each_s, kind="layer", layers=("conv",)),
            LayerTime(name="pool", op="MaxPool", seconds=each_s),
        )

    def usage(self) -> Usage:
        return Usage(peak_bytes=self._peak_bytes, cpu_s=self._cpu_s)

    def energy_j(self) -> float | None:
        return None

    def energy_absent(self) -> str:
        return "a fake session has no energy counter"

    def close(self) -> None:
        if not self.closed:
            self.machine.open.remove(self.name)
        self.closed = True
