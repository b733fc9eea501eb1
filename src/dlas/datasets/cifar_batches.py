"""The two forms in which CIFAR-10 is given out: python batches and binary batches.

https://www.cs.toronto.edu/~kriz/cifar.html. The python batches are pickles, which a reader of ours
takes apart as data (``inert_pickle``): nothing that they ask for is run.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlas.datasets.inert_pickle import Call, read_pickle
from dlas.errors import InputError

TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"
PYTHON = (*TRAIN, TEST)
BINARY = tuple(f"{name}.bin" for name in PYTHON)
PIXELS = 3 * 32 * 32

_ELSEWHERE = "image files in class folders are read by the data set 'arrays'"


class Images(NamedTuple):
    """(N, 3, 32, 32) uint8 and (N,) uint8."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def read_batches(path: Path) -> tuple[Images, Images]:
    """(train, test) from a folder, or a tar file, of either form. Raises InputError."""
    contents = {Path(name).name: content for name, content in _contents(path)}
    names = BINARY if any(name in contents for name in BINARY) else PYTHON
    absent = [name for name in names if name not in contents]
    if len(absent) == len(names):
        raise InputError(
            f"{path} holds no CIFAR-10: there is neither {PYTHON[0]} (python version) nor "
            f"{BINARY[0]} (binary version); {_ELSEWHERE}"
        )
    if absent:
        raise InputError(f"{path} lacks {', '.join(absent)}")
    parse = _binary if names is BINARY else _python
    batches = [parse(contents[name], f"{path}: {name}") for name in names]
    train = Images(*(np.concatenate(part) for part in zip(*batches[:-1], strict=True)))
    return train, batches[-1]


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every batch, never unpacked to disk."""
    wanted = {*PYTHON, *BINARY}
    if path.is_dir():
        for folder in (path, path / "cifar-10-batches-py", path / "cifar-10-batches-bin"):
            for name in sorted(wanted):
                if (folder / name).is_file():
                    yield name, (folder / name).read_bytes()
        return
    try:
        with tarfile.open(path, "r:*") as archive:
            for entry in archive:
                # Files only: a link may lead to itself.
                if entry.isreg() and Path(entry.name).name in wanted:
                    opened = archive.extractfile(entry)
                    yield entry.name, opened.read() if opened else b""
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file or folder") from None
    except (tarfile.TarError, OSError, EOFError, MemoryError, zlib.error) as error:
        hint = f"; {_ELSEWHERE}" if path.suffix == ".zip" else ""
        reason = (str(error) or repr(error)).splitlines()[0]
        raise InputError(f"{path} is no tar file, or a damaged one: {reason}{hint}") from None


def _binary(content: bytes, name: str) -> Images:
    """Records of one label byte and 3072 pixels, red, green, blue, by rows."""
    if not content or len(content) % (1 + PIXELS):
        record = 1 + PIXELS
        raise InputError(f"{name} is truncated: {len(content)} bytes are no multiple of {record}")
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return Images(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0])


def _python(content: bytes, name: str) -> Images:
    """A dictionary with ``data``, an array (N, 3072) uint8, and ``labels``, a list of N numbers."""
    try:
        fields = read_pickle(content)
    except ValueError as error:
        raise InputError(f"{name} is no batch of CIFAR-10, or a damaged one: {error}") from None
    match fields:
        case {
            "labels": list(numbers),
            "data": Call(
                state=(_, (int(count), int(width)), Call(arguments=kind), False, str(raw))
            ),
        }:
            if (count, width) != (len(numbers), PIXELS):
                shapes = f"({count}, {width}), expected ({len(numbers)}, {PIXELS}) for its labels"
                raise InputError(f"{name}: data has the shape {shapes}")
            labelled = bool(numbers) and all(number in range(256) for number in numbers)
            if labelled and kind == ("u1", 0, 1) and len(raw) == count * width:
                pixels = np.frombuffer(raw.encode("latin-1"), np.uint8)
                return Images(pixels.reshape(-1, 3, 32, 32), np.array(numbers, np.uint8))
    raise InputError(f"{name} is no batch of CIFAR-10: it needs labels 0..9 and data, uint8")
