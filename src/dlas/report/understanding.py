"""What ``analysis.interactions`` understood of a study, made ready for the page: maps of explained
variance, flips, correlations, the best stack per budget. Everything is of one machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from dlas.report.evidence import Rows
from dlas.report.flips import shown_flips
from dlas.report.quantities import QUANTITIES, count, number

if TYPE_CHECKING:
    from dlas.analysis.interactions import Correlation, Effect, Understanding

#: Factors in the order of the layers that decide them, in words.
FACTORS = {
    "dataset": "data set",
    "network": "network",
    "compression": "compression",
    "optimizations": "optimization",
    "primitive": "algorithm",
    "format": "format",
    "software": "system",
    "tuning": "tuning",
    "threads": "threads",
    "batch": "batch",
}
#: What is explained, in words; in the order of the page's list.
EXPLAINED = {"latency_s": "latency", "accuracy": "accuracy", "size_bytes": "size"}


def factor_word(factor: str) -> str:
    return FACTORS.get(factor, factor)


def maps(effects: Sequence[Effect]) -> list[dict[str, Any]]:
    """One map per machine and quantity: ``factors`` in words; ``cells``: ``at`` (two indices into
    them, equal on the diagonal), ``share``, ``low``, ``high`` (None where unknown), ``basis``."""
    found: dict[tuple[str, str], list[Effect]] = {}
    for effect in effects:
        found.setdefault((effect.machine, effect.quantity), []).append(effect)
    order = list(EXPLAINED)
    made = []
    for (machine, quantity), own in found.items():
        names = {factor for effect in own for factor in effect.factors}
        known = list(FACTORS)
        factors = sorted(names, key=lambda f: (known.index(f) if f in known else len(known), f))
        made.append(
            {
                "machine": machine,
                "quantity": quantity,
                "label": EXPLAINED.get(quantity, quantity),
                "factors": [factor_word(factor) for factor in factors],
                "cells": [_cell(effect, factors) for effect in own if len(effect.factors) <= 2],
                "said": [],
            }
        )
    machines = list(dict.fromkeys(one["machine"] for one in made))
    rank = {quantity: i for i, quantity in enumerate(order)}
    return sorted(
        made, key=lambda m: (machines.index(m["machine"]), rank.get(m["quantity"], len(order)))
    )


def _cell(effect: Effect, factors: Sequence[str]) -> dict[str, Any]:
    at = sorted(factors.index(factor) for factor in effect.factors)
    return {
        "name": " × ".join(factor_word(factors[i]) for i in at),
        "at": at if len(at) == 2 else at * 2,
        "share": _known(effect.share),
        "low": _known(effect.low),
        "high": _known(effect.high),
        "basis": _basis(effect),
        "why": "" if math.isfinite(effect.share) else f"cannot be said from {_basis(effect)}",
    }


def _basis(effect: Effect) -> str:
    levels = effect.levels if isinstance(effect.levels, tuple) else (effect.levels,)
    return f"{' × '.join(str(level) for level in levels)} choices, {count(effect.stacks, 'stack')}"


def _known(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None


def understanding(found: Understanding, stacks: pd.DataFrame, rows: Rows) -> dict[str, Any]:
    """By machine: ``flips``, ``correlations``; ``budgets`` by task; ``said`` for all."""
    first = 1
    flips: dict[str, list[dict[str, Any]]] = {}
    for machine in found.machines:
        own = [flip for flip in found.flips if flip.machine == machine]
        if own:
            flips[machine] = shown_flips(own, stacks, rows, first)
            first += len(own)
    correlations: dict[str, list[dict[str, Any]]] = {}
    for one in found.correlations:
        correlations.setdefault(one.machine, []).append(_correlation(one))
    return {
        "machines": list(found.machines),
        "said": list(found.said),
        "flips": flips,
        "correlations": correlations,
        "budgets": {},
    }


def _correlation(one: Correlation) -> dict[str, Any]:
    known = all(math.isfinite(v) for v in (one.value, one.low, one.high))
    return {
        "a": _quantity(one.a),
        "b": _quantity(one.b),
        "value": _signed(one.value),
        "interval": f"{_signed(one.low)} – {_signed(one.high)}" if known else "unknown",
        "ends": [round(50 + 50 * v, 1) for v in (one.low, one.high, one.value)] if known else None,
        "basis": f"{count(one.count, 'stack')}{', ' + one.scope if one.scope else ''}",
    }


def _quantity(name: str) -> str:
    return QUANTITIES[name].label if name in QUANTITIES else name


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else "–"


def percent(share: float) -> str:
    """A share in per cent: ``"41.2"``, ``"0.3"``."""
    return number(round(share * 100, 1)) if share >= 0.1 else f"{share * 100:.1f}"
