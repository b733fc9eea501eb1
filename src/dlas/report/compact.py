"""Raw samples and profiles of many stacks, small enough to stand in a page: samples as two letters
each, every name once, and where there are very many, the largest layers and the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.analysis.modes import modes
from dlas.report.info import LayerBar

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
LEVELS = len(LETTERS) ** 2 - 1
#: Of all stacks together. A page of 2,000 stacks × 150 samples × 60 layers stays below 5 MB.
MOST_SAMPLES = 400_000
FEWEST_SAMPLES = 50
MOST_BARS = 30_000
#: Layers of a stack that keep their name where there are more bars than that.
NAMED = 12

Samples = Mapping[str, NDArray[np.float64]]


def coded_samples(keys: Sequence[str], samples_s: Samples) -> list[list[Any] | None]:
    """Per key ``[least, most, letters, modes…]``, or None without samples. Two letters are a level
    on the logarithmic scale from the least to the most sample, of ``LEVELS``; samples stay in
    order. The modes, seconds and share by turns, only where there are several."""
    own = [usable(samples_s[key]) if key in samples_s else np.empty(0) for key in keys]
    each = max(FEWEST_SAMPLES, MOST_SAMPLES // max(1, sum(len(values) > 0 for values in own)))
    return [_coded(values, each) if len(values) else None for values in own]


def usable(samples_s: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """The finite and positive ones, the only ones on a logarithmic scale."""
    values = np.asarray(samples_s, float)
    kept: NDArray[np.float64] = values[np.isfinite(values) & (values > 0)]
    return kept


def _coded(values: NDArray[np.float64], most: int) -> list[Any]:
    found = modes(values)
    groups = [_short(part) for mode in found for part in mode] if len(found) > 1 else []
    if len(values) > most:  # spread evenly over time
        values = values[np.linspace(0, len(values) - 1, most).round().astype(int)]
    least, span = values.min(), math.log(values.max() / values.min())
    shares = np.log(values / least) / span if span else np.zeros(len(values))
    levels = np.clip(np.rint(shares * LEVELS), 0, LEVELS).astype(int)
    letters = np.array(list(LETTERS))
    pairs = np.stack([letters[levels // len(LETTERS)], letters[levels % len(LETTERS)]], axis=1)
    return [_exact(least), _exact(values.max()), "".join(pairs.ravel()), *groups]


def coded_layers(
    keys: Sequence[str], layers: Mapping[str, Sequence[LayerBar]]
) -> dict[str, list[Any]]:
    """``names`` and ``ops``, each once; ``bars`` per key: name, op (places in these lists), share
    promised in 1/10,000 and measured µs by turns, -1 where unknown, or None without a profile. A
    last bar without a name is the rest, its op how many they are."""
    total = sum(len(layers.get(key, ())) for key in keys)
    names: dict[str, int] = {}
    ops: dict[str, int] = {}
    bars: list[list[float] | None] = []
    for key in keys:
        own = layers.get(key, ())
        shown = own if total <= MOST_BARS else largest(own)
        flat: list[float] = []
        for bar in shown:
            flat += [
                names.setdefault(bar.layer, len(names)),
                ops.setdefault(bar.op, len(ops)),
                -1 if _absent(bar.promised_share) else round(1e4 * (bar.promised_share or 0)),
                -1 if _absent(bar.seconds) else _short(1e6 * (bar.seconds or 0)),
            ]
        bars.append(flat or None)
    return {"names": list(names), "ops": list(ops), "bars": bars}


def largest(bars: Sequence[LayerBar], most: int = NAMED) -> list[LayerBar]:
    """The bars with the largest share of either, in order, and one of all others."""
    if len(bars) <= most + 1:
        return list(bars)
    total = sum(_number(bar.seconds) for bar in bars) or 1.0

    def size(at: int) -> float:
        bar = bars[at]
        return max(_number(bar.promised_share), _number(bar.seconds) / total)

    kept = set(sorted(range(len(bars)), key=size, reverse=True)[:most])
    others = [bar for at, bar in enumerate(bars) if at not in kept]
    rest = LayerBar(
        "",
        str(len(others)),
        _sum([bar.promised_share for bar in others]),
        _sum([bar.seconds for bar in others]),
    )
    return [*(bar for at, bar in enumerate(bars) if at in kept), rest]


def _absent(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def _number(value: float | None) -> float:
    return 0.0 if value is None or not math.isfinite(value) else value


def _sum(values: Sequence[float | None]) -> float | None:
    return None if all(map(_absent, values)) else sum(map(_number, values))


def _exact(value: float) -> float:
    return float(f"{value:.6g}")


def _short(value: float) -> float | int:
    short = float(f"{value:.4g}")
    return int(short) if short == int(short) else short
