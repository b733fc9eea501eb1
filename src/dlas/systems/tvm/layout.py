"""Bringing an image from one layout into another, as tensor expressions: (N, C, H, W), and blocks
(N, C/b, H, W, b) with channels in some order (``target/blocks.py``)."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

from dlas.target.blocks import block_count, channel_at, place

#: Channels that an image with channels last has at least, so many that a word holds.
FEWEST = 4


def to_blocks(data: te.Tensor, lanes: int, order: int = 1) -> te.Tensor:
    """(N, C, H, W) → (N, C/b, H, W, b), zeros where the last block is filled up."""
    batch, channels, height, width = (int(extent) for extent in data.shape)

    def element(n: Any, k: Any, y: Any, x: Any, lane: Any) -> Any:
        c = channel_at(k, lane, lanes, order)
        if channels % lanes == 0:
            return data[n, c, y, x]
        zero = tirx.const(0, str(data.dtype))
        return tirx.if_then_else(c < channels, data[n, c, y, x], zero)

    return te.compute((batch, block_count(channels, lanes), height, width, lanes), element)


def from_blocks(data: te.Tensor, channels: int, order: int = 1) -> te.Tensor:
    """(N, C/b, H, W, b) → (N, C, H, W)."""
    batch, _, height, width, lanes = (int(extent) for extent in data.shape)

    def element(n: Any, c: Any, y: Any, x: Any) -> Any:
        block, lane = place(c, lanes, order)
        return data[n, block, y, x, lane]

    return te.compute((batch, channels, height, width), element)


def stored_channels(channels: int, lanes: int) -> int:
    """Channels of an image with channels last: up to whole vectors, or few where there are few."""
    lanes = max(lanes, FEWEST)
    return FEWEST if channels <= FEWEST else block_count(channels, lanes) * lanes


def to_last(data: te.Tensor, stored: int) -> te.Tensor:
    """(N, C, H, W) → (N, 1, H, W, C), zeros where channels are filled up to ``stored``."""
    batch, channels, height, width = (int(extent) for extent in data.shape)

    def element(n: Any, _: Any, y: Any, x: Any, c: Any) -> Any:
        if stored == channels:
            return data[n, c, y, x]
        zero = tirx.const(0, str(data.dtype))
        return tirx.if_then_else(c < channels, data[n, c, y, x], zero)

    return te.compute((batch, 1, height, width, stored), element)


def reordered(data: te.Tensor, before: int, after: int) -> te.Tensor:
    """Blocks in one order of channels as blocks in another."""
    lanes = int(data.shape[-1])

    def element(n: Any, k: Any, y: Any, x: Any, lane: Any) -> Any:
        block, lane = place(channel_at(k, lane, lanes, after), lanes, before)
        return data[n, block, y, x, lane]

    return te.compute(data.shape, element)
