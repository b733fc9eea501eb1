"""Decoding image files: sizes as torchvision makes them, damage named."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from dlas.errors import InputError
from dlas.images import Decoder
from dlas.testing.data import image_file, pixels

pytest.importorskip("PIL", reason="Pillow is not installed")
from PIL import Image


def test_a_png_comes_out_as_it_went_in() -> None:
    decoded = Decoder().decode(io.BytesIO(image_file((5, 7, 3))), "a")
    assert np.array_equal(decoded, pixels((5, 7, 3)).transpose(2, 0, 1))


def test_grey_comes_out_in_one_channel_or_three() -> None:
    grey = pixels((5, 7))
    one = Decoder(channels=1).decode(io.BytesIO(image_file((5, 7))), "a")
    three = Decoder(channels=3).decode(io.BytesIO(image_file((5, 7))), "a")
    assert np.array_equal(one, grey[None])
    assert np.array_equal(three, np.stack([grey] * 3))


@pytest.mark.parametrize("shape", [(300, 401, 3), (401, 300, 3), (256, 256, 3), (20, 33, 3)])
def test_resize_and_crop_are_torchvisions(shape: tuple[int, ...]) -> None:
    """Resize(256) then CenterCrop(224), written as torchvision computes them."""
    image = Image.fromarray(pixels(shape))
    width, height = image.size
    short, long = min(width, height), max(width, height)
    longer = int(256 * long / short)
    size = (256, longer) if width <= height else (longer, 256)
    resized = image.resize(size, Image.Resampling.BILINEAR)
    top, left = round((resized.height - 224) / 2.0), round((resized.width - 224) / 2.0)
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224)))

    decoded = Decoder(3, 256, 224).decode(io.BytesIO(image_file(shape)), "a")
    assert np.array_equal(decoded, expected.transpose(2, 0, 1))


def test_wide_pixels_are_refused_and_not_clipped(tmp_path: Path) -> None:
    file = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(file)
    with pytest.raises(InputError, match=r"deep\.png has pixels of more than 8 bits"):
        Decoder().decode(file, str(file))


def test_an_absent_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png: there is no such file"):
        Decoder().decode(tmp_path / "a.png", "a.png")


@pytest.mark.filterwarnings("ignore:::PIL")  # about odd tags and large sizes
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_damage_is_an_input_error_whatever_the_format(kind: str) -> None:
    whole = image_file((8, 8, 3), kind)
    random = np.random.default_rng(0)
    read = 0
    for _ in range(200):
        content = bytearray(
            whole[: random.integers(len(whole))] if random.random() < 0.5 else whole
        )
        for place in random.integers(0, max(1, len(content)), 4 if content else 0):
            content[place] = random.integers(256)
        with contextlib.suppress(InputError):
            Decoder(3, 8, 8).decode(io.BytesIO(bytes(content)), "a")
            read += 1
    assert 0 < read < 150
