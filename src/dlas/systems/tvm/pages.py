"""Weights in huge pages: where the system leaves them to be asked for, as most Linux systems do.

A layer late in a network reads megabytes of weights for a few pixels, from memory. With pages of
4 KiB every page is a new translation and a new start for the processor's prefetching; with pages of
2 MiB the same loops read half as much again in a second (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Range = tuple[int, int]  # addresses: from, up to

HUGE = 2 << 20
#: From Linux's uapi/asm-generic/mman-common.h: use huge pages here, and do so now (Linux 6.1).
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25


@contextmanager
def in_huge_pages() -> Iterator[None]:
    """What is allocated inside lies in huge pages afterwards, where there are any: the whole ones
    of memory mapped meanwhile. Elsewhere, nothing happens."""
    before = mapped()
    yield
    for start, end in new(mapped(), before):
        first, last = -(-start // HUGE) * HUGE, end // HUGE * HUGE
        if first < last:
            advise(first, last - first)


def mapped() -> list[Range]:
    """This process's anonymous writable memory, in order of addresses; empty but on Linux."""
    if sys.platform != "linux":
        return []
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, access, _, _, inode, *name = line.split(maxsplit=5)
        if access == "rw-p" and inode == "0" and not name:
            start, end = (int(address, 16) for address in addresses.split("-"))
            found.append((start, end))
    return found


def new(after: Sequence[Range], before: Sequence[Range]) -> Iterator[Range]:
    """The parts of ``after`` that ``before`` does not cover; both are in order."""
    for start, end in after:
        for low, high in before:
            if low < end and high > start:
                if start < low:
                    yield start, low
                start = high
        if start < end:
            yield start, end


def advise(start: int, length: int) -> None:
    libc = ctypes.CDLL(None)
    for advice in (MADV_HUGEPAGE, MADV_COLLAPSE):  # refused where there are none: nothing is lost
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), advice)
