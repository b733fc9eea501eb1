"""How sparse each layer becomes: chosen by what it gains per loss, which is measured.

The loss is the mean Kullback-Leibler divergence of the class probabilities from those of the given
network, in nats: by how much the cross-entropy to the network's own answers rises. It needs no
labels, and means the same for a network with random weights. Layers are measured one at a time;
that losses add up is the assumption (as in Frantar & Alistarh 2022, "SPDY").
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.context import Context
from dlas.data import Data
from dlas.errors import InputError
from dlas.evaluate import scores
from dlas.network import LayerRow, Network
from dlas.optimizations.magnitude import Block, masks_with_zeros, zeroed

REPORT = "sparsities.json"

#: Shares of zeros at which a layer is measured.
LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
HIGHEST = LEVELS[-1]

#: Nats that every level costs besides, so that where none is lost the greatest gain comes first.
FLOOR = 1e-9

#: Layer → share of zeros → seconds.
Costs = Mapping[str, Mapping[float, float]]


@dataclass(frozen=True)
class Curve:
    """One layer at growing numbers of zeros, first those it has already, at no loss and no gain.

    ``weight``: the initializer's name, ``weights``: how many it has; ``losses`` in nats, ``gains``
    in MACs or seconds of one inference."""

    layer: str
    weight: str
    weights: int
    zeros: tuple[int, ...]
    losses: tuple[float, ...]
    gains: tuple[float, ...]
    unit: Literal["macs", "s"] = "macs"


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


# -- measuring ---------------------------------------------------------------------------------


def measured(
    network: Network, data: Data, block: Block, samples: int, costs: Path | None, context: Context
) -> list[Curve]:
    """A curve per layer, on the first ``samples`` calibration images; layers × levels runs.

    One thread, whatever the context has: sums round otherwise with another number."""
    if len(data.calibration) < samples:
        raise InputError(
            f"weight_pruning measures layers on {samples} images and the data set has "
            f"{len(data.calibration)}: lower samples, or give the data set more calibration images"
        )
    images = data.calibration.images(slice(samples))
    rows: dict[str, list[LayerRow]] = {}
    for row in network.layers:
        rows.setdefault(row.weight, []).append(row)
    seconds = read_costs(costs, network) if costs is not None else None
    expected = _log_probabilities(network, images)
    curves = []
    for index, (weight, sharing) in enumerate(rows.items()):
        context.progress(index / len(rows), f"pruning {sharing[0].name} alone")
        size = sharing[0].weights
        present = size - sharing[0].nonzeros
        counts = sorted({math.ceil(level * size) for level in LEVELS})
        zeros = (present, *[count for count in counts if count > present])
        losses = [0.0]
        for count in zeros[1:]:
            alone = zeroed(network, masks_with_zeros(network, {weight: count}, block))
            losses.append(_divergence(expected, _log_probabilities(alone, images)))
        gains = [
            sum(_gain(row, present / size, count / size, seconds) for row in sharing)
            for count in zeros
        ]
        unit: Literal["macs", "s"] = "macs" if seconds is None else "s"
        curves.append(
            Curve(sharing[0].name, weight, size, zeros, tuple(losses), tuple(gains), unit)
        )
    return curves


def _log_probabilities(network: Network, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, classes)."""
    found = scores(network, images).astype(np.float64)
    if not np.isfinite(found).all():
        raise InputError("the network's scores of the calibration images are not all finite")
    found -= found.max(axis=1, keepdims=True)
    return np.asarray(found - np.log(np.exp(found).sum(axis=1, keepdims=True)))


def _divergence(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    return float((np.exp(expected) * (expected - found)).sum(axis=1).mean())


def _gain(row: LayerRow, before: float, after: float, costs: Costs | None) -> float:
    """Between the costs' levels in a straight line; above the last no more."""
    if costs is None:
        return (after - before) * row.macs
    levels, seconds = zip(*sorted(costs[row.name].items()), strict=True)
    then, now = np.interp([before, after], levels, seconds)
    return float(then - now)


def read_costs(path: Path, network: Network) -> Costs:
    """``{layer: {share of zeros: seconds}}`` with every layer of the network, each with its time
    without zeros. InputError says what of the file is something else."""
    try:
        read = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, float]])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; write {{layer: {{level: seconds}}}}") from None
    found = {layer: _levels(times, f"{path}: layer {layer!r}") for layer, times in read.items()}
    for row in network.layers:
        if row.name not in found:
            raise InputError(f"{path}: the network's layer {row.name!r} is missing")
    return found


def _levels(times: Mapping[str, float], place: str) -> dict[float, float]:
    found = {}
    for text, seconds in times.items():
        try:
            level = float(text)
        except ValueError:
            level = math.nan
        if not 0 <= level <= 1:
            raise InputError(f"{place}: the level {text!r} is not a share of zeros in [0, 1]")
        if not seconds >= 0:
            raise InputError(f"{place}: {seconds:g} seconds at the level {text}")
        found[level] = seconds
    if 0.0 not in found or len(found) < 2:
        raise InputError(f"{place} needs its seconds at the level 0 and at one more")
    return found


# -- choosing ----------------------------------------------------------------------------------


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
