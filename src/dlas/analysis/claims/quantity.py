"""What is compared: a column, or one derived from it, with an interval for every stack."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from dlas.analysis.claims.cells import Cells
from dlas.analysis.claims.evidence import Effect
from dlas.analysis.intervals import MARGIN_APART, wilson
from dlas.measure.statistics import ratio_of_rounds

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quantity:
    """``less``: what having less of it is called. ``ratio`` quantities are positive and compared
    by their ratio, ``difference`` ones by their difference in ``unit``."""

    name: str
    unit: str
    less: str
    scale: Literal["ratio", "difference"]
    estimate: Callable[[pd.DataFrame], tuple[Floats, Floats, Floats]]
    timed: bool = False
    #: What samples are multiplied by, where they are in another unit than the quantity.
    factor: str = ""


@dataclass(frozen=True)
class Measures:
    """A quantity of every row: value, and ends of its 95 % interval; NaN where unknown."""

    quantity: Quantity
    cells: Cells
    value: Floats
    low: Floats
    high: Floats

    @property
    def known(self) -> NDArray[np.bool_]:
        known = np.isfinite(self.value)
        return known & (self.value > 0) if self.quantity.scale == "ratio" else known

    def compare(self, row: int, other: int) -> Effect:
        """How much more the other has: a ratio, or a difference. Stacks timed side by side are
        compared round by round; others by the far ends of their intervals, and no surer than the
        machine's drift between sessions allows."""
        if (row, other) not in self._compared:
            self._compared[row, other] = self._compare(row, other)
        return self._compared[row, other]

    @cached_property
    def _compared(self) -> dict[tuple[int, int], Effect]:
        return {}

    def _compare(self, row: int, other: int) -> Effect:
        if self.quantity.scale == "difference":
            value = self.value[other] - self.value[row]
            down = math.hypot(self.value[other] - self.low[other], self.high[row] - self.value[row])
            up = math.hypot(self.high[other] - self.value[other], self.value[row] - self.low[row])
            return Effect(float(value), float(value - down), float(value + up))
        if self.quantity.timed:
            paired = self._paired(row, other)
            if paired is not None:
                return paired
        groups = self.cells.groups
        apart = self.quantity.timed and (not groups[row] or groups[row] != groups[other])
        drift = 1 + MARGIN_APART * apart
        return Effect.ratio(
            float(self.value[other] / self.value[row]),
            float(self.low[other] / self.high[row] / drift),
            float(self.high[other] / self.low[row] * drift),
        )

    def _paired(self, row: int, other: int) -> Effect | None:
        frame, rounds = self.cells.frame, self.cells.rounds
        groups, keys = self.cells.groups, self.cells.keys
        mine, its = rounds.get(keys[row]), rounds.get(keys[other])
        if mine is None or its is None or not groups[row] or groups[row] != groups[other]:
            return None
        found = ratio_of_rounds(its, mine)
        if found.low is None or found.high is None:
            return None
        scale = 1.0
        if self.quantity.factor:
            factors = frame[self.quantity.factor].to_numpy(dtype=np.float64)
            scale = float(factors[other] / factors[row])
        ends = found.low * scale, found.high * scale
        return Effect.ratio(found.value * scale, *ends, degrees=min(len(mine), len(its)) - 1)


def measures(cells: Cells, name: str) -> Measures:
    if name not in cells.measured:
        quantity = QUANTITIES[name]
        cells.measured[name] = Measures(quantity, cells, *quantity.estimate(cells.frame))
    found: Measures = cells.measured[name]
    return found


