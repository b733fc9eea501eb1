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


def place(channel: Any, lanes: int, order: int) -> tuple[Any, Any]:
    """The (block, lane) of a channel, a number or an index expression, in interleaved ``order``:
    runs of ``order`` channels lie in as many blocks, one lane of them. In order 1, the natural one,
    neighbours are lanes of one block; in the order of a group's channels the lane is the group."""
    return channel // (lanes * order) * order + channel % order, channel // order % lanes


def channel_at(block: Any, lane: Any, lanes: int, order: int) -> Any:
    """The channel whose ``place`` this is."""
    return (block // order * lanes + lane) * order + block % order


def interleaved(channels: int, lanes: int, order: int) -> NDArray[np.intp]:
    """The channel at every place, block after block. An order other than 1 fills its blocks."""
    if order == 1:
        return np.arange(channels)
    blocks, rest = divmod(channels, lanes)
    assert rest == blocks % order == 0
    at = np.arange(channels)
    return np.asarray(channel_at(at // lanes, at % lanes, lanes, order))
