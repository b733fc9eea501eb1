"""Whether quantities rise together: MACs, size, accuracy and latency of the networks.

A point is one network as it was compressed, with the latency of its fastest stack at the usual
number of threads and batch: the many stacks of one network share its MACs and are no points of
their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from dlas.analysis.interactions.records import Correlation
from dlas.analysis.interactions.words import count

COLUMNS = ("macs", "effective_macs", "sparse_bytes", "accuracy", "latency_s")
#: Fewer points have no interval.
_FEWEST = 4
#: From so many networks on, networks are drawn instead of points.
_NETWORKS = 5
_DRAWS = 1000
_Z_95 = 1.959963984540054

Floats = NDArray[np.float64]


def correlations(machine: str, stacks: pd.DataFrame) -> Iterator[Correlation]:
    """``stacks``: the measured ones of a machine. Of every data set apart."""
    for dataset, own in stacks.groupby("dataset", sort=False):
        usual = own
        for column in ("threads", "batch"):
            usual = usual[usual[column] == usual[column].mode().iloc[0]]
        fastest = usual.sort_values("latency_s", kind="stable")
        points = fastest.drop_duplicates(["model", "optimizations"]).sort_index()
        for a, b in combinations(COLUMNS, 2):
            known = points[_known(points[a], a) & _known(points[b], b)]
            yield _correlation(machine, str(dataset), known, a, b)


def _correlation(machine: str, dataset: str, points: pd.DataFrame, a: str, b: str) -> Correlation:
    n = len(points)
    networks = pd.factorize(points["model"])[0]
    number = len(np.unique(networks))
    scope = f"{count(number, 'network')} on {dataset}, each as compressed, at its fastest"
    x, y = _scaled(points[a], a), _scaled(points[b], b)
    if n < _FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        nan = float("nan")
        return Correlation(machine, a, b, nan, nan, nan, n, scope, nan, nan, nan)
    ranks = _pearson(rankdata(x), rankdata(y))
    logs = _pearson(x, y)
    if number >= _NETWORKS:
        drawn = _drawn(networks, number)
        ends = [_ends(drawn, *pair) for pair in ((rankdata(x), rankdata(y)), (x, y))]
    else:
        ends = [_fisher(ranks, n, 1 + ranks**2 / 2), _fisher(logs, n, 1.0)]
    return Correlation(machine, a, b, ranks, *ends[0], n, scope, logs, *ends[1])


def _known(values: pd.Series, name: str) -> pd.Series:
    return values.notna() & ((values > 0) | (name == "accuracy"))


def _scaled(values: pd.Series, name: str) -> Floats:
    numbers: Floats = values.to_numpy(np.float64)
    return numbers if name == "accuracy" else np.log(numbers)


def _pearson(x: Floats, y: Floats) -> float:
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))


def _fisher(value: float, n: int, factor: float) -> tuple[float, float]:
    """Fisher's z; for ranks its variance is larger by (1 + r²/2) (Bonett & Wright 2000)."""
    middle = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    half = _Z_95 * np.sqrt(factor / (n - 3))
    return float(np.tanh(middle - half)), float(np.tanh(middle + half))


def _drawn(networks: NDArray[np.intp], number: int) -> Floats:
    """(draws, n) how often each point is drawn when networks are (cluster bootstrap)."""
    random = np.random.default_rng(0)
    times = random.multinomial(number, np.full(number, 1 / number), size=_DRAWS)
    return times[:, networks].astype(np.float64)


def _ends(times: Floats, x: Floats, y: Floats) -> tuple[float, float]:
    weight = times / times.sum(axis=1, keepdims=True)
    mean_x, mean_y = weight @ x, weight @ y
    var_x, var_y = weight @ x**2 - mean_x**2, weight @ y**2 - mean_y**2
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (weight @ (x * y) - mean_x * mean_y) / np.sqrt(var_x * var_y)
    low, high = np.nanquantile(np.clip(found, -1, 1), (0.025, 0.975))
    return float(low), float(high)
