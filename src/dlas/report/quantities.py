"""How numbers are shown to people: one table of units and one rule for digits, for the page, its
script and the terminal alike. The store keeps base units; these are for reading only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from dlas.analysis.words import count as count

ABSENT = "–"


@dataclass(frozen=True)
class Quantity:
    """A results column as people read it: ``shown = value × factor``, in ``unit``."""

    column: str
    label: str
    unit: str
    factor: float

    def number(self, value: Any) -> str:
        return number(float(value) * self.factor) if pd.notna(value) else ABSENT

    def text(self, value: Any) -> str:
        """Number and unit, ``"0.412 ms"``; ``"–"`` where there is none."""
        return with_unit(self.number(value), self.unit) if pd.notna(value) else ABSENT

    def between(self, low: Any, high: Any) -> str:
        """An interval, ``"0.405–0.420 ms"``; "" where it is unknown."""
        if pd.isna(low) or pd.isna(high):
            return ""
        return with_unit(f"{self.number(low)}–{self.number(high)}", self.unit)


QUANTITIES = {
    quantity.column: quantity
    for quantity in (
        Quantity("accuracy", "Accuracy", "%", 100),
        Quantity("baseline_accuracy", "Accuracy before", "%", 100),
        Quantity("label_agreement", "Label agreement", "%", 100),
        Quantity("output_agreement", "Output agreement", "%", 100),
        Quantity("latency_s", "Latency", "ms", 1e3),
        Quantity("first_run_s", "First run", "ms", 1e3),
        Quantity("measured_speedup", "Measured speedup", "×", 1),
        Quantity("promised_speedup", "Promised speedup", "×", 1),
        Quantity("size_bytes", "File size", "kB", 1e-3),
        Quantity("sparse_bytes", "Sparse size", "kB", 1e-3),
        Quantity("peak_bytes", "Peak memory", "MB", 1e-6),
        Quantity("effective_macs", "Effective MACs", "M", 1e-6),
        Quantity("macs", "MACs", "M", 1e-6),
        Quantity("energy_j", "Energy", "mJ", 1e3),
    )
}


def number(value: float) -> str:
    """Three significant digits, and never fewer than the whole part: 12,345 · 98.7 · 0.00412."""
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:#.3g}"


def with_unit(text: str, unit: str) -> str:
    """``"0.412 ms"``, joined by a space that does not break."""
    return f"{text}{unit}" if unit == "×" else f"{text}\N{NO-BREAK SPACE}{unit}"


def times(ratio: float) -> str:
    """A ratio, ``"0.98×"``, ``"7.78×"``, ``"24.1×"``."""
    return f"{ratio:.2f}×" if ratio < 10 else f"{number(ratio)}×"


def points(share: float) -> str:
    """The size of a difference of two shares: ``"0.28 points"``."""
    text = f"{abs(share) * 100:.2g}"
    return f"{text} point" if text == "1" else f"{text} points"


def scaled(value: float | None, unit: str) -> str:
    """A large number with an SI prefix, ``"118 GFLOP/s"``; "not measured" where there is none."""
    if value is None:
        return "not measured"
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return with_unit(number(value / factor), prefix + unit)
    return with_unit(number(value), unit)
