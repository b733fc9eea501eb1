"""What is recorded of a node, as values. Workers need them, and no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlas.store.schema import METRICS, STATUSES

_METRIC_NAMES = {column.name for column in METRICS}


@dataclass(frozen=True)
class Outcome:
    """How a try at a node ended. ``status`` is one of ``schema.STATUSES``; ``metrics`` are numbers
    by ``schema.METRICS`` name, ``facts`` sentences."""

    status: str
    message: str = ""
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.status in STATUSES, self.status
        assert set(self.metrics) <= _METRIC_NAMES, set(self.metrics) - _METRIC_NAMES


@dataclass(frozen=True)
class Measured:
    """One observation: raw samples in seconds, and all else that was recorded with them."""

    taken_at: str
    samples_s: NDArray[np.float64]
    record: Mapping[str, Any]


class Ending(NamedTuple):
    """How the last try at a node ended; later outcomes have higher numbers."""

    number: int
    key: str
    status: str
    message: str
    seconds: float
    finished_at: str
