"""What pruning one layer alone loses and gains, measured.

The loss is the mean Kullback-Leibler divergence of the class probabilities from those of the given
network, in nats: by how much the cross-entropy to the network's own answers rises. It needs no
labels, and means the same for a network with random weights.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
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

#: Shares of zeros at which a layer is measured.
LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
HIGHEST = LEVELS[-1]

LogProbabilities = NDArray[np.float64]  # (n, classes)

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


def measured(
    network: Network, data: Data, block: Block, samples: int, costs: Path | None, context: Context
) -> list[Curve]:
    """A curve per layer: layers × levels runs of the first ``samples`` calibration images.

    In one thread, whatever the context has: with another number sums round otherwise. Losses are
    kept among the checkpoints, so that a killed run goes on with the layer it was at."""
    if len(data.calibration) < samples:
        raise InputError(
            f"weight_pruning measures layers on {samples} images and the data set has "
            f"{len(data.calibration)}: lower samples, or give the data set more calibration images"
        )
    seconds = read_costs(costs, network) if costs is not None else None
    unit: Literal["macs", "s"] = "macs" if seconds is None else "s"
    images = data.calibration.images(slice(samples))
    losses = _Losses(network, images, block, context.checkpoints)
    rows: dict[str, list[LayerRow]] = {}
    for row in network.layers:
        rows.setdefault(row.weight, []).append(row)
    curves = []
    for index, (weight, sharing) in enumerate(rows.items()):
        first = sharing[0]
        context.progress(index / len(rows), f"pruning {first.name} alone")
        size, present = first.weights, first.weights - first.nonzeros
        counts = sorted({math.ceil(level * size) for level in LEVELS})
        zeros = (present, *[count for count in counts if count > present])
        gains = tuple(
            sum(_gain(row, present / size, count / size, seconds) for row in sharing)
            for count in zeros
        )
        lost = losses.of(weight, zeros)
        curves.append(Curve(first.name, weight, size, zeros, lost, gains, unit))
    return curves


class _Losses:
    def __init__(
        self, network: Network, images: NDArray[np.float32], block: Block, checkpoints: Path
    ) -> None:
        self.network, self.images, self.block = network, images, block
        total = hashlib.sha256(network.model.SerializeToString(deterministic=True))
        total.update(images.tobytes() + repr((block, LEVELS)).encode())
        self.file = checkpoints / f"losses-{total.hexdigest()[:16]}.json"
        self.known: dict[str, tuple[float, ...]] = {}
        if self.file.exists():
            self.known = msgspec.json.decode(
                self.file.read_bytes(), type=dict[str, tuple[float, ...]]
            )
        self.expected = log_probabilities(network, images)

    def of(self, weight: str, zeros: tuple[int, ...]) -> tuple[float, ...]:
        """In nats, with so many zeros in this weight; the first are there already."""
        if weight not in self.known:
            rest = [self._loss(weight, count) for count in zeros[1:]]
            self.known[weight] = (0.0, *rest)
            self._keep()
        return self.known[weight]

    def _loss(self, weight: str, zeros: int) -> float:
        alone = zeroed(self.network, masks_with_zeros(self.network, {weight: zeros}, self.block))
        return divergence(self.expected, log_probabilities(alone, self.images))

    def _keep(self) -> None:
        """A kill at any moment leaves the old file or the new one."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        aside = self.file.with_suffix(f".{os.getpid()}")
        aside.write_bytes(msgspec.json.encode(self.known))
        os.replace(aside, self.file)


def divergence(expected: LogProbabilities, found: LogProbabilities) -> float:
    """The mean over the images, in nats."""
    return float((np.exp(expected) * (expected - found)).sum(axis=1).mean())


def log_probabilities(network: Network, images: NDArray[np.float32]) -> LogProbabilities:
    """What the network says of the images. InputError where that is not finite."""
    found = scores(network, images).astype(np.float64)
    if not np.isfinite(found).all():
        raise InputError("the network's scores of the calibration images are not all finite")
    found -= found.max(axis=1, keepdims=True)
    return np.asarray(found - np.log(np.exp(found).sum(axis=1, keepdims=True)))


# -- gains ---------------------------------------------------------------------------------------


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
