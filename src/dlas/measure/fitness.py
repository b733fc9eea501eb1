"""Is this machine fit to measure on? One function per item, each with its judgement and advice."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Literal

import msgspec

from dlas.hardware.energy import find_counters
from dlas.hardware.memory import available_bytes
from dlas.hardware.probe import find_compiler
from dlas.measure.conditions import OTHERS, governors, others_share, read_conditions, steal_share
from dlas.target.cgroup import ROOT, cpu_quota
from dlas.target.linux import text_of
from dlas.target.target import Target, host

_CPU = "sys/devices/system/cpu"
_LOOK_S = 0.5
_ENOUGH_BYTES, _FEW_BYTES = 2 * 2**30, 2**30
_FINE_CLOCK_S = 1e-6


class Finding(msgspec.Struct, frozen=True):
    """One item: its value, a judgement, what it means for measuring, and what to do about it
    (advice "" where there is nothing to do)."""

    item: str
    value: str
    verdict: Literal["ok", "warn", "bad"]
    sentence: str
    advice: str = ""


def examine(root: Path = ROOT) -> list[Finding]:
    """All items. Watches the machine for half a second."""
    target = host()
    return [
        *load(),
        governor(root),
        turbo(root),
        smt(root),
        cpus(target, cpu_quota(root)),
        free_memory(available_bytes()),
        swap(),
        virtualization(root),
        clock(root),
        compiler(),
        energy(root),
    ]


def load() -> list[Finding]:
    """What other processes and a hypervisor take, watched for half a second."""
    before = read_conditions()
    time.sleep(_LOOK_S)
    after = read_conditions()
    others, steal = others_share(before, after, 0.0), steal_share(before, after)
    return [
        busyness(others, os.getloadavg()[0]),
        *([] if steal is None else [stolen(steal, before.steal_s or 0.0)]),
    ]


def busyness(others: float | None, load_average: float) -> Finding:
    value = f"load {load_average:.2f}" + (
        "" if others is None else f", {others:.0%} used by others"
    )
    if others is not None and others > OTHERS:
        return Finding(
            "load",
            value,
            "bad",
            "Other processes disturb every measurement.",
            "Stop them, or wait.",
        )
    return Finding("load", value, "ok", "Little else runs.")


def stolen(share: float, total_s: float) -> Finding:
    value = f"{share:.1%} now, {total_s:.0f} s since start"
    if share > 0:
        return Finding(
            "steal",
            value,
            "warn",
            "The hypervisor gives CPU time of this machine to others.",
            "Measure when it is quiet, or on a machine of your own.",
        )
    return Finding("steal", value, "ok", "The hypervisor takes no time away.")


def governor(root: Path) -> Finding:
    found = governors(root)
    if found is None:
        return Finding(
            "governor", "not shown", "ok", "The machine does not show how its frequency is set."
        )
    if found == "performance":
        return Finding("governor", found, "ok", "CPUs run at their highest frequency.")
    return Finding(
        "governor",
        found,
        "warn",
        "CPUs change their frequency with the load.",
        "sudo cpupower frequency-set -g performance",
    )


def turbo(root: Path) -> Finding:
    intel = text_of(root / _CPU / "intel_pstate/no_turbo").strip()
    other = text_of(root / _CPU / "cpufreq/boost").strip()
    if not (intel or other):
        return Finding("turbo", "not shown", "ok", "The machine does not show its turbo mode.")
    if intel == "0" or other == "1":
        path = f"/{_CPU}/intel_pstate/no_turbo" if intel else f"/{_CPU}/cpufreq/boost"
        return Finding(
            "turbo",
            "on",
            "warn",
            "The frequency depends on heat and on how many cores work.",
            f"For steadier figures: echo {1 if intel else 0} | sudo tee {path}",
        )
    return Finding("turbo", "off", "ok", "The frequency does not depend on heat.")


def smt(root: Path) -> Finding:
    active = text_of(root / _CPU / "smt/active").strip()
    if active == "1":
        return Finding(
            "SMT",
            "on",
            "warn",
            "Two logical CPUs share a core; dlas times on one per core, but other work may use its "
            "sibling.",
            f"For steadier figures: echo off | sudo tee /{_CPU}/smt/control",
        )
    return Finding("SMT", "off" if active else "not shown", "ok", "One logical CPU per core.")


def cpus(target: Target, quota: float | None) -> Finding:
    online = max(os.cpu_count() or 1, len(target.cpus))
    value = f"{len(target.cpus)} of {online}" + ("" if quota is None else f", quota {quota:g}")
    if quota is not None and quota < len(target.cpus):
        return Finding(
            "CPUs",
            value,
            "bad",
            "A quota pauses processes that use their share, in the middle of a run.",
            "Give the container whole CPUs instead (docker: --cpuset-cpus).",
        )
    if len(target.cpus) == 1:
        return Finding(
            "CPUs", value, "warn", "Measuring shares its only CPU with all that runs.", "Use two."
        )
    return Finding("CPUs", value, "ok", "This process may use them without a quota.")


def free_memory(available: int) -> Finding:
    value = f"{available / 2**30:.1f} GiB free"
    if available < _FEW_BYTES:
        advice = "Free some: networks that run side by side need about 0.3 GiB each."
        return Finding("memory", value, "bad", "Large networks will not fit.", advice)
    if available < _ENOUGH_BYTES:
        advice = "Free some, so that more networks are timed side by side."
        return Finding("memory", value, "warn", "Few networks fit side by side.", advice)
    return Finding("memory", value, "ok", "Enough for networks to be timed side by side.")


def swap() -> Finding:
    import psutil

    used = int(psutil.swap_memory().used)
    value = f"{used / 2**20:.0f} MiB used"
    if used > 64 * 2**20:
        return Finding(
            "swap",
            value,
            "warn",
            "Memory has been short; pages may come from disk.",
            "Free memory.",
        )
    return Finding("swap", value, "ok", "No measurement waits for the disk.")


def virtualization(root: Path) -> Finding:
    flags = re.search(r"^flags\s*:.*\bhypervisor\b", text_of(root / "proc/cpuinfo"), re.MULTILINE)
    named = text_of(root / "sys/hypervisor/type") or text_of(root / "proc/device-tree/hypervisor")
    if flags or named:
        return Finding(
            "virtual machine",
            "yes",
            "warn",
            "Neighbours share caches, memory and heat, unseen; frequency and energy are hidden.",
            "Compare only what was measured side by side.",
        )
    return Finding("virtual machine", "no", "ok", "The machine is not shared by a hypervisor.")


def clock(root: Path) -> Finding:
    resolution_s = time.get_clock_info("perf_counter").resolution
    source = text_of(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
    value = " ".join([f"{resolution_s * 1e9:.0f} ns", source.strip()]).strip()
    if resolution_s > _FINE_CLOCK_S:
        return Finding("clock", value, "warn", "Too coarse for networks that take microseconds.")
    return Finding("clock", value, "ok", "Fine enough for single runs.")


def compiler() -> Finding:
    found = find_compiler()
    if found is None:
        return Finding(
            "C compiler",
            "none",
            "bad",
            "Compiled networks cannot be linked, nor the processor's ceilings measured.",
            "Install one; on Debian and Ubuntu: apt-get install gcc",
        )
    return Finding("C compiler", found, "ok", "It links compiled networks.")


def energy(root: Path) -> Finding:
    counters, why = find_counters(root)
    if not counters:
        return Finding("energy", "none", "ok", f"{why[0].upper()}{why[1:]}.")
    return Finding("energy", f"{len(counters)} counters", "ok", "Energy is read from the machine.")
