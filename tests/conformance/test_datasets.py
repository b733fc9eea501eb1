"""What holds for every data set of the table, whatever it reads."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from dlas.context import Context
from dlas.data import SPLITS, Data, open_data
from dlas.datasets.base import Dataset
from dlas.layer import member, table
from dlas.spec import parse_member
from dlas.testing.data import cifar_contents, class_images, labels, pixels, write_files

COUNTS = {"calibration": 20}


def _digits(folder: Path) -> dict[str, Any]:
    return {"name": "digits"}


def _synthetic(folder: Path) -> dict[str, Any]:
    return {"name": "synthetic", "shape": [3, 12, 8], "classes": 4, "train": 200, "test": 60}


def _cifar10(folder: Path) -> dict[str, Any]:
    return {"name": "cifar10", "path": str(write_files(folder, cifar_contents("binary")))}


def _imagenet(folder: Path) -> dict[str, Any]:
    synsets = [f"n{number:08}" for number in range(5)]
    write_files(folder / "val", class_images(synsets, 24, (9, 7, 3), "JPEG"))
    (folder / "synsets.txt").write_text("\n".join(synsets))
    return {
        "name": "imagenet",
        "path": str(folder / "val"),
        "synsets": str(folder / "synsets.txt"),
        "train": 30,
        "resize": 9,
        "size": 6,
    }


def _arrays(folder: Path) -> dict[str, Any]:
    file = folder / "own.npz"
    np.savez(file, x=pixels((150, 6, 5, 3)), y=labels(150, 5))
    return {"name": "arrays", "path": str(file)}


EXAMPLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "digits": _digits,
    "synthetic": _synthetic,
    "cifar10": _cifar10,
    "imagenet": _imagenet,
    "arrays": _arrays,
}


def test_every_member_is_held_to_it() -> None:
    assert set(EXAMPLES) == set(table("datasets"))


@pytest.fixture(params=sorted(EXAMPLES))
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    name: str = request.param
    sentence = member("datasets", name).missing()
    if sentence:
        pytest.skip(sentence)
    (tmp_path / "input").mkdir()
    return {**EXAMPLES[name](tmp_path / "input"), **COUNTS}


def make(spec: dict[str, Any], folder: Path, **changes: Any) -> Data:
    dataset = parse_member("datasets", {**spec, **changes}, "$.dataset")
    assert isinstance(dataset, Dataset)
    folder.mkdir()
    dataset.make(Context(folder, folder))
    return open_data(folder)


def images_of(data: Data) -> dict[str, NDArray[np.float32]]:
    return {name: getattr(data, name).images() for name in SPLITS}


def identities(images: NDArray[np.float32]) -> list[bytes]:
    return [image.tobytes() for image in images]


def test_shapes_types_and_labels(spec: dict[str, Any], tmp_path: Path) -> None:
    data = make(spec, tmp_path / "made")
    assert all(isinstance(side, int) and side > 0 for side in data.shape)
    assert len(data.classes) == len(set(data.classes)) >= 2
    for name, images in images_of(data).items():
        split = getattr(data, name)
        assert images.shape == (len(split), *data.shape)
        assert images.dtype == np.float32
        assert np.isfinite(images).all()
        assert split.labels.dtype == np.int64
        assert split.labels.min() >= 0
        assert split.labels.max() < len(data.classes)
    assert len(data.calibration) == COUNTS["calibration"]


def test_no_image_is_in_two_splits(spec: dict[str, Any], tmp_path: Path) -> None:
    images = images_of(make(spec, tmp_path / "made"))
    every = [one for split in images.values() for one in identities(split)]
    assert len(set(every)) == len(every)


def test_every_class_keeps_its_share(spec: dict[str, Any], tmp_path: Path) -> None:
    data = make(spec, tmp_path / "made")
    classes = len(data.classes)
    pool = np.concatenate([data.train.labels, data.calibration.labels])
    share = np.bincount(pool, minlength=classes) / len(pool)
    found = np.bincount(data.calibration.labels, minlength=classes)
    assert np.abs(found - share * len(data.calibration)).max() < 1.01


def test_the_seed_fixes_the_splits(spec: dict[str, Any], tmp_path: Path) -> None:
    first = images_of(make(spec, tmp_path / "first"))
    again = images_of(make(spec, tmp_path / "again"))
    other = images_of(make(spec, tmp_path / "other", seed=1))
    for name in SPLITS:
        assert np.array_equal(first[name], again[name])
    assert set(identities(first["calibration"])) != set(identities(other["calibration"]))


def test_the_test_set_does_not_depend_on_the_other_counts(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    if spec["name"] == "imagenet":
        pytest.skip("imagenet without train_path takes the other splits out of the test set")
    first = make(spec, tmp_path / "first")
    fewer = make(spec, tmp_path / "fewer", calibration=10, train=40)
    assert len(fewer.train) == 40
    assert np.array_equal(first.test.labels, fewer.test.labels)


def test_the_counts_are_kept(spec: dict[str, Any], tmp_path: Path) -> None:
    data = make(spec, tmp_path / "made", train=25, calibration=15, test=10)
    assert [len(getattr(data, name)) for name in SPLITS] == [25, 15, 10]
    assert len(set(data.test.labels.tolist())) == min(10, len(data.classes))


def test_normalization_is_the_specs(spec: dict[str, Any], tmp_path: Path) -> None:
    channels = make(spec, tmp_path / "made").shape[0]
    plain = {"mean": [0.0] * channels, "std": [1.0] * channels}
    raw = make(spec, tmp_path / "raw", normalization=plain).train.images()
    assert raw.min() >= 0
    assert raw.max() <= 1
    given = {"mean": [0.4, 0.5, 0.3][:channels], "std": [0.2, 0.3, 0.5][:channels]}
    found = make(spec, tmp_path / "given", normalization=given).train.images()
    mean = np.array(given["mean"], np.float32).reshape(-1, 1, 1)
    std = np.array(given["std"], np.float32).reshape(-1, 1, 1)
    assert np.array_equal(found, (raw - mean) / std)


def test_auto_gives_zero_mean_and_unit_deviation(spec: dict[str, Any], tmp_path: Path) -> None:
    if spec["name"] == "imagenet":
        pytest.skip("imagenet's normalization is given, not measured")
    images = make(spec, tmp_path / "made", normalization="auto").train.images()
    assert np.abs(images.mean(axis=(0, 2, 3), dtype=np.float64)).max() < 1e-5
    assert np.abs(images.std(axis=(0, 2, 3), dtype=np.float64) - 1).max() < 1e-5


def test_any_images_can_be_read(spec: dict[str, Any], tmp_path: Path) -> None:
    data = make(spec, tmp_path / "made")
    every = data.train.images()
    chosen = np.array([5, 0, 5])
    assert np.array_equal(data.train.images(chosen), every[chosen])
    assert np.array_equal(data.train.images(slice(2, 4)), every[2:4])
    assert data.train.images(slice(0, 0)).shape == (0, *data.shape)
    images, numbers = zip(*data.train.batches(7), strict=True)
    assert np.array_equal(np.concatenate(images), every)
    assert np.array_equal(np.concatenate(numbers), data.train.labels)
    with pytest.raises(IndexError):
        data.train.images(np.array([len(data.train)]))


def test_another_process_reads_the_same(spec: dict[str, Any], tmp_path: Path) -> None:
    data = make(spec, tmp_path / "made")
    code = (
        "import sys, hashlib; from pathlib import Path; from dlas.data import open_data\n"
        "images = open_data(Path(sys.argv[1])).test.images()\n"
        "print(hashlib.sha256(images.tobytes()).hexdigest())"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "made")]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == hashlib.sha256(data.test.images().tobytes()).hexdigest()


def test_the_spec_reads_itself_back(spec: dict[str, Any], tmp_path: Path) -> None:
    dataset = parse_member("datasets", spec, "$.dataset")
    plain = msgspec.json.decode(msgspec.json.encode(dataset.spec()))
    assert parse_member("datasets", plain, "$.dataset") == dataset
