"""Kept channels: dense weights of the channels that are not all zero, and which those are.

For layers whose channels were pruned but left in their place: what is computed is a smaller dense
layer, what is read and written are images of the original channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.algorithms.formats.stored import (
    Floats,
    Indices,
    Shape,
    Stored,
    check_array,
    check_shape,
    check_weight,
    without_signs,
)
from dlas.errors import InputError


@dataclass(frozen=True, eq=False)
class KeptChannels(Stored):
    """``weight`` (K', C', R, S) float32; ``outputs`` (K') and ``inputs`` (C') int32 are the
    channels it belongs to, rising, among the K and C/G of ``shape`` (K, C/G, R, S).

    An output channel that is left out is still the layer's: it holds its bias and no more."""

    weight: Floats
    outputs: Indices
    inputs: Indices
    shape: Shape

    @classmethod
    def of(cls, weight: Floats, groups: int = 1) -> KeptChannels:
        """Keeps the output channels whose weights are not all zero, and the input channels that any
        of them reads; all of these where ``groups`` > 1, since the groups share ``inputs``.

        weight (K, C/G, R, S), exactly; NaN is a value. InputError unless it is float32."""
        check_weight(weight, "kept_channels")
        k, c, r, s = weight.shape
        read = weight != 0
        outputs = np.flatnonzero(read.any(axis=(1, 2, 3)))
        inputs = np.flatnonzero(read.any(axis=(0, 2, 3))) if groups == 1 else np.arange(c)
        kept = without_signs(weight[np.ix_(outputs, inputs)])
        return cls(kept, outputs.astype(np.int32), inputs.astype(np.int32), (k, c, r, s))

    def dense(self) -> Floats:
        weight = np.zeros(self.shape, np.float32)
        weight[np.ix_(self.outputs, self.inputs)] = self.weight
        return weight

    def check(self, place: str = "kept_channels") -> None:
        check_shape(self.shape, place)
        check_array(self.weight, place, "weight", "float32", 4)
        _check_channels(self.outputs, "outputs", self.shape[0], place)
        _check_channels(self.inputs, "inputs", self.shape[1], place)
        expected = (len(self.outputs), len(self.inputs), *self.shape[2:])
        if self.weight.shape != expected:
            found = f"weight has shape {self.weight.shape}"
            raise InputError(f"{place}: {found}, its channels and kernel are {expected}")

    @property
    def nonzeros(self) -> int:
        return int(np.count_nonzero(self.weight))

    @property
    def bytes(self) -> int:
        return self.weight.nbytes + self.outputs.nbytes + self.inputs.nbytes


def _check_channels(kept: NDArray[Any], what: str, channels: int, place: str) -> None:
    check_array(kept, place, what, "int32", 1)
    outside = np.flatnonzero((kept < 0) | (kept >= channels))
    if outside.size:
        at = int(outside[0])
        raise InputError(f"{place}: {what}[{at}] is {kept[at]}, not in 0 … {channels - 1}")
    falls = np.flatnonzero(np.diff(kept) <= 0)
    if falls.size:
        at = int(falls[0]) + 1
        follows = f"{what}[{at}] is {kept[at]} and follows {kept[at - 1]}"
        raise InputError(f"{place}: {follows}; channels rise and none is repeated")
