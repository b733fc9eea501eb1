"""Image files to pixels, with Pillow: decode, scale, cut the centre."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

#: What Pillow raises for damaged files; which one depends on the format.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, struct.error, zlib.error)


class Decoder(msgspec.Struct, frozen=True):
    """From an image file to (channels, H, W) uint8.

    ``resize`` scales the shorter side to it, bilinear and antialiased; ``crop`` then cuts the
    centre square. Both round as torchvision does, so that published accuracies are met."""

    channels: Literal[1, 3] = 3
    resize: int | None = None
    crop: int | None = None

    def __call__(self, file: Path | BinaryIO, name: str) -> NDArray[np.uint8]:
        """InputError with ``name`` where the file is absent, damaged or holds wider pixels."""
        from PIL import Image

        try:
            with Image.open(file) as image:
                if image.mode.startswith(("I", "F")):
                    raise InputError(f"{name} has 16-bit or float pixels; save it with 8 bits")
                fitted = self._fit(image.convert("RGB" if self.channels == 3 else "L"))
                pixels = np.asarray(fitted, np.uint8)
        except FileNotFoundError:
            raise InputError(f"{name}: there is no such file") from None
        except (*_DAMAGED, Image.DecompressionBombError) as error:
            reason = str(error).replace(repr(file), "").strip() or type(error).__name__
            raise InputError(f"{name} cannot be read as an image: {reason}") from None
        return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1))

    def _fit(self, image: PIL.Image.Image) -> PIL.Image.Image:
        width, height = image.size
        if self.resize is not None:
            short = min(width, height)
            width, height = (max(1, int(self.resize * side / short)) for side in image.size)
            image = image.resize((width, height), PIL.Image.Resampling.BILINEAR)
        if self.crop is not None:
            left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
            image = image.crop((left, top, left + self.crop, top + self.crop))
        return image