def _exact(column: str) -> Callable[[pd.DataFrame], tuple[Floats, Floats, Floats]]:
    def estimate(frame: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
        values = frame[column].to_numpy(dtype=np.float64)
        return values, values, values

    return estimate


def _unsure(column: str) -> Callable[[pd.DataFrame], tuple[Floats, Floats, Floats]]:
    """Measured once: no interval, so nothing can be decided by it."""

    def estimate(frame: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
        values = frame[column].to_numpy(dtype=np.float64)
        return values, np.full_like(values, np.nan), np.full_like(values, np.nan)

    return estimate


def _latency(frame: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    value, low, high = (
        frame[c].to_numpy(dtype=np.float64)
        for c in ("latency_s", "latency_low_s", "latency_high_s")
    )
    return value, low, high


def _promised(frame: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    promised = frame["promised_speedup"].to_numpy(dtype=np.float64)
    value, low, high = _latency(frame)
    return value * promised, low * promised, high * promised


def _accuracy(frame: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    return _scored(frame, "accuracy")


def _baseline(frame: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    return _scored(frame, "baseline_accuracy")


def _scored(frame: pd.DataFrame, column: str) -> tuple[Floats, Floats, Floats]:
    """In points. Wilson's interval over the test images; unknown where their number is."""
    values = frame[column].to_numpy(dtype=np.float64)
    images = frame["test_images"].to_numpy(dtype=np.float64)
    ends = [
        wilson(float(v), int(n)) if n >= 1 and 0 <= v <= 1 else (math.nan, math.nan)
        for v, n in zip(values, images, strict=True)
    ]
    low, high = np.array(ends, dtype=np.float64).reshape(-1, 2).T
    return 100 * values, 100 * low, 100 * high


def _loss(frame: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Points lost. The two accuracies are of the same images, so their difference is surer than
    that of independent shares, whose interval this is (Newcombe 1998, method 10)."""
    after, after_low, after_high = _accuracy(frame)
    before, before_low, before_high = _baseline(frame)
    lost = before - after
    same = lost == 0  # nothing was changed: no image can be labelled otherwise
    plain = (frame["compression"] == "none").to_numpy() & same
    down = np.where(plain, 0.0, np.hypot(before - before_low, after_high - after))
    up = np.where(plain, 0.0, np.hypot(before_high - before, after - after_low))
    return lost, lost - down, lost + up


def _kept(frame: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    lost, low, high = _loss(frame)
    return -lost, -high, -low


def _table(*quantities: Quantity) -> dict[str, Quantity]:
    return {quantity.name: quantity for quantity in quantities}


#: What tests may compare. Counts and file sizes are exact; ``peak_bytes`` counts as exact too,
#: since it is one number per measurement; ``first_run_s`` and ``energy_j`` were measured once,
#: so they are shown but decide nothing.
QUANTITIES = _table(
    Quantity("latency_s", "s", "faster", "ratio", _latency, timed=True),
    Quantity(
        "promised_latency_s", "s", "nearer to its promise", "ratio", _promised,
        timed=True, factor="promised_speedup",
    ),
    Quantity("first_run_s", "s", "faster at first", "ratio", _unsure("first_run_s")),
    Quantity("energy_j", "J", "more frugal", "ratio", _unsure("energy_j")),
    Quantity("compile_s", "s", "faster to compile", "ratio", _unsure("compile_s")),
    Quantity("peak_bytes", "bytes", "smaller in memory", "ratio", _exact("peak_bytes")),
    Quantity("size_bytes", "bytes", "smaller", "ratio", _exact("size_bytes")),
    Quantity("sparse_bytes", "bytes", "smaller", "ratio", _exact("sparse_bytes")),
    Quantity("macs", "MACs", "less work", "ratio", _exact("macs")),
    Quantity("effective_macs", "MACs", "less work", "ratio", _exact("effective_macs")),
    Quantity("parameters", "numbers", "smaller", "ratio", _exact("parameters")),
    Quantity("nonzeros", "numbers", "smaller", "ratio", _exact("nonzeros")),
    Quantity("accuracy", "points", "less accurate", "difference", _accuracy),
    Quantity("baseline_accuracy", "points", "less accurate", "difference", _baseline),
    Quantity("accuracy_loss", "points", "less harmed", "difference", _loss),
    Quantity("accuracy_kept", "points", "more harmed", "difference", _kept),
)  # fmt: skip
