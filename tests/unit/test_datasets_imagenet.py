"""ImageNet by synset: label order, what a part of it is told, copying and reading lazily."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlas.context import Context
from dlas.data import Data, open_data
from dlas.datasets import imagenet
from dlas.datasets.imagenet import ImageNet
from dlas.errors import InputError
from dlas.testing.data import class_images, image_file, write_files

pytest.importorskip("PIL", reason="Pillow is not installed")

SYNSETS = ("n01440764", "n01443537", "n01484850")


def make(folder: Path, path: Path, **fields: Any) -> Data:
    folder.mkdir()
    fields = {"calibration": 6, "resize": 9, "size": 8, **fields}
    ImageNet(path=str(path), **fields).make(Context(folder, folder))
    return open_data(folder)


@pytest.fixture
def val(tmp_path: Path) -> Path:
    return write_files(tmp_path / "val", class_images(SYNSETS, 10, (12, 9, 3), "JPEG"))


@pytest.fixture
def synsets(tmp_path: Path) -> str:
    """In another order than by name, in the form of LOC_synset_mapping.txt."""
    file = tmp_path / "synsets.txt"
    file.write_text(
        "n01484850 great white shark, white shark\nn01440764 tench\n\nn01443537 goldfish\n"
    )
    return str(file)


def test_labels_follow_the_file(tmp_path: Path, val: Path, synsets: str) -> None:
    data = make(tmp_path / "made", val, synsets=synsets)
    assert data.classes == ("n01484850", "n01440764", "n01443537")
    assert data.shape == (3, 8, 8)
    (val / "n01443537").rename(tmp_path / "aside")
    fewer = make(tmp_path / "fewer", val, synsets=synsets)
    assert fewer.classes == data.classes
    assert set(fewer.test.labels.tolist()) == {0, 1}


def test_a_thousand_folders_need_no_file(tmp_path: Path) -> None:
    names = [f"n{number:08}" for number in range(1000)]
    image = image_file((8, 8, 3), "JPEG")
    path = write_files(tmp_path / "val", {f"{n}/{i}.JPEG": image for n in names for i in range(2)})
    data = make(tmp_path / "made", path, calibration=100, train=300, size=4)
    assert data.classes == tuple(names)
    assert (len(data.train), len(data.calibration), len(data.test)) == (300, 100, 1600)


def test_without_training_images_they_come_out_of_the_validation_images(
    tmp_path: Path, val: Path, synsets: str
) -> None:
    data = make(tmp_path / "made", val, synsets=synsets)
    assert (len(data.train), len(data.calibration), len(data.test)) == (3, 6, 21)
    assert sorted(data.train.labels.tolist()) == [0, 1, 2]
    assert np.bincount(data.test.labels).tolist() == [7, 7, 7]


def test_with_training_images_the_test_set_is_whole(
    tmp_path: Path, val: Path, synsets: str
) -> None:
    train = write_files(tmp_path / "train", class_images(SYNSETS, 5, (12, 12, 3), "JPEG"))
    data = make(tmp_path / "made", val, synsets=synsets, train_path=str(train))
    assert (len(data.train), len(data.calibration), len(data.test)) == (9, 6, 30)


def test_a_large_split_stays_in_its_files(
    tmp_path: Path, val: Path, synsets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = make(tmp_path / "copied", val, synsets=synsets)
    monkeypatch.setattr(imagenet, "COPIED_BYTES", 0)
    listed = make(tmp_path / "listed", val, synsets=synsets)
    assert (tmp_path / "copied" / "test_images.npy").exists()
    assert (tmp_path / "listed" / "test_files.json").exists()
    assert not (tmp_path / "listed" / "test_images.npy").exists()
    assert np.array_equal(copied.test.images(), listed.test.images())
    assert np.array_equal(copied.test.labels, listed.test.labels)
    assert listed.test.images(slice(0, 0)).shape == (0, 3, 8, 8)


def test_a_damaged_image_is_named(tmp_path: Path, val: Path, synsets: str) -> None:
    image = val / "n01443537" / "0004.JPEG"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(InputError, match=r"n01443537/0004\.JPEG cannot be read as an image: "):
        make(tmp_path / "made", val, synsets=synsets)


def test_a_part_of_imagenet_needs_the_list(tmp_path: Path, val: Path) -> None:
    with pytest.raises(InputError) as caught:
        make(tmp_path / "made", val)
    assert str(caught.value) == (
        f"{val} has 3 class folders, ImageNet has 1000: a part does not tell their labels; give "
        "synsets, a file with one a line in label order"
    )


def test_loose_images_are_to_be_sorted_first(tmp_path: Path) -> None:
    names = {f"ILSVRC2012_val_0000000{n}.JPEG": image_file(kind="JPEG") for n in range(3)}
    path = write_files(tmp_path / "val", names)
    with pytest.raises(InputError, match="lies in no synset's folder; sort the images first"):
        make(tmp_path / "made", path)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("n01440764\nn01443537\n", "n01484850 is not among the 2 of "),
        ("n01440764\nn01443537\nn01440764 tench", "names n01440764 twice"),
        ("", "n01440764 is not among the 0 of "),
        (b"\xff\xfe\x00", "cannot be read as text"),
        (None, "there is no such file"),
    ],
)
def test_a_bad_list(tmp_path: Path, val: Path, text: str | bytes | None, sentence: str) -> None:
    file = tmp_path / "list.txt"
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError, match=sentence):
        make(tmp_path / "made", val, synsets=str(file))


@pytest.mark.parametrize(
    "fields, sentence",
    [
        (
            {"calibration": 27},
            "30 images: 3 for train and 27 for calibration leave none to test on",
        ),
        ({"train": 10, "calibration": 20}, "10 for train and 20 for calibration leave none"),
        ({"test": 22}, "test = 22 images were asked for; there are 21"),
    ],
)
def test_too_many_images_asked_for(
    tmp_path: Path, val: Path, synsets: str, fields: dict[str, int], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        make(tmp_path / "made", val, synsets=synsets, **fields)


def test_places_without_images(tmp_path: Path, val: Path, synsets: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no images in folders by synset"):
        make(tmp_path / "a", tmp_path / "empty", synsets=synsets)
    with pytest.raises(InputError, match="nowhere is no folder; unpack ImageNet into a folder"):
        make(tmp_path / "b", tmp_path / "nowhere", synsets=synsets)
    with pytest.raises(InputError, match="empty holds no images in folders by synset"):
        make(tmp_path / "c", val, synsets=synsets, train_path=str(tmp_path / "empty"))
