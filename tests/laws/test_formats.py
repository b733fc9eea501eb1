"""Laws of weight formats: they hold what the dense weights hold, and no damaged one passes."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dlas.algorithms.formats import FORMATS, Bsr, Csr, KeptChannels, convert, open_weights, save
from dlas.errors import InputError
from dlas.testing.convolutions import GEOMETRIES, drawn

Array = NDArray[Any]
SPECIAL = np.array([-0.0, np.nan, np.inf, -np.inf, 1e-45, 3.4e38], np.float32)


def sparse(shape: tuple[int, ...], density: float, seed: int, special: bool = False) -> Array:
    """Normal numbers among zeros; ``special``: also zeros with a sign, NaN, the largest …"""
    random = np.random.default_rng(seed)
    weight = random.normal(size=shape).astype(np.float32)
    weight[random.random(shape) >= density] = 0
    if special:
        some = random.random(shape) < 0.2
        weight[some] = random.choice(SPECIAL, some.sum())
    return weight


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3))
weights = st.builds(
    sparse, shapes, st.sampled_from([0, 0.02, 0.1, 0.5, 1]), st.integers(0, 2**16), st.booleans()
)
blocks = st.tuples(st.integers(1, 17), st.integers(1, 17))
names = st.one_of(st.sampled_from(FORMATS), blocks.map(lambda block: "bsr_{}x{}".format(*block)))
matrices = st.one_of(weights.map(Csr.of), st.builds(Bsr.of, weights, blocks))


def bits(weight: Array) -> Array:
    """Of the weight without its zeros' signs; they also tell one NaN from another."""
    return np.where(weight == 0, np.float32(0), weight).view(np.uint32)


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    for field in dataclasses.fields(expected):
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(theirs, np.ndarray):
            assert ours.dtype == theirs.dtype
            assert ours.flags.c_contiguous
        np.testing.assert_array_equal(ours, theirs)


@given(names, weights)
def test_sparse_equals_dense(name: str, weight: Array) -> None:
    stored = convert(name, weight)
    stored.check()
    found = stored.dense()
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(bits(found), bits(weight))
    if name != "dense":
        assert not np.signbit(found[found == 0]).any()
    same(convert(name, found), stored)


@pytest.mark.parametrize("density", [0, 0.1, 1])
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("case", GEOMETRIES)
def test_every_geometry_and_its_groups(case: str, name: str, density: float) -> None:
    row = GEOMETRIES[case]
    weight = sparse(drawn(row, "float32")[1].shape, density, 0)
    stored = convert(name, weight, row.groups)
    stored.check()
    np.testing.assert_array_equal(stored.dense(), weight)


@given(names, weights)
def test_counts_are_those_of_the_weights(name: str, weight: Array) -> None:
    stored = convert(name, weight)
    assert stored.shape == weight.shape
    assert stored.nonzeros == np.count_nonzero(weight)
    assert stored.sparsity == pytest.approx(np.mean(weight == 0))


@given(weights)
def test_csr_lists_the_weights_in_order(weight: Array) -> None:
    csr = Csr.of(weight)
    places = [
        (k, *np.unravel_index(csr.columns[entry], weight.shape[1:]))
        for k in range(len(weight))
        for entry in range(csr.pointers[k], csr.pointers[k + 1])
    ]
    assert places == [tuple(place) for place in np.argwhere(weight)]
    assert csr.bytes == 8 * csr.nonzeros + 4 * (len(weight) + 1)


@given(weights)
def test_blocks_of_one_weight_are_csr(weight: Array) -> None:
    csr, bsr = Csr.of(weight), Bsr.of(weight, (1, 1))
    same(Csr(bsr.values.ravel(), bsr.columns, bsr.pointers, bsr.shape), csr)


