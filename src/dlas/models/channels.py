"""Width multipliers: how many channels a layer of a narrower or wider network has."""

from __future__ import annotations

from typing import Annotated

import msgspec

#: Multiplies the channels of every layer but the last; 1 is the published network.
Width = Annotated[float, msgspec.Meta(gt=0)]


def scaled(channels: int, width: float) -> int:
    """The nearest whole number, at least 1."""
    return max(1, round(channels * width))


def divisible(channels: int, width: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor`` that is not more than 10 % too small, as the MobileNets'
    authors round (``_make_divisible`` in tensorflow/models)."""
    wanted = channels * width
    rounded = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * wanted else rounded
