"""CSR and BSR as .npz files that ``scipy.sparse`` reads and writes.

The arrays are SciPy's ``format``, ``shape``, ``indices``, ``indptr`` and ``data``, and our
``kernel``: the layer's (K, C/G, R, S), which a matrix of two dimensions does not tell. What SciPy
sees of BSR are the filled blocks, the columns in the order (⌈(C/G) / C_b⌉, R, S, C_b).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.algorithms.formats.bsr import Bsr
from dlas.algorithms.formats.compressed_rows import check_rows, rows_of
from dlas.algorithms.formats.csr import Csr
from dlas.algorithms.formats.stored import Floats, Indices, Shape
from dlas.errors import InputError
from dlas.npz import read_arrays

_SCIPY = ("format", "shape", "indices", "indptr", "data")
_INT32 = np.iinfo(np.int32)


def save(matrix: Csr | Bsr, path: Path) -> None:
    """Write one file, named as it is. InputError where ``matrix.check`` finds one."""
    name = type(matrix).__name__.lower()
    matrix.check(name)
    with path.open("wb") as file:
        np.savez(
            file,
            # First: zip's directory, damaged in one byte, may hide entries after that byte.
            kernel=np.array(matrix.shape, np.int64),
            format=np.array(name.encode()),
            shape=np.array(_matrix_shape(matrix), np.int64),
            indices=matrix.columns,
            indptr=matrix.pointers,
            data=matrix.values,
        )


def open_weights(path: Path) -> Csr | Bsr:
    """Read what ``save`` or SciPy wrote; without ``kernel`` it is a layer (K, C, 1, 1).

    Values are rounded to float32. Every array is read, since only what is read is checked against
    the archive's sums. Raises InputError with file and place for all that is damaged,
    not sorted or not a CSR or BSR matrix."""
    found = read_arrays(path)
    absent = [name for name in _SCIPY if name not in found]
    if absent:
        raise InputError(
            f"{path}: {absent[0]} is missing; a matrix that scipy.sparse.save_npz wrote, csr or "
            f"bsr, has {', '.join(_SCIPY)}"
        )
    name = _format(found["format"], path)
    shape = _integers(found["shape"], 2, f"{path}: shape")
    kernel = (*shape, 1, 1)
    if "kernel" in found:
        kernel = _integers(found["kernel"], 4, f"{path}: kernel")
    k, c, r, s = kernel
    matrix = _matrix(
        name,
        _values(found["data"], f"{path}: data"),
        _indices(found["indices"], f"{path}: indices"),
        _indices(found["indptr"], f"{path}: indptr"),
        (k, c, r, s),
    )
    if isinstance(matrix, Bsr) and "kernel" not in found:
        matrix = _in_order(matrix, path)
    matrix.check(str(path))
    expected = _matrix_shape(matrix)
    if shape != expected:
        raise InputError(f"{path}: shape is {shape}, expected {expected} for the kernel {kernel}")
    return matrix


def _matrix(
    name: str, values: Floats, columns: Indices, pointers: Indices, kernel: Shape
) -> Csr | Bsr:
    if name == "csr":
        return Csr(values, columns, pointers, kernel)
    height, width = values.shape[1:] if values.ndim == 3 else (1, 1)  # else refused by ``check``
    return Bsr(values, columns, pointers, kernel, (height, width))


def _in_order(bsr: Bsr, path: Path) -> Bsr:
    """SciPy writes the blocks of a row as it met them; its CSR is in order."""
    bsr.check_blocks(str(path))
    check_rows(bsr.columns, bsr.pointers, bsr.grid[0], len(bsr.values), str(path))
    order = np.lexsort((bsr.columns, rows_of(bsr.pointers)))
    return replace(bsr, values=bsr.values[order], columns=bsr.columns[order])


def _matrix_shape(matrix: Csr | Bsr) -> tuple[int, ...]:
    """Rows and columns, as SciPy counts them."""
    if isinstance(matrix, Csr):
        return matrix.shape[0], math.prod(matrix.shape[1:])
    return tuple(n * side for n, side in zip(matrix.grid, matrix.block, strict=True))


def _format(array: NDArray[Any], path: Path) -> str:
    name = array.item() if array.size == 1 else None
    if isinstance(name, bytes):
        name = name.decode("ascii", "replace")
    if name not in ("csr", "bsr"):
        raise InputError(f"{path}: format is {name!r}; dlas opens csr and bsr: matrix.tocsr()")
    return str(name)


def _integers(array: NDArray[Any], number: int, what: str) -> tuple[int, ...]:
    if array.dtype.kind not in "iu" or array.shape != (number,):
        found = f"{array.dtype} of shape {array.shape}"
        raise InputError(f"{what} is {found}, expected {number} whole numbers")
    return tuple(array.tolist())


def _indices(array: NDArray[Any], what: str) -> Indices:
    """SciPy also writes int64."""
    if array.dtype.kind not in "iu":
        raise InputError(f"{what} is {array.dtype}, expected whole numbers")
    beyond = np.flatnonzero((array < _INT32.min) | (array > _INT32.max))
    if beyond.size:
        raise InputError(f"{what}[{beyond[0]}] is {array.flat[beyond[0]]}, more than int32 holds")
    return array.astype(np.int32)


def _values(array: NDArray[Any], what: str) -> Floats:
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what} is {array.dtype}, expected real numbers")
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        values = array.astype(np.float32, order="C")
    beyond = np.flatnonzero(np.isinf(values) & np.isfinite(array))
    if beyond.size:
        raise InputError(f"{what}: entry {beyond[0]} is {array.flat[beyond[0]]}, beyond float32")
    return values
