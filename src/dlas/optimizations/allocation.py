"""How sparse each layer becomes: chosen by what it gains per loss.

Layers are measured one at a time (``dlas.optimizations.sensitivity``); that their losses add up is
an assumption (as in Frantar & Alistarh 2022, "SPDY").
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from dlas.network import Network
from dlas.optimizations.sensitivity import Curve

REPORT = "sparsities.json"

#: Nats that every level costs besides, so that where none is lost the greatest gain comes first.
FLOOR = 1e-9


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """``loss_nats``: the rise of the cross-entropy when this layer alone is so sparse."""

    sparsity: float
    loss_nats: float
    gain: float


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """``sparsity``: what was chosen, as the network has it. ``gain_unit``: macs or s."""

    layer: str
    weights: int
    sparsity: float
    gain_unit: str
    measured: tuple[Level, ...]


def allocated(curves: Sequence[Curve], zeros: int) -> dict[str, int]:
    """Initializer → zeros, ``zeros`` in all, as far as the highest levels reach.

    Again and again the layer with the most gain per loss is raised, to the level where that is
    most, and the last one only as far as needed. Layers that gain nothing come last, by zeros per
    loss. More zeros never take one away from a layer."""
    counts = [curve.zeros[0] for curve in curves]
    heap = [step for index, curve in enumerate(curves) for step in _best_step(curve, index, 0)]
    heapq.heapify(heap)
    left = zeros - sum(counts)
    while left > 0 and heap:
        _, index, level = heapq.heappop(heap)
        more = min(left, curves[index].zeros[level] - counts[index])
        counts[index] += more
        left -= more
        for step in _best_step(curves[index], index, level):
            heapq.heappush(heap, step)
    return {curve.weight: count for curve, count in zip(curves, counts, strict=True)}


Step = tuple[tuple[bool, float], int, int]  # the least comes first: rank, layer, level


def _best_step(curve: Curve, index: int, level: int) -> list[Step]:
    """From this level of the layer to the one with the most gain per loss; none from the last."""
    losses = np.maximum.accumulate(curve.losses) + FLOOR * np.arange(len(curve.losses))

    def rank(to: int) -> tuple[bool, float]:
        loss = float(losses[to] - losses[level])
        gain = curve.gains[to] - curve.gains[level]
        value = gain if gain > 0 else curve.zeros[to] - curve.zeros[level]
        return gain <= 0, -value / loss

    steps = [(rank(to), index, to) for to in range(level + 1, len(curve.zeros))]
    return [min(steps)] if steps else []


def write_report(folder: Path, curves: Sequence[Curve], pruned: Network) -> None:
    """What was measured and what became of it, in graph order."""
    rows = {row.name: row for row in pruned.layers}
    reports = [
        LayerReport(
            layer=curve.layer,
            weights=curve.weights,
            sparsity=1 - rows[curve.layer].nonzeros / curve.weights,
            gain_unit=curve.unit,
            measured=tuple(
                Level(sparsity=count / curve.weights, loss_nats=loss, gain=gain)
                for count, loss, gain in zip(curve.zeros, curve.losses, curve.gains, strict=True)
            ),
        )
        for curve in curves
    ]
    (folder / REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(reports), indent=1))
