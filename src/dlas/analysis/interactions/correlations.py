"""Whether quantities rise together: MACs, size, accuracy and latency of the networks.

A point is one network as it was compressed, with the latency of its fastest stack at the usual
number of threads and batch: the many stacks of one network share its MACs and are no points of
their own. Even the points of one network hang together, so intervals count networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from dlas.analysis.interactions.records import Correlation
from dlas.analysis.intervals import fisher
from dlas.analysis.words import count

COLUMNS = ("macs", "effective_macs", "sparse_bytes", "accuracy", "latency_s")
#: Fewer points have no correlation.
_FEWEST = 4

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
    networks = points["model"].nunique()
    scope = f"{count(networks, 'network')} on {dataset}, each as compressed, at its fastest"
    x, y = _scaled(points[a], a), _scaled(points[b], b)
    if n < _FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        nan = float("nan")
        return Correlation(machine, a, b, nan, nan, nan, n, scope, nan, nan, nan)
    ranks = _pearson(rankdata(x), rankdata(y))
    logs = _pearson(x, y)
    ends = fisher(ranks, networks - 3, ranks=True)
    log_ends = fisher(logs, networks - 3, ranks=False)
    return Correlation(machine, a, b, ranks, *ends, n, scope, logs, *log_ends)


def _known(values: pd.Series, name: str) -> pd.Series:
    return values.notna() & ((values > 0) | (name == "accuracy"))


def _scaled(values: pd.Series, name: str) -> Floats:
    numbers: Floats = values.to_numpy(np.float64)
    return numbers if name == "accuracy" else np.log(numbers)


def _pearson(x: Floats, y: Floats) -> float:
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))
