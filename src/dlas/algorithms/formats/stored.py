"""What every weight format can say of the layer that it stores."""

from __future__ import annotations

import abc
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]
#: Of a layer's weights: (K, C/G, R, S). Formats do not know groups.
Shape = tuple[int, int, int, int]

#: Columns and row pointers are int32.
MOST_WEIGHTS = 2**31 - 1


class Stored(abc.ABC):
    """The weights of one layer in one format: frozen, exact, and never changed in place."""

    shape: Shape

    @abc.abstractmethod
    def dense(self) -> Floats:
        """The weights (K, C/G, R, S), to the bit; only a zero loses its sign."""
        raise NotImplementedError

    @abc.abstractmethod
    def check(self, place: str = "weights") -> None:
        """Raise InputError where the arrays do not describe a layer; ``place`` begins the sentence,
        which names row and entry. ``of`` needs no check, a file does."""
        raise NotImplementedError

    @property
    @abc.abstractmethod
    def nonzeros(self) -> int:
        """Weights that are not zero, NaN among them; not the zeros that the format stores."""
        raise NotImplementedError

    @property
    @abc.abstractmethod
    def bytes(self) -> int:
        """As stored: values, and the indices that say where they belong."""
        raise NotImplementedError

    @property
    def sparsity(self) -> float:
        """Share of zero weights, in [0, 1]."""
        return 1 - self.nonzeros / math.prod(self.shape)


def check_weight(weight: NDArray[Any], place: str) -> None:
    """InputError for what no format stores."""
    check_array(weight, place, "weight", "float32", 4)
    check_shape(weight.shape, place)


def check_shape(shape: tuple[int, ...], place: str) -> None:
    if len(shape) != 4 or min(shape) < 1:
        raise InputError(f"{place}: the shape {shape} is not (K, C, R, S), each at least 1")
    if math.prod(shape) > MOST_WEIGHTS:
        raise InputError(f"{place}: the shape {shape} has more than {MOST_WEIGHTS} weights")


def check_array(array: NDArray[Any], place: str, what: str, dtype: str, ndim: int) -> None:
    if array.dtype != dtype:
        raise InputError(f"{place}: {what} is {array.dtype}, expected {dtype}")
    if array.ndim != ndim:
        raise InputError(f"{place}: {what} has shape {array.shape}, expected {ndim} dimensions")


def without_signs(values: Floats) -> Floats:
    """Every -0.0 as 0.0, in place."""
    values[values == 0] = 0
    return values
