"""One process at a time, where several share a cache."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """While no other process of this machine has the file; at once where it cannot be opened, or
    its file system has no locks."""
    try:
        import fcntl

        lock = file.open("w")
    except (ImportError, OSError):
        yield
        return
    with lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
