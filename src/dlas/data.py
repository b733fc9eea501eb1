"""What layer 1 hands down: three fixed splits of images and labels, normalized on reading.

On disk a data set is a folder: ``data.json`` and, per split, ``<split>_images.npy`` (N, C, H, W)
uint8 or float32, memory-mapped on reading, and ``<split>_labels.npy`` (N,) int64. A split too large
to copy is ``<split>_files.json`` instead: image files that are decoded each time they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError
from dlas.images import ImageFiles

FILE = "data.json"
SPLITS = ("train", "calibration", "test")


@dataclass(frozen=True)
class Split:
    """Images and labels of one split; images come out normalized, (n, C, H, W) float32."""

    labels: NDArray[np.int64]
    read: Callable[[NDArray[np.intp]], NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: NDArray[np.intp] | slice | None = None) -> NDArray[np.float32]:
        """The images at ``indices`` (all by default), (n, C, H, W) float32."""
        every = np.arange(len(self))
        return self.read(every if indices is None else every[indices])

    def batches(self, size: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Images and labels in the split's order; the last batch may be smaller."""
        for start in range(0, len(self), size):
            chosen = slice(start, start + size)
            yield self.images(chosen), self.labels[chosen]


@dataclass(frozen=True)
class Data:
    """A data set: ``shape`` is (C, H, W), ``classes`` the class names in label order.

    No image is in two splits. Every split is in random order, so that its first n images are a
    sample; but a test set that came in an order of its own keeps it."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train: Split
    calibration: Split
    test: Split


class Header(msgspec.Struct, frozen=True):
    """``data.json``. ``mean`` and ``std`` are per channel, in units of the full scale: a stored
    pixel p is read as (p / scale - mean) / std."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float


@dataclass(frozen=True)
class Pixels:
    """Images on their way to disk: ``shape`` (n, C, H, W), uint8 or float32, in portions of any
    length, so that a split need not fit into memory."""

    shape: tuple[int, ...]
    dtype: Any
    portions: Iterable[NDArray[Any]]


def write_data(
    folder: Path, header: Header, splits: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]
) -> None:
    """Write the folder form from images (n, C, H, W) uint8 or float32 and labels (n,), by split.
    Raises InputError as ``write_split`` and ``write_header`` do."""
    for name, (images, labels) in splits.items():
        write_split(folder, name, Pixels(images.shape, images.dtype, [images]), labels)
    write_header(folder, header)


def write_split(folder: Path, name: str, images: Pixels | ImageFiles, labels: NDArray[Any]) -> None:
    """Write one split. Raises InputError for no images at all, and NaN or infinite values."""
    if len(labels) == 0:
        raise InputError(f"the {name} split is empty")
    np.save(_labels_file(folder, name), labels.astype(np.int64), allow_pickle=False)
    if isinstance(images, ImageFiles):
        _files_file(folder, name).write_bytes(msgspec.json.encode(images))
        return
    dtype: np.dtype[Any] = np.dtype(images.dtype)
    descr = np.lib.format.dtype_to_descr(dtype)
    # Not a memory map: on a full disk that would kill the process instead of raising OSError.
    with _images_file(folder, name).open("wb") as file:
        header = {"descr": descr, "fortran_order": False, "shape": tuple(images.shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for portion in images.portions:
            if dtype.kind == "f" and not np.isfinite(portion).all():
                raise InputError(f"the {name} images hold NaN or infinite values")
            file.write(np.ascontiguousarray(portion, dtype).data)


def write_header(folder: Path, header: Header) -> None:
    """Write ``data.json``, last, once every split fits it. Raises InputError for fewer than two
    classes, and shapes or labels that disagree with the header."""
    if len(header.classes) < 2:
        found = ", ".join(header.classes) or "none"
        raise InputError(f"there must be two classes or more to tell apart; there is {found}")
    for name in SPLITS:
        _check(name, _open_images(folder, name), _open_labels(folder, name), header)
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(header), indent=1))


def open_data(folder: Path) -> Data:
    """Read what ``write_data`` wrote; images stay on disk until they are asked for. InputError
    where the folder holds something else, is damaged, or names image files that are gone."""
    try:
        header = msgspec.json.decode((folder / FILE).read_bytes(), type=Header)
        stored = {name: (_open_images(folder, name), _open_labels(folder, name)) for name in SPLITS}
    except (OSError, ValueError, EOFError, msgspec.MsgspecError) as error:
        raise InputError(f"{folder} holds no data set of dlas, or a damaged one: {error}") from None
    splits = {}
    for name, (images, labels) in stored.items():
        _check(name, images, labels, header)
        if isinstance(images, ImageFiles) and not Path(images.root).is_dir():
            raise InputError(f"{images.root}, whence {folder} reads its {name} images, is gone")
        splits[name] = Split(labels, _reader(images, header))
    return Data(header.shape, header.classes, **splits)


def _reader(
    images: NDArray[Any] | ImageFiles, header: Header
) -> Callable[[NDArray[np.intp]], NDArray[np.float32]]:
    scale = np.float32(header.scale)
    mean = np.asarray(header.mean, np.float32).reshape(-1, 1, 1)
    std = np.asarray(header.std, np.float32).reshape(-1, 1, 1)

    def read(indices: NDArray[np.intp]) -> NDArray[np.float32]:
        pixels: NDArray[np.float32] = images[indices].astype(np.float32)
        pixels /= scale  # in this order, as torchvision's ToTensor and Normalize: equal to the bit
        pixels -= mean
        pixels /= std
        return pixels

    return read


def _check(
    name: str, images: NDArray[Any] | ImageFiles, labels: NDArray[np.int64], header: Header
) -> None:
    expected = (len(labels), *header.shape)
    if images.shape != expected:
        raise InputError(f"the {name} images have shape {images.shape}, expected {expected}")
    low, high = labels.min(), labels.max()
    if low < 0 or high >= len(header.classes):
        count = len(header.classes)
        raise InputError(f"the {name} labels run from {low} to {high}; there are {count} classes")


def open_images(folder: Path, name: str) -> NDArray[Any]:
    """A copied split's images as they are stored: (n, C, H, W) uint8 or float32, on disk."""
    images: NDArray[Any] = np.load(_images_file(folder, name), mmap_mode="r", allow_pickle=False)
    return images


def _open_images(folder: Path, name: str) -> NDArray[Any] | ImageFiles:
    listed = _files_file(folder, name)
    if listed.exists():
        return msgspec.json.decode(listed.read_bytes(), type=ImageFiles)
    return open_images(folder, name)


def _open_labels(folder: Path, name: str) -> NDArray[np.int64]:
    labels: NDArray[np.int64] = np.load(_labels_file(folder, name), allow_pickle=False)
    return labels


def _images_file(folder: Path, name: str) -> Path:
    return folder / f"{name}_images.npy"


def _labels_file(folder: Path, name: str) -> Path:
    return folder / f"{name}_labels.npy"


def _files_file(folder: Path, name: str) -> Path:
    return folder / f"{name}_files.json"
