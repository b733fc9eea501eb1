"""Weight formats: their names, and the sentence for everything that is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from dlas.algorithms.formats import (
    FORMATS,
    Bsr,
    Csr,
    KeptChannels,
    WeightFormat,
    convert,
    open_weights,
    save,
    weight_format,
)
from dlas.errors import InputError, SpecError
from dlas.testing.convolutions import GEOMETRIES, drawn

WEIGHT = np.array([[0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 0]], np.float32).reshape(3, 4, 1, 1)
CSR = Csr.of(WEIGHT)
BSR = Bsr.of(WEIGHT, (2, 3))
KEPT = KeptChannels.of(WEIGHT)


def ints(*values: int) -> Any:
    return np.array(values, np.int32)


def test_what_is_stored() -> None:
    assert CSR.values.tolist() == [1, 2, 3]
    assert CSR.columns.tolist() == [1, 3, 0]
    assert CSR.pointers.tolist() == [0, 2, 2, 3]
    assert BSR.values.tolist() == [[[0, 1, 0], [0] * 3], [[2, 0, 0], [0] * 3], [[3, 0, 0], [0] * 3]]
    assert BSR.columns.tolist() == [0, 1, 0]
    assert BSR.pointers.tolist() == [0, 2, 3]
    assert KEPT.weight[:, :, 0, 0].tolist() == [[0, 1, 2], [3, 0, 0]]
    assert KEPT.outputs.tolist() == [0, 2]
    assert KEPT.inputs.tolist() == [0, 1, 3]
    assert KeptChannels.of(WEIGHT, groups=3).inputs.tolist() == [0, 1, 2, 3]


def test_a_layer_counts_its_csr_bytes_alike() -> None:
    weight = drawn(GEOMETRIES["3x3"], "float32")[1] * (np.arange(9).reshape(3, 3) == 4)
    row = msgspec.structs.replace(GEOMETRIES["3x3"], nonzeros=int(np.count_nonzero(weight)))
    assert Csr.of(weight).bytes == row.sparse_bytes


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_is_parsed(name: str) -> None:
    kind, *sides = name.split("_") if name.startswith("bsr") else (name,)
    block = tuple(map(int, sides[0].split("x"))) if sides else (1, 1)
    assert weight_format(name) == WeightFormat(kind, block)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("cs", "'cs' is not a weight format; did you mean 'csr'?"),
        ("kept_channel", "'kept_channel' is not a weight format; did you mean 'kept_channels'?"),
        ("bsr", "'bsr' is not a weight format; did you mean 'bsr_16x1'?"),
        ("bsr_4", "'bsr_4' is not a weight format; did you mean 'bsr_4x4'?"),
        ("bsr_04x4", "'bsr_04x4' is not a weight format; did you mean 'bsr_4x4'?"),
        ("bsr_4×4", "'bsr_4×4' is not a weight format; did you mean 'bsr_4x4'?"),
        ("bsr_4x4\n", r"'bsr_4x4\n' is not a weight format; did you mean 'bsr_4x4'?"),
        ("bsr_٤x4", "'bsr_٤x4' is not a weight format; did you mean 'bsr_4x4'?"),
        (
            "",
            "'' is not a weight format; there are bsr_16x1, bsr_1x16, bsr_4x4, csr, dense, "
            "kept_channels",
        ),
        ("bsr_0x4", "'bsr_0x4' has blocks of 0×4; each side is 1 to 64 channels"),
        ("bsr_16x65", "'bsr_16x65' has blocks of 16×65; each side is 1 to 64 channels"),
    ],
)
def test_a_name_that_is_none(name: str, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        weight_format(name, "$.algorithm.format")
    assert str(caught.value) == f"$.algorithm.format: {sentence}"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "weight, sentence",
    [
        (WEIGHT.astype(np.float16), "weight is float16, expected float32"),
        (WEIGHT[:, :, 0, 0], "weight has shape (3, 4), expected 4 dimensions"),
        (WEIGHT[:0], "the shape (0, 4, 1, 1) is not (K, C, R, S), each at least 1"),
        (
            np.broadcast_to(np.float32(0), (2**16, 2**15, 1, 1)),
            "the shape (65536, 32768, 1, 1) has more than 2147483647 weights",
        ),
    ],
)
def test_a_weight_that_is_none(name: str, weight: Any, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        convert(name, weight)
    assert str(caught.value) == f"{name.split('_')[0] if 'bsr' in name else name}: {sentence}"


RISE = "in a row, columns rise and none is repeated (SciPy: sum_duplicates() before saving)"


@pytest.mark.parametrize(
    "matrix, changed, sentence",
    [
        (CSR, {"columns": ints(1, 4, 0)}, "row 0, entry 1: column 4 is not in 0 … 3"),
        (CSR, {"columns": ints(1, 3, -1)}, "row 2, entry 2: column -1 is not in 0 … 3"),
        (CSR, {"columns": ints(3, 1, 0)}, f"row 0, entry 1: column 1 follows 3; {RISE}"),
        (CSR, {"columns": ints(3, 3, 0)}, f"row 0, entry 1: column 3 follows 3; {RISE}"),
        (CSR, {"columns": ints(1, 3)}, "2 columns for 3 values"),
        (CSR, {"columns": CSR.columns.astype(int)}, "columns is int64, expected int32"),
        (CSR, {"values": CSR.values.astype(float)}, "values is float64, expected float32"),
        (CSR, {"pointers": ints(0, 2, 3)}, "3 row pointers, expected 4"),
        (CSR, {"pointers": ints(1, 2, 2, 3)}, "row 0 starts at entry 1, not at 0"),
        (
            CSR,
            {"pointers": ints(0, 2, 1, 3)},
            "row 1 starts at entry 2 and ends at 1; row pointers do not fall",
        ),
        (CSR, {"pointers": ints(0, 2, 2, 4)}, "the last row, 2, ends at entry 4, but there are 3"),
        (BSR, {"block": (3, 2)}, "values are blocks of 2×3, not 3×2"),
        (BSR, {"block": (0, 3)}, "blocks of 0×3; each side is 1 to 64 channels"),
        (BSR, {"columns": ints(0, 2, 0)}, "row 0, entry 1: column 2 is not in 0 … 1"),
        (
            BSR,
            {"values": np.ones((3, 2, 3), np.float32)},
            "row 0, entry 1 has a weight of output channel 0 and input channel 4; "
            "the layer has 3 and 4",
        ),
        (KEPT, {"outputs": ints(0, 3)}, "outputs[1] is 3, not in 0 … 2"),
        (
            KEPT,
            {"inputs": ints(0, 3, 1)},
            "inputs[2] is 1 and follows 3; channels rise and none is repeated",
        ),
        (
            KEPT,
            {"inputs": ints(0, 3)},
            "weight has shape (2, 3, 1, 1), its channels and kernel are (2, 2, 1, 1)",
        ),
    ],
)
def test_what_is_damaged_is_named(matrix: Any, changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(matrix, **changed).check("conv1")
    assert str(caught.value) == f"conv1: {sentence}"


@pytest.mark.parametrize(
    "changed, sentence",
    [
        ({"format": np.array(b"csc")}, "format is 'csc'; dlas opens csr and bsr: matrix.tocsr()"),
        ({"format": np.array(["csr", "csr"])}, "format is None; dlas opens csr and bsr"),
        ({"shape": np.array([3, 5])}, "shape is (3, 5), expected (3, 4) for the kernel (3, 4, 1"),
        ({"shape": np.array([12])}, "shape is int64 of shape (1,), expected 2 whole numbers"),
        ({"kernel": np.array([3, 2, 2])}, "kernel is int64 of shape (3,), expected 4 whole"),
        ({"kernel": np.array([3.0, 4, 1, 1])}, "kernel is float64 of shape (4,), expected 4 whole"),
        ({"indices": np.array([1, 2**32, 0])}, "indices[1] is 4294967296, more than int32 holds"),
        ({"indices": np.array([1.0, 3, 0])}, "indices is float64, expected whole numbers"),
        ({"indices": np.array([3, 1, 0])}, "row 0, entry 1: column 1 follows 3; in a row"),
        ({"indices": np.array([1, 3, 9])}, "row 2, entry 2: column 9 is not in 0 … 3"),
        ({"indptr": np.array([0, 2, 2, 9])}, "the last row, 2, ends at entry 9, but there are 3"),
        ({"data": np.array([1, 2j, 3])}, "data is complex128, expected real numbers"),
        ({"data": np.array([1, 1e39, 3])}, "data: entry 1 is 1e+39, beyond float32"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    path = tmp_path / "weights.npz"
    save(CSR, path)
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, **changed})
    assert f"{path}: {sentence}" in opening(path)


@pytest.mark.parametrize(
    "write, sentence",
    [
        (lambda path: None, ": there is no such file"),
        (lambda path: path.mkdir(), " cannot be read as an .npz file: "),
        (lambda path: path.write_bytes(b""), " cannot be read as an .npz file: "),
        (lambda path: path.write_text("weights"), " cannot be read as an .npz file: "),
        (lambda path: np.savez(path, data=np.ones(3)), ": format is missing; a matrix that "),
        (
            lambda path: np.savez(path, format=np.array([object()])),
            " cannot be read as an .npz file: it holds Python objects, which dlas never loads",
        ),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, write: Callable[[Path], Any], sentence: str) -> None:
    path = tmp_path / "weights.npz"
    write(path)
    assert opening(path).startswith(f"{path}{sentence}")


def test_a_damaged_matrix_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    with pytest.raises(InputError, match="csr: 2 columns for 3 values"):
        save(dataclasses.replace(CSR, columns=ints(1, 3)), path)
    assert not path.exists()


def test_scipy_leaves_blocks_unsorted_and_they_open(tmp_path: Path) -> None:
    """As ``tobsr`` writes them: a row's blocks in the order in which it met them."""
    arrays = {
        "format": np.array(b"bsr"), "shape": np.array([2, 4]), "indptr": ints(0, 2),
        "indices": ints(1, 0), "data": np.arange(8.0).reshape(2, 2, 2),
    }  # fmt: skip
    path = tmp_path / "scipy.npz"
    np.savez(path, **arrays)
    assert open_weights(path).dense()[:, :, 0, 0].tolist() == [[4, 5, 0, 1], [6, 7, 2, 3]]
    np.savez(path, **{**arrays, "indices": ints(1, 1)})
    assert "row 0, entry 1: column 1 follows 1" in opening(path)
    for damaged in ({"data": np.ones((2, 0, 2))}, {"data": np.ones(2)}, {"indptr": ints(0, 9)}):
        np.savez(path, **{**arrays, **damaged})
        assert opening(path).startswith(f"{path}: ")


def opening(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_weights(path)
    return str(caught.value)
