"""Memory: the most this process has held, and what the machine can still give."""

from __future__ import annotations

import re
import resource
from pathlib import Path

from dlas.target.cgroup import ROOT, memory_left


def peak_bytes(root: Path = ROOT) -> int:
    """The most memory this process has held in RAM since it started its program.

    ``VmHWM`` on Linux, where ``ru_maxrss`` would inherit the parent's; ``ru_maxrss`` on a Mac."""
    try:
        text = (root / "proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


def available_bytes() -> int:
    """What can be taken without swapping, under this process's own limits."""
    import psutil

    left = memory_left()
    available = int(psutil.virtual_memory().available)
    return available if left is None else min(available, left)