@given(weights, blocks)
def test_a_block_lies_at_one_tap(weight: Array, block: tuple[int, int]) -> None:
    bsr = Bsr.of(weight, block)
    (k, c, r, s), (height, width) = weight.shape, block
    filled = np.zeros((k + height, c + width, r, s), np.float32)
    for row in range(bsr.grid[0]):
        for entry in range(bsr.pointers[row], bsr.pointers[row + 1]):
            group, tap = divmod(int(bsr.columns[entry]), r * s)
            y, x = row * height, group * width
            filled[y : y + height, x : x + width, tap // s, tap % s] = bsr.values[entry]
    np.testing.assert_array_equal(filled[:k, :c], weight)
    assert not filled[k:].any()
    assert not filled[:, c:].any()
    assert (bsr.values != 0).any(axis=(1, 2)).all(), "a block of zeros is stored"
    size = len(bsr.values) * (4 * height * width + 4) + 4 * (math.ceil(k / height) + 1)
    assert bsr.bytes == size


@given(weights, st.integers(1, 3))
def test_kept_channels_are_those_with_weights(weight: Array, groups: int) -> None:
    kept = KeptChannels.of(weight, groups)
    assert kept.outputs.tolist() == [k for k, row in enumerate(weight) if row.any()]
    read = [c for c in range(weight.shape[1]) if groups > 1 or weight[:, c].any()]
    assert kept.inputs.tolist() == read
    taps = math.prod(weight.shape[2:])
    outputs, inputs = len(kept.outputs), len(kept.inputs)
    assert kept.bytes == 4 * (outputs * inputs * taps + outputs + inputs)


# Files.


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder, "weights.npz")


@given(matrix=matrices)
def test_a_file_holds_the_same(path: Path, matrix: Csr | Bsr) -> None:
    save(matrix, path)
    same(open_weights(path), matrix)


@given(matrix=matrices)
def test_scipy_opens_our_files(path: Path, matrix: Csr | Bsr) -> None:
    scipy = pytest.importorskip("scipy.sparse")
    save(matrix, path)
    theirs = scipy.load_npz(path)
    if isinstance(matrix, Csr):
        expected = matrix.dense().reshape(matrix.shape[0], -1)
    else:
        assert theirs.blocksize == matrix.block
        (k, c, r, s), (rows, columns), (height, width) = matrix.shape, matrix.grid, matrix.block
        filled = np.zeros((rows * height, columns // (r * s) * width, r, s), np.float32)
        filled[:k, :c] = matrix.dense()
        apart = filled.reshape(len(filled), -1, width, r, s)
        expected = apart.transpose(0, 1, 3, 4, 2).reshape(len(filled), -1)
    np.testing.assert_array_equal(theirs.toarray(), expected)


@given(
    weight=weights, block=st.sampled_from([None, (1, 1), (2, 1), (1, 3), (4, 4)]),
    array=st.booleans(), wide=st.booleans(), compressed=st.booleans(),
)  # fmt: skip
def test_files_of_scipy_open(
    path: Path, weight: Array, block: Any, array: bool, wide: bool, compressed: bool
) -> None:
    scipy = pytest.importorskip("scipy.sparse")
    height, width = block or (1, 1)
    matrix = np.tile(weight[:, :, 0, 0], (height, width))  # SciPy fills no blocks
    matrix = matrix.astype(np.float64 if wide else np.float32)
    if block is None:
        theirs = (scipy.csr_array if array else scipy.csr_matrix)(matrix)
    else:
        theirs = (scipy.bsr_array if array else scipy.bsr_matrix)(matrix, blocksize=block)
    if wide:
        theirs.indices = theirs.indices.astype(np.int64)
        theirs.indptr = theirs.indptr.astype(np.int64)
    scipy.save_npz(path, theirs, compressed)
    found = open_weights(path)
    assert isinstance(found, Csr if block is None else Bsr)
    np.testing.assert_array_equal(found.dense()[:, :, 0, 0], matrix)


# What is damaged.


def put(array: Array, at: int, value: int) -> Array:
    return np.concatenate([array[:at], np.array([value], array.dtype), array[at + 1 :]])


#: (indices, one of them, their bound) → indices that are wrong.
INDICES: dict[str, Callable[[Array, int, int], Array]] = {
    "negative": lambda array, at, bound: put(array, at, -1),
    "far negative": lambda array, at, bound: put(array, at, -(2**31)),
    "the bound": lambda array, at, bound: put(array, at, bound),
    "far beyond": lambda array, at, bound: put(array, at, 2**31 - 1),
    "one absent": lambda array, at, bound: np.delete(array, at),
    "one too many": lambda array, at, bound: np.append(array, array[-1:]),
    "none": lambda array, at, bound: array[:0],
    "int64": lambda array, at, bound: array.astype(np.int64),
    "uint32": lambda array, at, bound: array.astype(np.uint32),
    "float32": lambda array, at, bound: array.astype(np.float32),
    "two dimensions": lambda array, at, bound: array[None],
}
OF_A_FILE = set(INDICES) - {"int64", "uint32"}
#: (pointers, one of them but the first and last) → pointers that are wrong.
POINTERS: dict[str, Callable[[Array, int], Array]] = {
    "first not 0": lambda array, at: put(array, 0, 1),
    "first negative": lambda array, at: put(array, 0, -1),
    "last too large": lambda array, at: put(array, len(array) - 1, int(array[-1]) + 1),
    "last too small": lambda array, at: put(array, len(array) - 1, int(array[-1]) - 1),
    "a fall": lambda array, at: put(array, at, int(array[at + 1]) + 1),
    "a fall below the first": lambda array, at: put(array, at, -1),
    "a row absent": lambda array, at: np.delete(array, at),
    "a row too many": lambda array, at: np.append(array, array[-1:]),
    "none": lambda array, at: array[:0],
    "int64": lambda array, at: array.astype(np.int64),
    "float32": lambda array, at: array.astype(np.float32),
    "two dimensions": lambda array, at: array[None],
}
VALUES: dict[str, Callable[[Array], Array]] = {
    "one absent": lambda array: array[1:],
    "one too many": lambda array: np.concatenate([array, array[:1]]),
    "none": lambda array: array[:0],
    "float64": lambda array: array.astype(np.float64),
    "float16": lambda array: array.astype(np.float16),
    "big-endian": lambda array: array.astype(">f4"),
    "complex": lambda array: array.astype(np.complex64),
    "a dimension more": lambda array: array[None],
    "a dimension less": lambda array: array.reshape(-1)[0],
}
SHAPES: dict[str, Callable[[tuple[int, ...]], tuple[int, ...]]] = {
    "no channel": lambda shape: (*shape[:1], 0, *shape[2:]),
    "negative": lambda shape: (shape[0], shape[1], -3, -3),
    "three sides": lambda shape: shape[:3],
    "none": lambda shape: (),
    "more rows": lambda shape: (shape[0] + 64, *shape[1:]),
    "beyond int32": lambda shape: (shape[0], 2**31, *shape[2:]),
}


def refused(matrix: Any, **changed: Any) -> None:
    damaged = dataclasses.replace(matrix, **changed)
    with pytest.raises(InputError, match=r"^here: "):
        damaged.check("here")


def file_refused(path: Path, matrix: Csr | Bsr, **changed: Array) -> None:
    save(matrix, path)
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, **changed})
    with pytest.raises(InputError) as caught:
        open_weights(path)
    assert str(caught.value).startswith(f"{path}")


