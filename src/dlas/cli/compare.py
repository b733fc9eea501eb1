"""``dlas compare``: two stacks side by side."""

from __future__ import annotations

from dlas.cli.options import StackKey, StoreOption


def compare(a: StackKey, b: StackKey, store: StoreOption = None) -> None:
    """Compare two stacks: where they differ, and by how much."""
    from rich.console import Console

    from dlas.cli.stacks import find_row
    from dlas.report.terminal import comparison
    from dlas.store.store import open_store

    place = open_store(store)
    Console().print(comparison(find_row(place, a), find_row(place, b)))
