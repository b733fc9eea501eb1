"""What layer 1 hands down: three fixed splits of images and labels, normalized on reading.

On disk a data set is a folder: ``data.json`` and, per split, ``<split>_images.npy`` (N, C, H, W)
uint8 or float32 and ``<split>_labels.npy`` (N,) int64, both memory-mapped on reading. A split too
large to copy is ``<split>_files.json`` instead: image files that are decoded when they are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError

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
        for start in range(0, len(self), size):
            chosen = slice(start, start + size)
            yield self.images(chosen), self.labels[chosen]


@dataclass(frozen=True)
class Data:
    """A data set: ``shape`` is (C, H, W), ``classes`` the class names in label order."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train: Split
    calibration: Split
    test: Split


@dataclass(frozen=True)
class Header:
    """``data.json``. ``mean`` and ``std`` are per channel, in units of the full scale: a stored
    pixel p is read as (p / scale - mean) / std."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float


def write_data(
    folder: Path, header: Header, splits: dict[str, tuple[NDArray[Any], NDArray[np.int64]]]
) -> None:
    """Write the folder form. Raises InputError for data that nothing can be learnt from: an empty
    split, NaN or infinite values, shapes or labels that disagree with the header."""
    for name, (images, labels) in splits.items():
        check_split(name, images.shape, labels, header)
        if images.dtype != np.uint8 and not np.isfinite(images).all():
            raise InputError(f"the {name} images hold NaN or infinite values")
        np.save(folder / f"{name}_images.npy", images)
        np.save(folder / f"{name}_labels.npy", labels.astype(np.int64))
    (folder / "data.json").write_text(json.dumps(asdict(header), indent=1))


def check_split(name: str, shape: tuple[int, ...], labels: NDArray[Any], header: Header) -> None:
    if len(labels) == 0:
        raise InputError(f"the {name} split is empty")
    if tuple(shape[1:]) != tuple(header.shape) or shape[0] != len(labels):
        raise InputError(
            f"the {name} images have shape {tuple(shape)}, expected {(len(labels), *header.shape)}"
        )
    if labels.min() < 0 or labels.max() >= len(header.classes):
        found = f"{labels.min()} to {labels.max()}"
        raise InputError(f"the {name} labels run from {found}; there are {len(header.classes)} classes")


def open_data(folder: Path) -> Data:
    """Read what ``write_data`` wrote; images stay on disk until they are asked for."""
    header = Header(**json.loads((folder / "data.json").read_text()))
    mean = np.asarray(header.mean, np.float32).reshape(-1, 1, 1)
    std = np.asarray(header.std, np.float32).reshape(-1, 1, 1)

    def split(name: str) -> Split:
        images = np.load(folder / f"{name}_images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / f"{name}_labels.npy", allow_pickle=False)

        def read(indices: NDArray[np.intp]) -> NDArray[np.float32]:
            pixels = np.asarray(images[indices], np.float32) / np.float32(header.scale)
            normalized: NDArray[np.float32] = (pixels - mean) / std
            return normalized

        return Split(labels, read)

    shape = (int(header.shape[0]), int(header.shape[1]), int(header.shape[2]))
    return Data(shape, tuple(header.classes), split("train"), split("calibration"), split("test"))
