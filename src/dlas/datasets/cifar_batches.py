"""The two forms in which CIFAR-10 is given out: python batches and binary batches.

https://www.cs.toronto.edu/~kriz/cifar.html. The python batches are pickles, the one place where
dlas reads any. They are read without running what they say: of all the calls that a pickle can ask
for, three are admitted, those that describe a numpy array, and in their place stand the inert
records below; any other is refused. No object is built but records and plain containers.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
                opened = archive.extractfile(entry) if Path(entry.name).name in wanted else None
                if opened is not None:
                    yield entry.name, opened.read()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file or folder") from None
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        hint = f"; {_ELSEWHERE}" if path.suffix == ".zip" else ""
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is no tar file, or a damaged one: {reason}{hint}") from None


def _binary(content: bytes, name: str) -> Images:
    """Records of one label byte and 3072 pixels, red, green, blue, by rows."""
    if not content or len(content) % (1 + PIXELS):
        record = 1 + PIXELS
        raise InputError(f"{name} is truncated: {len(content)} bytes are no multiple of {record}")
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return Images(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0])


def _python(content: bytes, name: str) -> Images:
    """A dictionary with ``data``, (N, 3072) uint8, and ``labels``, a list of N numbers."""
    found = _unpickle(content, name)
    fields = {_text(key): value for key, value in found.items()} if isinstance(found, dict) else {}
    data, labels = fields.get("data"), fields.get("labels")
    if not isinstance(data, _Array) or not isinstance(labels, list):
        raise InputError(f"{name} is no batch of CIFAR-10: it needs data and labels")
    pixels = data.pixels()
    numbers = [label for label in labels if isinstance(label, int) and 0 <= label < 256]
    if pixels is None or len(numbers) != len(labels) or len(labels) != len(pixels):
        raise InputError(f"{name} is damaged: data must be {len(labels)} × {PIXELS} bytes")
    return Images(pixels, np.array(numbers, np.uint8))


def _text(key: Any) -> str:
    return key.decode("ascii", "replace") if isinstance(key, bytes) else str(key)


class _Named:
    """Stands for a class that the pickle only mentions."""


class _Type:
    """Stands for numpy.dtype; ``code`` is u1 for bytes."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = _text(code)

    def __setstate__(self, _: Any) -> None:
        """Byte order and alignment mean nothing for bytes."""


class _Array:
    """Stands for numpy's _reconstruct and the array that it begins."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def pixels(self) -> NDArray[np.uint8] | None:
        """(N, 3, 32, 32), where the state describes an array (N, 3072) uint8; else None."""
        match self.state:
            case (_, (int(count), int(width)), _Type(code="u1"), False, bytes(raw)):
                if width == PIXELS and count > 0 and len(raw) == count * width:
                    return np.frombuffer(raw, np.uint8).reshape(-1, 3, 32, 32)
        return None


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Named,
    ("numpy", "dtype"): _Type,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs")
        return _ADMITTED[module, name]


def _unpickle(content: bytes, name: str) -> Any:
    try:
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except (pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, ImportError,
            LookupError, MemoryError, TypeError, ValueError) as error:  # fmt: skip
        raise InputError(f"{name} is no batch of CIFAR-10, or a damaged one: {error}") from None