@pytest.mark.parametrize("wrong", INDICES)
@settings(max_examples=30)
@given(matrix=matrices, data=st.data())
def test_wrong_columns_are_found(path: Path, wrong: str, matrix: Any, data: Any) -> None:
    assume(len(matrix.columns))
    at = data.draw(st.integers(0, len(matrix.columns) - 1))
    bound = matrix.grid[1] if isinstance(matrix, Bsr) else math.prod(matrix.shape[1:])
    columns = INDICES[wrong](matrix.columns, at, bound)
    refused(matrix, columns=columns)
    if wrong in OF_A_FILE:
        file_refused(path, matrix, indices=columns)


@given(matrix=matrices, data=st.data())
def test_rows_that_do_not_rise_are_found(path: Path, matrix: Any, data: Any) -> None:
    lengths = np.diff(matrix.pointers)
    assume((lengths > 1).any())
    row = data.draw(st.sampled_from(np.flatnonzero(lengths > 1).tolist()))
    at = data.draw(st.integers(int(matrix.pointers[row]), int(matrix.pointers[row + 1]) - 2))
    first, second = matrix.columns[at : at + 2].tolist()
    for columns in (
        put(put(matrix.columns, at, second), at + 1, first),
        put(matrix.columns, at, second),
    ):
        refused(matrix, columns=columns)
        file_refused(path, matrix, indices=columns)


