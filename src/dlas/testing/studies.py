"""Made-up studies whose truth is known: which choices interact, which flip, which do nothing.

Latencies are as real ones: multiplicative and skewed, with outliers, drift that meets all stacks
timed side by side, an offset for each such session, and cells that were refused or failed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlas.measure.interleave import BLOCK_RUNS, BLOCK_S, ROUNDS
from dlas.measure.statistics import round_medians, rounds_interval
from dlas.store.schema import RESULTS

Floats = NDArray[np.float64]

MACHINE = "Made-up CPU, 4 cores"
NETWORKS = (
    "vgg16", "resnet18", "mobilenetv2", "densenet161", "efficientnetb0", "resnet50", "wrn40-2",
    "resnext29", "googlenet", "squeezenet",
)  # fmt: skip
COMPRESSIONS = ("none", "weight_pruning", "channel_pruning", "float16", "int8", "bfloat16")
PRIMITIVES = ("direct", "gemm", "spatial_pack", "winograd")
TUNINGS = ("untuned", "template", "auto")
PEERS = ("onnxruntime", "openvino", "pytorch")
#: Log standard deviations: of one sample, of what is peculiar to a stack, of a session's offset.
_NOISE = (0.004, 0.05)
_PECULIAR = (0.0, 0.08)
_OFFSET = 0.01
#: How a session drifts from round to round, and what else a stack's runs of a round have in common:
#: steps, in units of the noise of a sample, and how much of them is left a round later.
_SESSION = (0.2, 0.9)
_ROUND = (0.3, 0.2)


class Shape(NamedTuple):
    """Of the grid: how many networks, compressions, algorithms, tunings and numbers of threads."""

    networks: int = 5
    compressions: int = 5
    primitives: int = 3
    tunings: int = 2
    threads: int = 1


USUAL = Shape()


@dataclass(frozen=True)
class PlantedStudy:
    """``frame`` and ``rounds`` as ``understand`` takes them. ``factors``, ``levels``: of the grid
    of tvm's stacks; ``log_latency``: their true log medians, an axis per factor, cells that were
    not measured included; ``measured``: which were. ``pairs``: those that were made to interact."""

    frame: pd.DataFrame
    samples: Mapping[str, Floats]
    blocks: Mapping[str, list[int]]
    factors: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    log_latency: Floats
    measured: NDArray[np.bool_]
    pairs: frozenset[tuple[str, str]]

    @property
    def rounds(self) -> dict[str, Floats]:
        return {key: round_medians(s, self.blocks[key]) for key, s in self.samples.items()}


def planted_study(
    seed: int,
    shape: Shape = USUAL,
    holes: float | None = None,
    runs: int | None = None,
    peers: bool | None = None,
) -> PlantedStudy:
    """``holes``: the share of cells that were refused or failed, 0 to 0.3 by default; ``runs``:
    samples per stack, 30 to 150 by default; ``peers``: whether other systems are beside tvm."""
    random = np.random.default_rng(seed)
    every = (
        ("network", NETWORKS[: shape.networks]),
        ("compression", COMPRESSIONS[: shape.compressions]),
        ("primitive", PRIMITIVES[: shape.primitives]),
        ("tuning", TUNINGS[: shape.tunings]),
        ("threads", tuple(str(2**i) for i in range(shape.threads))),
    )
    grid = {name: levels for name, levels in every if len(levels) > 1}
    log_latency, pairs = _truth(random, tuple(grid), tuple(grid.values()))
    share = random.uniform(0, 0.3) if holes is None else holes
    measured = random.random(log_latency.shape) >= share
    count = int(random.integers(30, 151)) if runs is None else runs
    beside = random.random() < 0.5 if peers is None else peers
    return measured_study(grid, log_latency, measured, random, count, beside, pairs)


def measured_study(
    grid: Mapping[str, tuple[str, ...]],
    log_latency: Floats,
    measured: NDArray[np.bool_] | None = None,
    random: np.random.Generator | None = None,
    runs: int = 60,
    peers: bool = False,
    pairs: frozenset[tuple[str, str]] = frozenset(),
) -> PlantedStudy:
    """A study with these true log medians, an axis per factor of ``grid``; its levels are those
    of this module."""
    random = random or np.random.default_rng(0)
    factors, levels = tuple(grid), tuple(grid.values())
    there = np.ones(log_latency.shape, bool) if measured is None else measured
    rows: list[dict[str, Any]] = []
    samples: dict[str, Floats] = {}
    blocks: dict[str, list[int]] = {}
    sessions = _Sessions(random, runs)
    for at in np.ndindex(log_latency.shape):
        chosen = {name: found[i] for name, found, i in zip(factors, levels, at, strict=True)}
        row = _row(chosen, "tvm", random)
        if there[at]:
            samples[row["key"]], blocks[row["key"]] = sessions.timed(row, float(log_latency[at]))
        rows.append(row)
    if peers:
        for row, latency in _peers(random, factors, levels, log_latency):
            samples[row["key"]], blocks[row["key"]] = sessions.timed(row, latency)
            rows.append(row)
    frame = _frame(rows, samples, blocks)
    return PlantedStudy(frame, samples, blocks, factors, levels, log_latency, there, pairs)


def _truth(
    random: np.random.Generator, factors: tuple[str, ...], levels: tuple[tuple[str, ...], ...]
) -> tuple[Floats, frozenset[tuple[str, str]]]:
    """Single choices of any strength, some pairs that interact, and what is peculiar to a stack."""
    sizes = [len(found) for found in levels]
    found = np.full(sizes, np.log(5e-3))
    for i, size in enumerate(sizes):
        found += _along(
            _scaled(random.standard_normal(size), random.uniform(0.05, 0.6)), (i,), sizes
        )
    pairs = set()
    for i, j in combinations(range(len(sizes)), 2):
        if random.random() < 0.4:
            block = random.standard_normal((sizes[i], sizes[j]))
            block -= block.mean(axis=0) + block.mean(axis=1, keepdims=True) - block.mean()
            found += _along(_scaled(block, random.uniform(0.15, 0.4)), (i, j), sizes)
            pairs.add((factors[i], factors[j]))
    return found + random.normal(0, random.uniform(*_PECULIAR), sizes), frozenset(pairs)


def _scaled(values: Floats, spread: float) -> Floats:
    centred: Floats = values - values.mean()
    return centred * spread / max(float(centred.std()), 1e-9)


def _along(values: Floats, axes: tuple[int, ...], sizes: list[int]) -> Floats:
    return values.reshape([size if i in axes else 1 for i, size in enumerate(sizes)])


class _Sessions:
    """Stacks of one network and compression are timed in turns, a block each per round: one
    offset, one drift from round to round, and what else the runs of a block have in common."""

    def __init__(self, random: np.random.Generator, runs: int) -> None:
        self._random, self._runs = random, runs
        self._noise = random.uniform(*_NOISE)
        self._outliers = random.uniform(0, 0.05)
        self._drift: dict[str, Floats] = {}

    def timed(self, row: Mapping[str, object], log_latency: float) -> tuple[Floats, list[int]]:
        """Samples, and how many each round gave: the slower, the fewer, as is measured."""
        random, runs = self._random, self._runs
        size = min(max(BLOCK_RUNS, math.ceil(BLOCK_S / math.exp(log_latency))), -(-runs // ROUNDS))
        blocks = [size] * (runs // size) + [runs % size] * (runs % size > 0)
        name = session(row)
        if name not in self._drift:
            self._drift[name] = random.normal(0, _OFFSET) + self._wandering(runs, *_SESSION)
        common = self._drift[name][: len(blocks)] + self._wandering(len(blocks), *_ROUND)
        skewed = random.gamma(2.0, 1.0, runs) - 1.67834699  # the median of that distribution
        late = (random.random(runs) < self._outliers) * random.exponential(0.5, runs)
        found = np.exp(log_latency + np.repeat(common, blocks) + self._noise * skewed + late)
        return found, blocks

    def _wandering(self, rounds: int, step: float, memory: float) -> Floats:
        steps = self._random.normal(0, step * self._noise, rounds)
        found = np.zeros(rounds)
        for i in range(1, rounds):
            found[i] = memory * found[i - 1] + steps[i]
        return found


def session(row: Mapping[str, object]) -> str:
    return f"{row['network']} {row['compression']}"


def _peers(
    random: np.random.Generator,
    factors: tuple[str, ...],
    levels: tuple[tuple[str, ...], ...],
    log_latency: Floats,
) -> list[tuple[dict[str, Any], float]]:
    """Systems that choose algorithms themselves: as fast as tvm's fastest, times a factor."""
    inner = tuple(i for i, name in enumerate(factors) if name in ("primitive", "tuning"))
    fastest = log_latency.min(axis=inner)
    outer = [i for i in range(len(factors)) if i not in inner]
    found = []
    for name in PEERS:
        factor = random.normal(0, 0.4)
        for at in np.ndindex(fastest.shape):
            chosen = {factors[i]: levels[i][j] for i, j in zip(outer, at, strict=True)}
            row = _row({**chosen, "primitive": "vendor", "tuning": "vendor"}, name, random)
            found.append((row, float(fastest[at] + factor + random.normal(0, 0.1))))
    return found


