"""Links from a sentence to the stacks behind it: a few characters for any number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import pandas as pd


class Rows:
    """Rows of a frame of ``rows.ready`` by their stacks' keys."""

    def __init__(self, stacks: pd.DataFrame) -> None:
        self._row: Mapping[str, int] = {
            str(key): int(row) for row, key in zip(stacks.index, stacks["key"], strict=True) if key
        }

    def __getitem__(self, key: str) -> int | None:
        return self._row.get(key)

    def link(self, keys: Iterable[str]) -> dict[str, Any]:
        """``rows``: as the page's script reads them; ``stacks``: how many."""
        found = sorted({self._row[key] for key in keys if key in self._row})
        return {"rows": ranges(found), "stacks": len(found)}


def ranges(rows: Iterable[int]) -> str:
    """Ascending rows, runs of them shortened.

    >>> ranges([0, 1, 2, 3, 7])
    '0-3 7'
    """
    parts = []
    for _, run in groupby(enumerate(rows), key=lambda pair: pair[1] - pair[0]):
        found = [row for _, row in run]
        parts.append(f"{found[0]}-{found[-1]}" if len(found) > 1 else str(found[0]))
    return " ".join(parts)
