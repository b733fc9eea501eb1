"""Finding a stack by the first digits of its key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlas.errors import InputError, StoreError
from dlas.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from dlas.node import Node


def find_key(store: Store, prefix: str) -> str:
    """The one stack whose key starts so. StoreError where there is none, or several."""
    keys = store.results.find(prefix)
    if not keys:
        raise StoreError(
            f"no stack with a key that starts with {prefix!r} in this store; `dlas show STUDY` "
            "lists them. Results that were read from a file have no store: their report knows more"
        )
    if len(keys) > 1:
        some = ", ".join(key[:12] for key in keys[:4])
        raise StoreError(f"{len(keys)} stacks start with {prefix!r} ({some} …); give more digits")
    return keys[0]


def find_chain(store: Store, stack: str) -> Sequence[Node]:
    """The nodes of a stack named by its key, or of the first one of the study in a file that has
    one network. InputError where it has several."""
    from dlas.analysis.sparse_stacks import recorded_chain
    from dlas.study.space import Study

    if not stack.endswith(".toml"):
        return recorded_chain(store, find_key(store, stack))
    chains = [one.chain() for one in Study.open(stack).stacks]
    models = {node.key for chain in chains for node in chain if node.layer == "models"}
    if len(models) > 1:
        raise InputError(f"{stack} has {len(models)} networks: name a stack by its key")
    return chains[0]


def find_row(store: Store, prefix: str) -> pd.Series:
    """The results of that stack, in the last study that holds it."""
    from dlas.store.frame import results_frame

    key = find_key(store, prefix)
    study = store.results.studies_of(key)[0]
    frame = results_frame(store.results, study)
    return frame[frame["key"] == key].iloc[0]