def _row(chosen: Mapping[str, str], software: str, random: np.random.Generator) -> dict[str, Any]:
    full = {
        "network": NETWORKS[0], "compression": "none", "primitive": "direct", "tuning": "untuned",
        "threads": "1", **chosen,
    }  # fmt: skip
    network, compression = NETWORKS.index(full["network"]), full["compression"]
    place = COMPRESSIONS.index(compression)
    macs = 2e8 * (1 + network)
    tuned = "" if software != "tvm" else f"({full['tuning']})"
    return {
        **full,
        "threads": int(full["threads"]),
        "batch": 1,
        "study": "made-up",
        "dataset": "cifar10",
        "model": full["network"],
        "optimizations": compression,
        "algorithm": full["primitive"],
        "system": f"{software}{tuned}",
        "software": software,
        "hardware": "local",
        "format": "dense",
        "machine": MACHINE,
        "macs": macs,
        "effective_macs": macs / (1 + place),
        "parameters": macs / 50,
        "size_bytes": macs / 12 / (1 + 0.5 * place),
        "sparse_bytes": macs / 12 / (1 + 0.7 * place),
        "accuracy": 0.95 - 0.01 * place - 0.004 * network - random.integers(0, 2) / 1e4,
        "key": f"{software}-" + "-".join(full.values()),
    }


def _frame(
    rows: list[dict[str, Any]], samples: Mapping[str, Floats], blocks: Mapping[str, list[int]]
) -> pd.DataFrame:
    for row in rows:
        taken = samples.get(row["key"])
        if taken is None:
            row |= {
                "status": "refused",
                "stage": "algorithms",
                "message": "a hole",
                "accuracy": None,
            }
            continue
        middle = rounds_interval(taken, blocks[row["key"]])
        row |= {
            "status": "ok", "latency_s": middle.value, "latency_low_s": middle.low,
            "latency_high_s": middle.high, "runs": len(taken), "group": session(row),
        }  # fmt: skip
    frame = pd.DataFrame(rows, columns=[column.name for column in RESULTS])
    for column in RESULTS:
        if column.unit and frame[column.name].dtype == object:
            frame[column.name] = pd.to_numeric(frame[column.name])
    return frame
