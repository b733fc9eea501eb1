"""The folder form of a data set: written, read, and refused with a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dlas.data import (
    SPLITS,
    Header,
    Pixels,
    open_data,
    open_images,
    write_data,
    write_header,
    write_split,
)
from dlas.errors import InputError
from dlas.images import Decoder, ImageFiles
from dlas.testing.data import image_file, labels, pixels, write_files

HEADER = Header(
    shape=(3, 4, 5), classes=("a", "b"), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.1), scale=255
)
Written = dict[str, tuple[NDArray[Any], NDArray[Any]]]


def splits() -> Written:
    return {name: (pixels((6, 3, 4, 5), n), labels(6, 2)) for n, name in enumerate(SPLITS)}


def test_what_was_written_is_read_normalized(tmp_path: Path) -> None:
    write_data(tmp_path, HEADER, splits())
    data = open_data(tmp_path)
    assert data.shape == (3, 4, 5)
    assert data.classes == ("a", "b")
    stored = splits()["test"][0].astype(np.float32)
    mean = np.array(HEADER.mean, np.float32).reshape(3, 1, 1)
    std = np.array(HEADER.std, np.float32).reshape(3, 1, 1)
    assert np.array_equal(data.test.images(), (stored / np.float32(255) - mean) / std)


def test_normalization_equals_torchvisions_to_the_bit(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    write_data(tmp_path, HEADER, splits())
    pixel = torch.from_numpy(splits()["train"][0]).to(torch.float32).div(255)
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (HEADER.mean, HEADER.std))
    assert np.array_equal(open_data(tmp_path).train.images(), pixel.sub_(mean).div_(std).numpy())


def test_images_stay_on_disk_until_asked_for(tmp_path: Path) -> None:
    write_data(tmp_path, HEADER, splits())
    assert isinstance(open_images(tmp_path, "train"), np.memmap)


def test_a_split_is_written_in_portions(tmp_path: Path) -> None:
    images = pixels((6, 3, 4, 5))
    asked = []

    def portions() -> Iterator[NDArray[np.uint8]]:
        for start in (0, 4):
            asked.append(start)
            # A view in another layout, as images (N, H, W, C) are.
            yield np.ascontiguousarray(images[start : start + 4].transpose(0, 2, 3, 1)).transpose(
                0, 3, 1, 2
            )

    write_split(tmp_path, "train", Pixels(images.shape, np.uint8, portions()), labels(6, 2))
    assert asked == [0, 4]
    assert np.array_equal(np.load(tmp_path / "train_images.npy"), images)


def test_listed_files_are_decoded_when_read(tmp_path: Path) -> None:
    contents = {f"{n}.png": image_file((4, 4, 3), seed=n) for n in range(6)}
    write_files(tmp_path / "images", contents)
    header = Header((3, 4, 4), ("a", "b"), (0.0,) * 3, (1.0,) * 3, 255)
    files = ImageFiles(str(tmp_path / "images"), tuple(contents), Decoder(3, 4, 4))
    for name in SPLITS:
        write_split(tmp_path, name, files, labels(6, 2))
    write_header(tmp_path, header)
    (tmp_path / "images" / "5.png").write_bytes(b"not an image")

    test = open_data(tmp_path).test
    expected = pixels((4, 4, 3), 2).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    assert np.array_equal(test.images(np.array([2, 0]))[0], expected)
    with pytest.raises(InputError, match=r"5\.png cannot be read as an image: it is of no known"):
        test.images()
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"images, whence .* reads its train images, is gone"):
        open_data(tmp_path)


def _nan() -> Written:
    written = {name: (x.astype(np.float32), y) for name, (x, y) in splits().items()}
    written["calibration"][0][2, 1, 0, 0] = np.nan
    return written


def _with(name: str, images: NDArray[Any], numbers: NDArray[Any]) -> Written:
    return {**splits(), name: (images, numbers)}


@pytest.mark.parametrize(
    "written, sentence",
    [
        (_nan(), "the calibration images hold NaN or infinite values"),
        (_with("test", pixels((0, 3, 4, 5)), labels(0, 2)), "the test split is empty"),
        (
            _with("test", pixels((6, 3, 5, 4)), labels(6, 2)),
            "the test images have shape (6, 3, 5, 4), expected (6, 3, 4, 5)",
        ),
        (
            _with("train", pixels((6, 3, 4, 5)), labels(5, 2)),
            "the train images have shape (6, 3, 4, 5), expected (5, 3, 4, 5)",
        ),
        (
            _with("train", pixels((6, 3, 4, 5)), labels(6, 3)),
            "the train labels run from 0 to 2; there are 2 classes",
        ),
        (
            _with("train", pixels((6, 3, 4, 5)), labels(6, 2) - 1),
            "the train labels run from -1 to 0; there are 2 classes",
        ),
    ],
)
def test_data_that_nothing_can_be_learnt_from(
    tmp_path: Path, written: Written, sentence: str
) -> None:
    with pytest.raises(InputError) as caught:
        write_data(tmp_path, HEADER, written)
    assert str(caught.value) == sentence


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    header = Header((3, 4, 5), ("cat",), HEADER.mean, HEADER.std, 255)
    with pytest.raises(InputError, match=r"there must be two classes or more .* there is cat"):
        write_data(tmp_path, header, splits())


@pytest.mark.parametrize("name", ["data.json", "train_images.npy", "test_labels.npy"])
@pytest.mark.parametrize("damage", ["absent", "empty", "truncated", "other"])
def test_damage_is_said_on_opening(tmp_path: Path, name: str, damage: str) -> None:
    write_data(tmp_path, HEADER, splits())
    file = tmp_path / name
    content = file.read_bytes()
    if damage == "absent":
        file.unlink()
    else:
        half = content[: len(content) // 2]
        file.write_bytes({"empty": b"", "truncated": half, "other": b'{"shape": 3}'}[damage])
    with pytest.raises(InputError, match="holds no data set of dlas, or a damaged one"):
        open_data(tmp_path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    write_data(tmp_path, HEADER, splits())
    np.save(tmp_path / "train_labels.npy", np.array([{}] * 6, object), allow_pickle=True)
    with pytest.raises(InputError, match="damaged"):
        open_data(tmp_path)
