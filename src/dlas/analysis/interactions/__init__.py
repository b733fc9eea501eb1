"""What a study teaches: which choices matter, which depend on each other, which are best.

Machines are never mixed: every statement is of one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlas.analysis.interactions.records import (
    WORDS,
    Best,
    Correlation,
    Dominated,
    Effect,
    Flip,
    Front,
    Rest,
    Steady,
    Understanding,
)

__all__ = [
    "WORDS",
    "Best",
    "Correlation",
    "Dominated",
    "Effect",
    "Flip",
    "Front",
    "Rest",
    "Steady",
    "Understanding",
    "understand",
]


def understand(
    frame: pd.DataFrame, samples: Mapping[str, NDArray[np.float64]] | None = None
) -> Understanding:
    """``frame``: one row per stack, the columns of ``store.schema.RESULTS``. ``samples``: raw
    latencies in seconds by key, in the order of their rounds; without them, comparisons rest on
    the frame's intervals alone."""
    return Understanding()
