"""Limits that a container or a service manager sets on this process (Linux control groups)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def cpu_quota(root: Path = ROOT) -> float | None:
    """CPUs' worth of time this process may use, the tightest of all levels; None without limit."""
    quotas = []
    for text in _values(root, "cpu", "cpu.max"):
        quota, _, period = text.partition(" ")
        if quota != "max":
            quotas.append(int(quota) / int(period))
    periods = list(_values(root, "cpu", "cpu.cfs_period_us"))
    for quota, period in zip(_values(root, "cpu", "cpu.cfs_quota_us"), periods, strict=False):
        if int(quota) > 0:
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_left(root: Path = ROOT) -> int | None:
    """Bytes until the tightest memory limit, counting cached files that can be dropped as free;
    None without limit."""
    left = []
    for limit_file, used_file in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        names = (limit_file, used_file, "memory.stat")
        for limit, used, stat in zip(*(_values(root, "memory", n) for n in names), strict=False):
            # Version 1 writes "no limit" as the largest page-aligned number.
            if limit != "max" and int(limit) < 1 << 60:
                cached = re.search(r"^(?:total_)?inactive_file (\d+)", stat, re.MULTILINE)
                left.append(int(limit) - int(used) + (int(cached[1]) if cached else 0))
    return max(0, min(left)) if left else None


def _values(root: Path, controller: str, name: str) -> Iterator[str]:
    """The file ``name`` in this process's group and each group above it, both versions."""
    mount = root / "sys/fs/cgroup"
    for base, group in _groups(root, controller, mount):
        for folder in (group, *group.parents):
            try:
                yield (base / folder / name).read_text().strip()
            except OSError:
                continue  # this level has no such limit, or it is hidden from the container


def _groups(root: Path, controller: str, mount: Path) -> Iterator[tuple[Path, Path]]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        relative = Path(path.lstrip("/"))
        if controllers == "":
            yield mount, relative
        elif controller in controllers.split(","):
            yield mount / controllers, relative
