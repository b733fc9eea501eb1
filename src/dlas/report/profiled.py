"""The profiles of a study's stacks, as the page's bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from dlas.analysis.profiles import LayerShare, profile_table, promised_layers, recorded_profile
from dlas.node import Node
from dlas.report.info import LayerBar
from dlas.store.results import Measured
from dlas.store.store import Store


def layer_bars(
    store: Store, nodes: Mapping[str, Node], measured: Mapping[str, Measured]
) -> Iterator[tuple[str, tuple[LayerBar, ...]]]:
    """By the stack's key, of those whose ``measured`` has a profile. A page is not worth verifying
    networks for."""

    @cache
    def promised(network: str) -> tuple[LayerShare, ...]:
        return promised_layers(store.artifacts.place(network))

    for key, one in measured.items():
        profile, _ = recorded_profile(one.record)
        if profile:
            above = key
            while nodes[above].layer not in ("optimizations", "models"):
                above = nodes[above].parent
            rows = profile_table(promised(above), profile).rows
            yield key, tuple(LayerBar(row.name, row.op, row.promised, row.seconds) for row in rows)
