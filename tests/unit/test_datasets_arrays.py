"""A user's own images: every form that is read, and the sentence for every one that is not."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlas.context import Context
from dlas.data import Data, open_data
from dlas.datasets.arrays import Arrays
from dlas.datasets.npz import read_npz
from dlas.errors import InputError
from dlas.testing.data import class_images, image_file, labels, pixels, write_files

GIVEN = Path(os.environ.get("DLAS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
JPEGS = GIVEN / "cifar10" / "jpeg_q75.zip"


def make(folder: Path, path: Path, **fields: Any) -> Data:
    folder.mkdir()
    Arrays(path=str(path), **{"calibration": 8, **fields}).make(Context(folder, folder))
    return open_data(folder)


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "own.npz", **arrays)
    return folder / "own.npz"


def zipped(file: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file


def whole(x: Any = None, y: Any = None, **more: Any) -> dict[str, Any]:
    """A good .npz with its own test set, some of it replaced."""
    return {
        "train_x": pixels((40, 3, 6, 5)) if x is None else x,
        "train_y": labels(40, 4) if y is None else y,
        "test_x": pixels((12, 3, 6, 5), 1),
        "test_y": labels(12, 4),
        **more,
    }


# Arrays.


@pytest.mark.parametrize(
    "names",
    [
        ("train_x", "train_y", "test_x", "test_y"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_names_that_are_known(tmp_path: Path, names: tuple[str, ...]) -> None:
    arrays = dict(zip(names, whole().values(), strict=True))
    data = make(tmp_path / "made", npz(tmp_path, **arrays))
    assert (len(data.train), len(data.calibration), len(data.test)) == (32, 8, 12)
    assert data.classes == ("0", "1", "2", "3")


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("train_x", "train_y")])
def test_a_pool_is_split(tmp_path: Path, names: tuple[str, str]) -> None:
    path = npz(tmp_path, **{names[0]: pixels((50, 3, 6, 5)), names[1]: labels(50, 4)})
    data = make(tmp_path / "made", path, test_share=0.3)
    assert (len(data.train), len(data.calibration), len(data.test)) == (27, 8, 15)


@pytest.mark.parametrize(
    "shape, layout, expected",
    [
        ((50, 3, 6, 5), "auto", (3, 6, 5)),
        ((50, 6, 5, 3), "auto", (3, 6, 5)),
        ((50, 6, 5), "auto", (1, 6, 5)),
        ((50, 1, 6, 5), "auto", (1, 6, 5)),
        ((50, 3, 6, 3), "NCHW", (3, 6, 3)),
        ((50, 3, 6, 3), "NHWC", (3, 3, 6)),
        ((50, 16, 4, 4), "NCHW", (16, 4, 4)),
    ],
)
def test_layouts(
    tmp_path: Path, shape: tuple[int, ...], layout: str, expected: tuple[int, ...]
) -> None:
    path = npz(tmp_path, x=pixels(shape), y=labels(50, 4))
    data = make(tmp_path / "made", path, layout=layout)
    assert data.shape == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_images_are_kept_as_they_are(tmp_path: Path, dtype: Any) -> None:
    images = np.random.default_rng(0).normal(3, 2, (50, 1, 6, 5)).astype(dtype)
    data = make(tmp_path / "made", npz(tmp_path, x=images, y=labels(50, 4)))
    read = np.concatenate([split.images() for split in (data.train, data.calibration, data.test)])
    assert abs(read[: len(data.train)].mean()) < 1e-5
    assert len({image.tobytes() for image in read}) == 50


def test_classes_may_be_named_and_labels_may_be_a_column(tmp_path: Path) -> None:
    path = npz(tmp_path, **whole(y=labels(40, 4)[:, None], classes=np.array(list("abcd"))))
    assert make(tmp_path / "made", path).classes == ("a", "b", "c", "d")


def _bad(**changes: Any) -> Callable[[Path], Path]:
    arrays = {name: array for name, array in whole(**changes).items() if array is not None}
    return lambda folder: npz(folder, **arrays)


def _content(content: bytes, name: str = "own.npz") -> Callable[[Path], Path]:
    return lambda folder: write_files(folder, {name: content}) / name


def _truncated(folder: Path) -> Path:
    path = npz(folder, **whole())
    path.write_bytes(path.read_bytes()[:2000])
    return path


def _one_array() -> bytes:
    file = io.BytesIO()
    np.save(file, pixels((3, 4)))
    return file.getvalue()


def _holed() -> np.ndarray[Any, Any]:
    images = np.ones((40, 3, 6, 5), np.float32)
    images[3, 0, 0, 0] = np.nan
    return images


OBJECTS = np.array([{}] * 40, object)


@pytest.mark.parametrize(
    "write, sentence",
    [
        (lambda folder: folder / "nowhere.npz", "nowhere.npz: there is no such file"),
        (_truncated, "cannot be read as an .npz file: "),
        (_content(b""), "cannot be read as an .npz file: "),
        (_content(b"no arrays"), "cannot be read as an .npz file: "),
        (_content(b"\x80\x04K\x01."), "cannot be read as an .npz file: "),
        (_content(_one_array()), "is one array without a name; save it with numpy.savez"),
        (
            lambda f: zipped(f / "own.npz", {"x.npy": b"no array"}),
            "own.npz cannot be read as an .npz",
        ),
        (_bad(y=OBJECTS), "it holds Python objects, which dlas never loads"),
        (
            lambda f: npz(f, a=1, b=2),
            "holds a, b; it needs train_x, train_y, test_x and test_y, or",
        ),
        (lambda f: npz(f), "holds nothing; it needs train_x"),
        (lambda f: npz(f, x=pixels((5, 4, 4))), "y is missing; there are x"),
        (lambda f: npz(f, train_x=1, trainy=1), "train_y is missing; did you mean 'trainy'?"),
        (lambda f: npz(f, trian_x=1, trian_y=1), "one pool x and y; did you mean 'trian_x'?"),
        (_bad(test_y=None), "test_y is missing; did you mean 'test_x'?"),
        (_bad(y=labels(39, 4)), "train_x has 40 images, train_y 39 labels"),
        (_bad(test_x=pixels((12, 3, 5, 6))), "differ in shape (C, H, W): (3, 6, 5) and (3, 5, 6)"),
        (
            _bad(x=pixels((40, 90))),
            "train_x has shape (40, 90), expected (N, C, H, W), (N, H, W, C)",
        ),
        (_bad(x=pixels((40, 3, 6, 3))), "has shape (40, 3, 6, 3): give layout = 'NCHW' or 'NHWC'"),
        (_bad(x=pixels((40, 4, 6, 5))), "has shape (40, 4, 6, 5): give layout = 'NCHW' or 'NHWC'"),
        (
            _bad(x=pixels((40, 3, 6, 5)).astype(int)),
            "train_x is int64, expected uint8 or a floating",
        ),
        (_bad(x=_holed()), "train_x holds NaN or infinite values"),
        (_bad(x=np.full((40, 3, 6, 5), 1e300)), "train_x holds NaN or infinite values"),
        (
            _bad(x=pixels((0, 3, 6, 5)), y=labels(0, 4)),
            "train_x is empty: its shape is (0, 3, 6, 5)",
        ),
        (_bad(test_x=pixels((0, 3, 6, 5)), test_y=labels(0, 4)), "test_x is empty"),
        (_bad(y=np.eye(4)[labels(40, 4)]), "train_y has shape (40, 4), expected (N,)"),
        (_bad(y=labels(40, 4) / 1), "train_y is float64, expected whole class numbers from 0"),
        (_bad(y=labels(40, 4) - 1), "train_y runs from -1 to 2; class numbers start at 0"),
        (_bad(y=labels(40, 4) + 1), "no training image is of class 0"),
        (_bad(y=labels(40, 3)), "no training image is of class 3"),
        (_bad(y=labels(40, 2) * 2_000_000_000), "no training image is of class 1"),
        (
            _bad(y=labels(40, 5), classes=np.array(list("abcd"))),
            "labels run from 0 to 4; there are 4",
        ),
        (
            _bad(y=labels(40, 4), classes=np.array(list("abcde"))),
            "no training image is of class 4 (e)",
        ),
        (_bad(y=labels(40, 1), test_y=labels(12, 1)), "there must be two classes or more to tell"),
        (
            _bad(x=np.ones((40, 3, 6, 5), np.float32)),
            "channel 0 is the same everywhere in the train",
        ),
    ],
)
def test_bad_arrays_get_a_sentence(
    tmp_path: Path, write: Callable[[Path], Path], sentence: str
) -> None:
    path = write(tmp_path)
    with pytest.raises(InputError) as caught:
        make(tmp_path / "made", path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_damage_to_an_npz_gets_through(tmp_path: Path) -> None:
    file = npz(tmp_path, x=pixels((4, 3, 2, 2)), y=labels(4, 2))
    content = file.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] = random.integers(256)
        file.write_bytes(damaged)
        try:
            read_npz(file)
        except InputError:
            refused += 1
    assert refused > 200


def test_a_huge_array_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": (10**15, 3, 2, 2)}
    np.lib.format.write_array_header_1_0(header, described)
    path = zipped(tmp_path / "own.npz", {"x.npy": header.getvalue(), "y.npy": header.getvalue()})
    with pytest.raises(InputError, match="does not fit into memory"):
        make(tmp_path / "made", path)


# Class folders.


def split_images(test: str = "test") -> dict[str, bytes]:
    parts = {"train": 12, test: 4}
    return {
        f"{part}/{name}": content
        for part, count in parts.items()
        for name, content in class_images(("cat", "dog"), count).items()
    }


@pytest.mark.parametrize("test", ["test", "val"])
@pytest.mark.parametrize("below", ["", "mine/2024/"])
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_class_folders(tmp_path: Path, form: str, below: str, test: str) -> None:
    contents = {below + name: content for name, content in split_images(test).items()}
    contents[f"{below}train/cat/notes.txt"] = b"no image"
    contents[f"__MACOSX/{below}train/cat/._0001.png"] = b"no image either"
    if form == "zip":
        path = zipped(tmp_path / "own.zip", contents)
    else:
        path = write_files(tmp_path / "own", contents)
    data = make(tmp_path / "made", path)
    assert data.classes == ("cat", "dog")
    assert data.shape == (3, 8, 8)
    assert (len(data.train), len(data.calibration), len(data.test)) == (16, 8, 8)


def test_folders_and_zip_give_the_same_as_the_pixels(tmp_path: Path) -> None:
    contents = class_images(("b", "a"), 20)
    folder = make(tmp_path / "1", write_files(tmp_path / "own", contents), test_share=0.25)
    archive = make(tmp_path / "2", zipped(tmp_path / "own.zip", contents), test_share=0.25)
    assert folder.classes == ("a", "b")
    assert np.array_equal(folder.test.images(), archive.test.images())
    stored = np.load(tmp_path / "1" / "test_images.npy")
    expected = {pixels((8, 8, 3), n).transpose(2, 0, 1).tobytes(): 1 for n in range(20)}
    expected |= {pixels((8, 8, 3), 1000 + n).transpose(2, 0, 1).tobytes(): 0 for n in range(20)}
    assert [expected[image.tobytes()] for image in stored] == folder.test.labels.tolist()


def test_size_makes_all_images_alike(tmp_path: Path) -> None:
    contents = {**class_images(("a",), 10, (8, 8, 3)), **class_images(("b",), 10, (9, 20, 3))}
    path = write_files(tmp_path / "own", contents)
    assert make(tmp_path / "made", path, size=6).shape == (3, 6, 6)
    assert make(tmp_path / "grey", path, size=6, channels=1).shape == (1, 6, 6)


def test_linked_class_folders_are_followed(tmp_path: Path) -> None:
    write_files(tmp_path / "elsewhere", class_images(("a", "b"), 10))
    (tmp_path / "own").mkdir()
    for name in ("a", "b"):
        (tmp_path / "own" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert len(make(tmp_path / "made", tmp_path / "own").train) == 8


def _tree(contents: dict[str, bytes]) -> Callable[[Path], Path]:
    return lambda folder: write_files(folder / "own", contents)


def _archive(contents: dict[str, bytes]) -> Callable[[Path], Path]:
    return lambda folder: zipped(folder / "own.zip", contents)


def _damaged_entry(folder: Path) -> Path:
    path = folder / "own.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in class_images(("a", "b"), 20).items():
            archive.writestr(name, content)
    content = path.read_bytes()
    place = content.index(image_file(seed=3)) + 50
    path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
    return path


CATS = class_images(("cat",), 12)
PETS = class_images(("cat", "dog"), 12)
LARGER = image_file((9, 7, 3))


@pytest.mark.parametrize(
    "write, sentence",
    [
        (lambda folder: folder / "nowhere", "nowhere: there is no such file or folder"),
        (_tree({"a/readme.txt": b""}), "own holds no images; known are .bmp .gif .jpeg .jpg"),
        (_archive({}), "own.zip holds no images; known are"),
        (_tree({"1.png": LARGER}), "own: 1.png lies in no class folder"),
        (_tree({**PETS, "1.png": LARGER}), "own: 1.png lies in no class folder"),
        (_tree({"train/1.png": LARGER, "test/a/1.png": LARGER}), "train/1.png lies in no class"),
        (_tree(CATS), "there must be two classes or more to tell apart; there is cat"),
        (
            _tree({**PETS, "dog/x.png": LARGER}),
            "cat/0000.png and dog/x.png differ in size, 8×8 and 7×9",
        ),
        (
            _tree({**PETS, "dog/0003.png": LARGER[:60]}),
            "own/dog/0003.png cannot be read as an image",
        ),
        (_tree({**PETS, "dog/0003.png": b""}), "own/dog/0003.png cannot be read as an image"),
        (
            _archive({**PETS, "dog/0003.png": b"x"}),
            "own.zip/dog/0003.png cannot be read as an image",
        ),
        (_damaged_entry, "own.zip: a/0003.png cannot be read: Bad CRC-32"),
        (_content(b"PK no zip", "own.zip"), "own.zip is no .zip file, or a damaged one"),
        (_content(b"", "own.rar"), "own.rar is no .zip file, or a damaged one"),
        (
            _tree({**split_images(), "extra/a/1.png": LARGER}),
            "extra lies beside train and test; move",
        ),
        (
            _tree({**split_images(), "test/bird/1.png": LARGER}),
            "test has the class 'bird', which train",
        ),
        (
            _tree({**CATS, "dog/1.png": image_file()}),
            "class dog: the other splits take all its images (1), none is left",
        ),
    ],
)
def test_bad_folders_get_a_sentence(
    tmp_path: Path, write: Callable[[Path], Path], sentence: str
) -> None:
    path = write(tmp_path)
    with pytest.raises(InputError) as caught:
        make(tmp_path / "made", path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reading_arrays_needs_no_pillow_in_the_key(tmp_path: Path) -> None:
    assert set(Arrays(path="own.npz").tools()) == {"dlas.arrays"}
    assert set(Arrays(path="own.zip").tools()) == {"dlas.arrays", "pillow"}


@pytest.mark.skipif(not JPEGS.is_file(), reason=f"{JPEGS} is absent; set DLAS_TEST_DATA")
def test_the_given_jpegs(tmp_path: Path) -> None:
    data = make(tmp_path / "made", JPEGS, train=200, calibration=50, test=100)
    assert data.shape == (3, 32, 32)
    assert data.classes[:2] == ("airplane", "automobile")
    assert np.bincount(data.train.labels).tolist() == [20] * 10
    assert np.bincount(data.test.labels).tolist() == [10] * 10
    assert abs(data.train.images().mean()) < 1e-4
