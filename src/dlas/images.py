"""Image files to pixels, with Pillow: decode, scale, cut the centre."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
PORTION = 256

#: What Pillow raises for damaged files; which one depends on the format.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, struct.error)


class Decoder(msgspec.Struct, frozen=True):
    """From an image file to (channels, H, W) uint8.

    ``resize`` scales the shorter side to it, bilinear and antialiased; ``crop`` then cuts the
    centre square. Both round as torchvision does, so that published accuracies are met."""

    channels: Literal[1, 3] = 3
    resize: int | None = None
    crop: int | None = None

    def decode(self, file: Path | BinaryIO, name: str) -> NDArray[np.uint8]:
        """InputError, with ``name``, where the file is absent, damaged or has wider pixels."""
        try:
            from PIL import Image
        except ImportError:
            raise InputError("Pillow is not installed: pip install 'dlas[images]'") from None
        try:
            with Image.open(file) as image:
                if image.mode.startswith(("I", "F")):
                    raise InputError(f"{name} has pixels of more than 8 bits; save it with 8")
                pixels = np.asarray(self._fit(image.convert("RGB" if self.channels == 3 else "L")))
        except FileNotFoundError:
            raise InputError(f"{name}: there is no such file") from None
        except (*_DAMAGED, Image.DecompressionBombError) as error:
            raise InputError(f"{name} cannot be read as an image: {_reason(error)}") from None
        return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1))

    def _fit(self, image: PillowImage) -> PillowImage:
        from PIL import Image

        if self.resize is not None:
            short = min(image.size)
            width, height = (int(self.resize * side / short) for side in image.size)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        if self.crop is not None:
            left, top = (round((side - self.crop) / 2) for side in image.size)
            image = image.crop((left, top, left + self.crop, top + self.crop))
        return image


def _reason(error: Exception) -> str:
    """Pillow's words, but for those that name the file object it was given."""
    text = str(error) or repr(error)
    return "it is of no known format" if "cannot identify" in text else text


class ImageFiles(msgspec.Struct, frozen=True):
    """Images that stay in their files, under the folder ``root``, and are decoded when read."""

    root: str
    names: tuple[str, ...]
    decoder: Decoder

    @property
    def shape(self) -> tuple[int, int, int, int]:
        side = self.decoder.crop
        assert side is not None, "only images of one size make an array"
        return len(self.names), self.decoder.channels, side, side

    def __getitem__(self, indices: NDArray[np.intp]) -> NDArray[np.uint8]:
        """(len(indices), C, H, W) uint8."""
        names = [self.names[index] for index in indices]
        found = list(decoded(self.read, names)) or [np.empty((0, *self.shape[1:]), np.uint8)]
        return np.concatenate(found)

    def read(self, name: str) -> NDArray[np.uint8]:
        file = Path(self.root, name)
        return self.decoder.decode(file, str(file))


def decoded(
    read: Callable[[str], NDArray[np.uint8]], names: Sequence[str], threads: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """The named images in portions (≤ 256, C, H, W), decoded by ``threads``, by default every core
    that this process has (Pillow lets go of the interpreter lock). All must come out alike."""
    with ThreadPoolExecutor(threads or _cores()) as pool:
        for start in range(0, len(names), PORTION):
            yield np.stack(list(pool.map(read, names[start : start + PORTION])))


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
