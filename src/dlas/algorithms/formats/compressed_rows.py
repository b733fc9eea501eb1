"""Compressed rows: which columns every row of a matrix holds, for CSR's entries and BSR's blocks.

Row i holds the entries ``pointers[i]`` to ``pointers[i + 1]``, each with its column, rising.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.algorithms.formats.stored import Indices, check_array
from dlas.errors import InputError


def compressed(kept: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """(columns, pointers) of the entries that are True in (rows, columns)."""
    pointers = np.zeros(len(kept) + 1, np.int32)
    np.cumsum(np.count_nonzero(kept, axis=1), out=pointers[1:])
    return np.nonzero(kept)[1].astype(np.int32), pointers


def rows_of(pointers: Indices) -> NDArray[np.intp]:
    """The row of every entry."""
    return np.repeat(np.arange(len(pointers) - 1), np.diff(pointers))


def check_compressed(
    columns: NDArray[Any], pointers: NDArray[Any], shape: tuple[int, int], entries: int, place: str
) -> None:
    """InputError where these are not the ``entries`` of a matrix of ``shape`` rows and columns."""
    check_rows(columns, pointers, shape[0], entries, place)

    def where(entry: int) -> str:
        row = np.searchsorted(pointers, entry, side="right") - 1
        return f"{place}: row {row}, entry {entry}: column {columns[entry]}"

    outside = np.flatnonzero((columns < 0) | (columns >= shape[1]))
    if outside.size:
        raise InputError(f"{where(int(outside[0]))} is not in 0 … {shape[1] - 1}")
    falls = np.diff(columns) <= 0
    firsts = pointers[(pointers > 0) & (pointers < entries)]
    falls[firsts - 1] = False  # the step from one row to the next
    if falls.any():
        entry = int(falls.argmax()) + 1
        raise InputError(
            f"{where(entry)} follows {columns[entry - 1]}; in a row, columns rise and none is "
            "repeated (SciPy: sum_duplicates() before saving)"
        )


def check_rows(
    columns: NDArray[Any], pointers: NDArray[Any], rows: int, entries: int, place: str
) -> None:
    """InputError where the pointers do not part the entries into rows, whatever their columns."""
    check_array(columns, place, "columns", "int32", 1)
    check_array(pointers, place, "row pointers", "int32", 1)
    if len(columns) != entries:
        raise InputError(f"{place}: {len(columns)} columns for {entries} values")
    if len(pointers) != rows + 1:
        raise InputError(f"{place}: {len(pointers)} row pointers, expected {rows + 1}")
    if pointers[0] != 0:
        raise InputError(f"{place}: row 0 starts at entry {pointers[0]}, not at 0")
    falls = pointers[1:] < pointers[:-1]
    if falls.any():
        row = int(falls.argmax())
        ends = f"starts at entry {pointers[row]} and ends at {pointers[row + 1]}"
        raise InputError(f"{place}: row {row} {ends}; row pointers do not fall")
    if pointers[-1] != entries:
        last = f"the last row, {rows - 1}, ends at entry {pointers[-1]}"
        raise InputError(f"{place}: {last}, but there are {entries}")
