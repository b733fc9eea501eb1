"""CSR, compressed sparse rows: a value and a column for every weight that is not zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dlas.algorithms.formats.compressed_rows import check_compressed, compressed, rows_of
from dlas.algorithms.formats.stored import (
    Floats,
    Indices,
    Shape,
    Stored,
    check_array,
    check_shape,
    check_weight,
)


@dataclass(frozen=True, eq=False)
class Csr(Stored):
    """One matrix for the layer: rows are output channels, columns the flattened (C/G, R, S).

    ``values`` (nnz) float32, ``columns`` (nnz) int32, ``pointers`` (K + 1) int32: row k holds the
    entries ``pointers[k]`` to ``pointers[k + 1]``, their columns rising. ``shape`` is (K, C/G, R,
    S). A file may store zeros among the values; ``of`` stores none."""

    values: Floats
    columns: Indices
    pointers: Indices
    shape: Shape

    @classmethod
    def of(cls, weight: Floats) -> Csr:
        """The weight (K, C/G, R, S), exactly; NaN is a value. InputError unless it is float32."""
        check_weight(weight, "csr")
        k, c, r, s = weight.shape
        matrix = weight.reshape(k, -1)
        kept = matrix != 0
        return cls(matrix[kept], *compressed(kept), (k, c, r, s))

    def dense(self) -> Floats:
        matrix = np.zeros((self.shape[0], math.prod(self.shape[1:])), np.float32)
        matrix[rows_of(self.pointers), self.columns] = self.values
        return matrix.reshape(self.shape)

    def check(self, place: str = "csr") -> None:
        check_shape(self.shape, place)
        check_array(self.values, place, "values", "float32", 1)
        matrix = self.shape[0], math.prod(self.shape[1:])
        check_compressed(self.columns, self.pointers, matrix, len(self.values), place)

    @property
    def nonzeros(self) -> int:
        return int(np.count_nonzero(self.values))

    @property
    def bytes(self) -> int:
        return self.values.nbytes + self.columns.nbytes + self.pointers.nbytes
