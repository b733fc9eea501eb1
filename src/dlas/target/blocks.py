"""Channels in blocks of one vector: (K) ↔ (K/b, b), filled with zeros up to whole blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def block_count(channels: int, lanes: int) -> int:
    return -(-channels // lanes)


def block_channels(values: NDArray[Any], lanes: int) -> NDArray[Any]:
    """(K, …) → (K/b, b, …)."""
    fill = [(0, -len(values) % lanes)] + [(0, 0)] * (values.ndim - 1)
    return np.pad(values, fill).reshape(-1, lanes, *values.shape[1:])
