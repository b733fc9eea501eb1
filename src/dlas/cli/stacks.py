"""Finding a stack by the first digits of its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlas.errors import StoreError
from dlas.store.store import Store

if TYPE_CHECKING:
    import pandas as pd


def find_key(store: Store, prefix: str) -> str:
    """The one stack whose key starts so. StoreError where there is none, or several."""
    keys = store.results.find(prefix)
    if not keys:
        raise StoreError(
            f"no stack with a key that starts with {prefix!r}; `dlas show STUDY` lists them"
        )
    if len(keys) > 1:
        some = ", ".join(key[:12] for key in keys[:4])
        raise StoreError(f"{len(keys)} stacks start with {prefix!r} ({some} …); give more digits")
    return keys[0]


def find_row(store: Store, prefix: str) -> pd.Series:
    """The results of that stack, in the last study that holds it."""
    from dlas.store.frame import results_frame

    key = find_key(store, prefix)
    for study in store.results.studies():
        frame = results_frame(store.results, study)
        rows = frame[frame["key"] == key]
        if len(rows):
            return rows.iloc[0]
    raise StoreError(f"stack {key[:12]} is in no study")
