"""The data inside the page: every stack once, by column, each distinct text once; what a single
stack is looked at by (its samples and its profile) as small as it goes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import pandas as pd

from dlas.analysis.intervals import wilson
from dlas.analysis.speedup import promised_and_measured
from dlas.report.compact import Samples, coded_layers, coded_samples
from dlas.report.info import ReportInfo
from dlas.report.quantities import QUANTITIES
from dlas.report.rows import NUMBERS, STATUS_WORDS, TEXTS
from dlas.store.schema import RESULTS

#: What accuracy may be set against besides latency; those without a number are left out.
COSTS = ("size_bytes", "sparse_bytes", "peak_bytes", "effective_macs", "energy_j")


def payload(
    frame: pd.DataFrame, info: ReportInfo, samples_s: Samples | None = None
) -> dict[str, Any]:
    """All that the script needs, from a frame of ``rows.ready``; samples by the stack's key."""
    keys, test_images = list(frame["key"]), info.test_images
    compared = promised_and_measured(frame).reindex(frame.index)
    intervals = [
        wilson(accuracy, test_images[dataset])
        if dataset in test_images and not math.isnan(accuracy)
        else (math.nan, math.nan)
        for accuracy, dataset in zip(frame["accuracy"], frame["dataset"], strict=True)
    ]
    costs = ["latency_s", *(c for c in COSTS if frame[c].notna().any())]
    return {
        "count": len(frame),
        "texts": {name: _coded(frame[name]) for name in [*TEXTS, "engine", "task"]},
        "numbers": {
            **{name: rounded(frame[name]) for name in NUMBERS},
            "accuracy_low": rounded(low for low, _ in intervals),
            "accuracy_high": rounded(high for _, high in intervals),
            "speedup_low": rounded(compared["low"]),
            "speedup_high": rounded(compared["high"]),
        },
        "columns": [column.name for column in RESULTS],
        "quantities": {name: asdict(quantity) for name, quantity in QUANTITIES.items()},
        "words": STATUS_WORDS,
        "costs": costs,
        "samples": coded_samples(keys, samples_s or {}),
        "warmups": [rounded(info.warmups_s.get(key, ())) for key in keys],
        "layers": coded_layers(keys, info.layers),
    }


def script_json(value: Any) -> str:
    """JSON that is safe inside a script element: no ``<`` can end it or open another."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _coded(values: pd.Series) -> dict[str, Any]:
    codes, distinct = pd.factorize(values)
    return {"values": [str(v) for v in distinct], "codes": [int(c) for c in codes]}


def rounded(values: Iterable[float]) -> list[float | int | None]:
    """Six significant digits; whole numbers stay whole."""
    found: list[float | int | None] = []
    for value in values:
        if not math.isfinite(value):
            found.append(None)
        else:
            found.append(int(value) if value == int(value) else float(f"{value:.6g}"))
    return found
