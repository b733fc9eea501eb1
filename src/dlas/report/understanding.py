"""What ``analysis.interactions`` understood of a study, made ready for the page: maps of explained
variance, flips, correlations, the best stack per budget. Everything is of one machine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from dlas.analysis.words import NUMBERS, WORDS, word
from dlas.report.evidence import Rows
from dlas.report.flips import shown_flips
from dlas.report.quantities import QUANTITIES, Quantity, count
from dlas.report.rows import at, name

if TYPE_CHECKING:
    from dlas.analysis.interactions import Best, Correlation, Effect, Rest, Understanding

#: A number of every stack that the page adds to those of the results.
TO_FRONT = Quantity("to_front", "Over the front", "×", 1)


def maps(found: Understanding) -> list[dict[str, Any]]:
    """One map per machine, quantity and scope: ``factors`` in words; ``cells``: ``at`` (two indices
    into them, equal on the diagonal), ``share``, ``low``, ``high`` (None where unknown), ``basis``;
    ``said``: what is left unexplained."""
    effects: dict[tuple[str, str, str], list[Effect]] = {}
    for effect in found.effects:
        effects.setdefault((effect.machine, effect.quantity, effect.scope), []).append(effect)
    rests = {(rest.machine, rest.quantity, rest.scope): rest for rest in found.rests}
    order = list(NUMBERS)
    made = []
    for place in sorted(effects, key=lambda p: (found.machines.index(p[0]), order.index(p[1]))):
        machine, quantity, scope = place
        names = {factor for effect in effects[place] for factor in effect.factors}
        factors = [factor for factor in [*WORDS, *sorted(names - set(WORDS))] if factor in names]
        cells = sorted(effects[place], key=lambda e: -e.share if math.isfinite(e.share) else 1)
        made.append(
            {
                "machine": machine,
                "quantity": quantity,
                "label": NUMBERS[quantity],
                "scope": scope,
                "factors": [word(factor) for factor in factors],
                "cells": [_cell(effect, factors) for effect in cells],
                "said": list(_unexplained(rests.get(place))),
            }
        )
    return made


def _cell(effect: Effect, factors: Sequence[str]) -> dict[str, Any]:
    at = sorted(factors.index(factor) for factor in effect.factors)
    levels = " × ".join(str(level) for level in effect.levels)
    basis = f"{levels} choices, {count(effect.stacks, 'stack')}"
    return {
        "name": " × ".join(word(factors[i]) for i in at),
        "at": at if len(at) == 2 else at * 2,
        "share": _known(effect.share),
        "low": _known(effect.low),
        "high": _known(effect.high),
        "basis": basis,
        "why": "" if math.isfinite(effect.share) else f"cannot be said from {basis}",
    }


def _known(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None


def _unexplained(rest: Rest | None) -> Iterable[str]:
    if rest is not None and math.isfinite(rest.share):
        yield (
            f"Neither single choices nor pairs explain {percent(rest.share)} % of the variance "
            f"between {count(rest.stacks, 'stack')}: three or more choices together, or what is "
            "peculiar to a stack."
        )
    if rest is not None and math.isfinite(rest.noise):
        noise = "under 0.1" if rest.noise < 5e-4 else percent(rest.noise)
        yield f"Noise of measuring, which is no part of it, is {noise} % as large."


def understanding(found: Understanding, stacks: pd.DataFrame, rows: Rows) -> dict[str, Any]:
    """``flips``, ``steady`` and ``correlations`` by machine, ``budgets`` by task, ``said``."""
    first = 1
    flips: dict[str, list[dict[str, Any]]] = {}
    for machine in found.machines:
        own = [flip for flip in found.flips if flip.machine == machine]
        flips[machine] = shown_flips(own, rows, first)
        first += len(own)
    steady: dict[str, list[str]] = {}
    for still in found.steady:
        steady.setdefault(still.machine, []).append(still.sentence)
    correlations: dict[str, list[dict[str, Any]]] = {}
    for one in found.correlations:
        correlations.setdefault(one.machine, []).append(_correlation(one))
    return {
        "machines": list(found.machines),
        "said": list(found.said),
        "flips": flips,
        "steady": steady,
        "correlations": correlations,
        "budgets": _budgets(found.budgets, stacks, rows),
    }


def to_front(found: Understanding, stacks: pd.DataFrame) -> list[float]:
    """Per row the factor by which its latency would have to shrink to reach the front at its
    accuracy: 1 on it, NaN without both numbers."""
    shrink = {key: 1.0 for front in found.fronts for key in front.members}
    shrink |= {one.key: one.shrink for front in found.fronts for one in front.dominated}
    return [shrink.get(key, math.nan) for key in stacks["key"]]


def _correlation(one: Correlation) -> dict[str, Any]:
    known = all(math.isfinite(v) for v in (one.value, one.low, one.high))
    return {
        "a": _quantity(one.a),
        "b": _quantity(one.b),
        "value": _signed(one.value),
        "interval": _between(one.low, one.high),
        "pearson": _signed(one.pearson),
        "pearson_interval": _between(one.pearson_low, one.pearson_high),
        "ends": [round(50 + 50 * v, 1) for v in (one.low, one.high, one.value)] if known else None,
        "count": one.count,
        "scope": one.scope,
    }


def _budgets(
    budgets: Iterable[Best], stacks: pd.DataFrame, rows: Rows
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for i, best in enumerate(budgets, 1):
        row = rows[best.key]
        if row is None:
            continue
        limited, goal = QUANTITIES[best.budget], QUANTITIES[best.goal]
        bound = "at least" if best.budget == "accuracy" else "at most"
        stack = at(stacks, row)
        found.setdefault(stack["task"], []).append(
            {
                "id": f"budget-{i}",
                "row": row,
                "limit": f"{limited.label} {bound} {limited.text(best.limit)}",
                "goal": goal.label,
                "value": goal.text(best.value),
                "stack": name(stack),
                "sentence": best.sentence,
                **rows.link([best.key, *best.rivals]),
            }
        )
    return found


def _quantity(column: str) -> str:
    return QUANTITIES[column].label if column in QUANTITIES else word(column)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else "–"


def _between(low: float, high: float) -> str:
    known = math.isfinite(low) and math.isfinite(high)
    return f"{_signed(low)} to {_signed(high)}" if known else "unknown"


def percent(share: float) -> str:
    """A share in per cent: ``"41"``, ``"0.3"``."""
    return f"{share * 100:.0f}" if abs(share) >= 0.0995 else f"{share * 100:.1f}"