@pytest.mark.parametrize("wrong", POINTERS)
@settings(max_examples=30)
@given(matrix=matrices, data=st.data())
def test_wrong_pointers_are_found(path: Path, wrong: str, matrix: Any, data: Any) -> None:
    assume(len(matrix.pointers) > 2)
    at = data.draw(st.integers(1, len(matrix.pointers) - 2))
    pointers = POINTERS[wrong](matrix.pointers, at)
    refused(matrix, pointers=pointers)
    if wrong != "int64":
        file_refused(path, matrix, indptr=pointers)


@pytest.mark.parametrize("wrong", VALUES)
@settings(max_examples=20)
@given(matrix=matrices)
def test_wrong_values_are_found(path: Path, wrong: str, matrix: Any) -> None:
    assume(len(matrix.values))
    with np.errstate(over="ignore"):
        values = VALUES[wrong](matrix.values)
    refused(matrix, values=values)
    if wrong not in ("float64", "float16", "big-endian"):
        file_refused(path, matrix, data=values)


@pytest.mark.parametrize("wrong", SHAPES)
@settings(max_examples=20)
@given(matrix=matrices)
def test_wrong_shapes_are_found(path: Path, wrong: str, matrix: Any) -> None:
    shape = SHAPES[wrong](matrix.shape)
    refused(matrix, shape=shape)
    file_refused(path, matrix, kernel=np.array(shape, np.int64))


@given(matrix=matrices, side=st.integers(0, 1), by=st.integers(1, 5))
def test_a_matrix_of_another_shape_is_found(path: Path, matrix: Any, side: int, by: int) -> None:
    with_more = list(matrix.shape[:2])
    with_more[side] += by * 64
    assume(tuple(with_more) != (matrix.shape[0], math.prod(matrix.shape[1:])))  # that of its file
    file_refused(path, matrix, shape=np.array(with_more))


@given(weights, blocks, st.integers(0, 1))
def test_blocks_of_another_shape_are_found(weight: Array, block: Any, side: int) -> None:
    bsr = Bsr.of(weight, block)
    for length in (0, -1, block[side] + 1, 65):
        other = (block[0], length) if side else (length, block[1])
        refused(bsr, block=other)


@given(weights, blocks, st.data())
def test_weights_of_channels_that_are_none_are_found(weight: Array, block: Any, data: Any) -> None:
    bsr = Bsr.of(np.ones_like(weight), block)
    outside = np.argwhere(bsr.values == 0)
    assume(len(outside))
    values = bsr.values.copy()
    values[tuple(outside[data.draw(st.integers(0, len(outside) - 1))])] = np.nan
    refused(bsr, values=values)


@pytest.mark.parametrize("field", ["outputs", "inputs"])
@pytest.mark.parametrize("wrong", INDICES)
@settings(max_examples=20)
@given(weight=weights, data=st.data())
def test_wrong_channels_are_found(wrong: str, field: str, weight: Array, data: Any) -> None:
    kept = KeptChannels.of(weight)
    channels = getattr(kept, field)
    assume(len(channels))
    at = data.draw(st.integers(0, len(channels) - 1))
    refused(kept, **{field: INDICES[wrong](channels, at, kept.shape[field == "inputs"])})
    if len(channels) > 1:
        refused(kept, **{field: channels[::-1]})
        refused(kept, **{field: put(channels, 1, channels[0])})


@pytest.mark.parametrize("wrong", VALUES)
@settings(max_examples=20)
@given(weight=weights)
def test_wrong_kept_weights_are_found(wrong: str, weight: Array) -> None:
    kept = KeptChannels.of(weight)
    assume(kept.weight.size)
    with np.errstate(over="ignore"):
        refused(kept, weight=VALUES[wrong](kept.weight))


@settings(max_examples=300)
@given(matrix=matrices, data=st.data())
def test_one_damaged_byte_is_found_or_means_nothing(path: Path, matrix: Any, data: Any) -> None:
    save(matrix, path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    found_or_same(path, matrix)


@given(matrix=matrices, data=st.data())
def test_a_file_cut_short_is_found(path: Path, matrix: Any, data: Any) -> None:
    save(matrix, path)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    found_or_same(path, matrix)


def found_or_same(path: Path, matrix: Csr | Bsr) -> None:
    try:
        found = open_weights(path)
    except InputError as error:
        sentence = str(error)
    else:
        return same(found, matrix)
    assert sentence.startswith(f"{path}")
