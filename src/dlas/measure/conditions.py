"""The machine's state before and after a measurement, and what in it makes the numbers doubtful.

Doubts are values, stored beside the samples: a busy machine is measured all the same, and said.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from typing import Protocol as Interface

import msgspec

from dlas.hardware import memory
from dlas.target.cgroup import ROOT
from dlas.target.linux import text_of
from dlas.target.target import host

#: Shares of the machine's CPU time above which a measurement is doubted.
OTHERS, STEAL = 0.05, 0.01
#: Below this share of the highest frequency the clock counts as slow.
SLOW_CLOCK = 0.8
#: Time that /proc/stat cannot tell from zero: it counts in ticks of 10 ms per CPU.
_TICKS_S = 0.1

Kind = Literal["busy", "steal", "throttled", "governor", "slow_clock", "drift", "wide_interval"]


class Flag(msgspec.Struct, frozen=True):
    """One reason to doubt a measurement."""

    kind: Kind
    sentence: str


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The machine at one moment. ``*_s`` count up from an arbitrary start: ``busy_s`` is the CPU
    time of all processes, ``steal_s`` what a hypervisor gave to others, ``own_s`` this process's.
    None where the machine does not say. ``clock_hz`` is the fastest CPU's."""

    at_s: float
    cpus: int
    own_s: float
    load_average: float | None = None
    busy_s: float | None = None
    steal_s: float | None = None
    clock_hz: float | None = None
    clock_max_hz: float | None = None
    governor: str | None = None
    temperature_c: float | None = None
    throttles: int | None = None


class Machine(Interface):
    """What measuring asks of the machine it runs on; a fake one stands in for it in tests."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        ...

    def conditions(self) -> Conditions: ...

    def available_bytes(self) -> int:
        """Memory that sessions may still take."""
        ...

    def usable_cpus(self) -> int:
        """How many processes can load side by side without waiting for each other."""
        ...


class ThisMachine:
    """The machine that this process runs on."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def conditions(self) -> Conditions:
        return read_conditions()

    def available_bytes(self) -> int:
        return memory.available_bytes()

    def usable_cpus(self) -> int:
        return host().usable


def read_conditions(root: Path = ROOT) -> Conditions:
    """Now. Takes about a millisecond."""
    import psutil

    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    steal: float | None = getattr(times, "steal", None)
    # Linux counts guests' time in user's, too.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return Conditions(
        at_s=time.monotonic(),
        cpus=os.cpu_count() or 1,
        own_s=time.process_time(),
        load_average=os.getloadavg()[0],
        busy_s=total - idle - (steal or 0.0),
        steal_s=steal,
        clock_hz=_fastest(root, "scaling_cur_freq"),
        clock_max_hz=_fastest(root, "cpuinfo_max_freq"),
        governor=governors(root),
        temperature_c=_temperature(root),
        throttles=_throttles(root),
    )


def governors(root: Path = ROOT) -> str | None:
    """The CPUs' frequency governors, usually one; None where the machine does not say."""
    found = {text_of(path).strip() for path in _cpu_files(root, "cpufreq/scaling_governor")}
    return ", ".join(sorted(found)) or None


def others_share(before: Conditions, after: Conditions, workers_s: float) -> float | None:
    """The share of the machine's CPU time that went to processes other than this one and its
    workers, which used ``workers_s``; None where the machine does not say."""
    if before.busy_s is None or after.busy_s is None:
        return None
    others_s = after.busy_s - before.busy_s - (after.own_s - before.own_s) - workers_s
    passed_s = (after.at_s - before.at_s) * after.cpus
    return max(0.0, others_s / passed_s) if passed_s > 0 and others_s > _TICKS_S else 0.0


def steal_share(before: Conditions, after: Conditions) -> float | None:
    """The share of CPU time that a hypervisor took away; None where the machine does not say."""
    if before.steal_s is None or after.steal_s is None:
        return None
    stolen_s = after.steal_s - before.steal_s
    passed_s = (after.at_s - before.at_s) * after.cpus
    return stolen_s / passed_s if passed_s > 0 and stolen_s > _TICKS_S else 0.0


def judge(before: Conditions, after: Conditions, workers_s: float) -> list[Flag]:
    """What in the machine's state makes a measurement between these two moments doubtful."""
    flags = []
    others, steal = others_share(before, after, workers_s), steal_share(before, after)
    if others is not None and others > OTHERS:
        flags.append(Flag("busy", f"other processes used {others:.0%} of the machine meanwhile"))
    if steal is not None and steal > STEAL:
        flags.append(Flag("steal", f"the hypervisor took {steal:.0%} of the CPU time away"))
    if (after.throttles or 0) > (before.throttles or 0):
        flags.append(Flag("throttled", "the processor slowed down because it was too hot"))
    if after.governor is not None and after.governor != "performance":
        flags.append(Flag("governor", f"the frequency governor is {after.governor}"))
    if after.clock_hz and after.clock_max_hz and after.clock_hz < SLOW_CLOCK * after.clock_max_hz:
        clocks = f"{after.clock_hz / 1e9:.1f} of {after.clock_max_hz / 1e9:.1f} GHz"
        flags.append(Flag("slow_clock", f"the fastest CPU ran at {clocks}"))
    return flags


def _cpu_files(root: Path, name: str) -> list[Path]:
    return sorted((root / "sys/devices/system/cpu").glob(f"cpu[0-9]*/{name}"))


def _fastest(root: Path, name: str) -> float | None:
    values = [text_of(path).strip() for path in _cpu_files(root, f"cpufreq/{name}")]
    return max((1000.0 * int(value) for value in values if value.isdigit()), default=None)


def _temperature(root: Path) -> float | None:
    values = [text_of(p).strip() for p in (root / "sys/class/thermal").glob("thermal_zone*/temp")]
    return max((int(v) / 1000 for v in values if v.lstrip("-").isdigit()), default=None)


def _throttles(root: Path) -> int | None:
    paths = _cpu_files(root, "thermal_throttle/core_throttle_count")
    return sum(int(text_of(path) or 0) for path in paths) if paths else None
