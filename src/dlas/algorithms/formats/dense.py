"""Dense: the weights as they are, so that a caller need not tell formats apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlas.algorithms.formats.stored import Floats, Shape, Stored, check_weight


@dataclass(frozen=True, eq=False)
class Dense(Stored):
    """``weight`` (K, C/G, R, S) float32, not copied; its zeros keep their signs."""

    weight: Floats

    @classmethod
    def of(cls, weight: Floats) -> Dense:
        check_weight(weight, "dense")
        return cls(weight)

    @property
    def shape(self) -> Shape:  # type: ignore[override]  # a field elsewhere
        k, c, r, s = self.weight.shape
        return k, c, r, s

    def dense(self) -> Floats:
        return self.weight

    def check(self, place: str = "dense") -> None:
        check_weight(self.weight, place)

    @property
    def nonzeros(self) -> int:
        return int(np.count_nonzero(self.weight))

    @property
    def bytes(self) -> int:
        return self.weight.nbytes
