"""Tiny data sets on disk, in every form that layer 1 reads; seeded, learnable by nobody."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))


def pixels(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def labels(count: int, classes: int) -> NDArray[np.int64]:
    """0, 1, … classes - 1, 0, 1, …"""
    return np.arange(count, dtype=np.int64) % classes


def cifar_contents(form: str, per_batch: int = 20) -> dict[str, bytes]:
    """The six batches of ``form`` "python" or "binary", name → content; 10 classes in each."""
    contents = {}
    for seed, name in enumerate((*BATCHES, "test_batch")):
        images, numbers = pixels((per_batch, 3072), seed), labels(per_batch, 10).astype(np.uint8)
        if form == "binary":
            contents[f"{name}.bin"] = np.column_stack([numbers, images]).tobytes()
        else:
            contents[name] = cifar_pickle(images, numbers.tolist())
    return contents


def cifar_pickle(images: NDArray[np.uint8], numbers: list[int]) -> bytes:
    """A python batch as Python 2 wrote it, opcode by opcode (protocol 2): images (N, 3072)."""

    def text(value: bytes) -> bytes:  # SHORT_BINSTRING
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:  # BININT
        return b"J" + struct.pack("<i", value)

    raw = images.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + (b"cnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R")
        + (b"(" + number(1) + number(images.shape[0]) + number(images.shape[1]) + b"\x86")
        + (b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R")
        + (b"(" + number(3) + text(b"|") + b"NNN" + number(-1) * 2 + number(0) + b"tb")
        + (b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb")
    )
    listed = b"]q\x03(" + b"".join(map(number, numbers)) + b"e"  # memoized, as all containers are
    name = text(b"batch_label") + text(b"tiny")
    return b"\x80\x02}q\x01(" + name + text(b"labels") + listed + text(b"data") + array + b"u."


def write_files(folder: Path, contents: Mapping[str, bytes]) -> Path:
    """Write files by relative name; returns the folder."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(file: Path, contents: Mapping[str, bytes], below: str) -> Path:
    """A .tar.gz of files below one folder; returns the file."""
    with tarfile.open(file, "w:gz") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(f"{below}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file


def image_file(shape: tuple[int, ...] = (8, 8, 3), kind: str = "PNG", seed: int = 0) -> bytes:
    """An image of random pixels (H, W, 3) or (H, W) in a file format that Pillow names."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels(shape, seed)).save(file, kind)
    return file.getvalue()


def class_images(
    classes: Iterable[str], count: int, shape: tuple[int, ...] = (8, 8, 3), suffix: str = "png"
) -> dict[str, bytes]:
    """``count`` images in each class folder, relative name → content."""
    kind = "PNG" if suffix == "png" else "JPEG"
    return {
        f"{name}/{number:04}.{suffix}": image_file(shape, kind, seed=1000 * index + number)
        for index, name in enumerate(classes)
        for number in range(count)
    }
