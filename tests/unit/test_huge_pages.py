"""Weights in huge pages: which memory is advised, and that nothing happens where there is none."""

from __future__ import annotations

import mmap
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlas.systems.tvm.pages import HUGE, in_huge_pages, mapped, new

RANGES = st.sets(st.integers(0, 40), max_size=20).map(
    lambda ends: list(zip(sorted(ends)[::2], sorted(ends)[1::2], strict=False))
)


def places(ranges: list[tuple[int, int]]) -> set[int]:
    return {place for start, end in ranges for place in range(start, end)}


@given(after=RANGES, before=RANGES)
def test_new_is_what_was_not_there_before(
    after: list[tuple[int, int]], before: list[tuple[int, int]]
) -> None:
    found = list(new(after, before))
    assert places(found) == places(after) - places(before)
    assert all(start < end for start, end in found)


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux only")
def test_whole_huge_pages_of_what_is_mapped_inside_are_advised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    advised: list[tuple[int, int]] = []
    monkeypatch.setattr("dlas.systems.tvm.pages.advise", lambda *at: advised.append(at))
    with in_huge_pages():
        memory = mmap.mmap(-1, 4 * HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    assert sum(length for _, length in advised) >= 3 * HUGE
    assert all(start % HUGE == length % HUGE == 0 for start, length in advised)
    memory.close()


def test_other_systems_have_no_such_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert mapped() == []
    with in_huge_pages():
        pass
