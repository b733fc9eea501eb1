"""CIFAR-10 in every form it is given out in, the download, and what bad files are told."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import urllib.error
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlas.context import Context
from dlas.data import Data, open_data
from dlas.datasets import cifar10
from dlas.datasets.cifar10 import Cifar10
from dlas.datasets.cifar_batches import read_batches
from dlas.datasets.download import download
from dlas.datasets.normalization import Normalization
from dlas.errors import InputError
from dlas.testing.data import cifar_contents, cifar_pickle, labels, pixels, write_files, write_tar

GIVEN = Path(os.environ.get("DLAS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
SUBSET = GIVEN / "cifar10" / "lossless_subset.npz"


def make(path: Path | None, folder: Path, **fields: Any) -> Data:
    folder.mkdir()
    fields = {"calibration": 20, **fields}
    Cifar10(path=str(path) if path else None, **fields).make(Context(folder, folder))
    return open_data(folder)


def forms(folder: Path) -> dict[str, Path]:
    """The same tiny CIFAR-10 in every form."""
    python, binary = cifar_contents("python"), cifar_contents("binary")
    raw = [np.frombuffer(content, np.uint8).reshape(-1, 3073) for content in binary.values()]
    train, test = np.concatenate(raw[:-1]), raw[-1]
    arrays = {
        "train_x": train[:, 1:].reshape(-1, 3, 32, 32),
        "train_y": train[:, 0],
        "test_x": test[:, 1:].reshape(-1, 3, 32, 32),
        "test_y": test[:, 0],
    }
    np.savez(folder / "channels_first.npz", **arrays)
    last = {k: v.transpose(0, 2, 3, 1) if v.ndim == 4 else v for k, v in arrays.items()}
    np.savez_compressed(folder / "channels_last.npz", **last)
    return {
        "python folder": write_files(folder / "python", python),
        "binary folder": write_files(folder / "binary", binary),
        "parent": write_files(folder / "p" / "cifar-10-batches-py", python).parent,
        "python tar": write_tar(folder / "python.tar.gz", python, "cifar-10-batches-py"),
        "binary tar": write_tar(folder / "binary.tar.gz", binary, "cifar-10-batches-bin"),
        "npz": folder / "channels_first.npz",
        "npz, channels last": folder / "channels_last.npz",
    }


def test_every_form_gives_the_same(tmp_path: Path) -> None:
    made = {
        name: make(path, tmp_path / f"made {number}")
        for number, (name, path) in enumerate(forms(tmp_path).items())
    }
    reference = made.pop("binary folder")
    assert len(reference.train) == 80
    assert reference.classes[3] == "cat"
    for name, data in made.items():
        for split in ("train", "calibration", "test"):
            one, other = getattr(reference, split), getattr(data, split)
            assert np.array_equal(one.images(), other.images()), name
            assert np.array_equal(one.labels, other.labels), name


def test_the_test_set_keeps_its_order(tmp_path: Path) -> None:
    path = write_files(tmp_path / "binary", cifar_contents("binary"))
    plain = Normalization(mean=(0.0,) * 3, std=(1.0,) * 3)
    images = make(path, tmp_path / "made", normalization=plain).test.images()
    assert np.array_equal((images * 255).round(), pixels((20, 3072), 5).reshape(-1, 3, 32, 32))


class Attack:
    def __init__(self, called: Callable[..., Any], *arguments: Any) -> None:
        self.called = called, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.called


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        Attack(os.mkdir, "made-by-a-pickle"),
        Attack(eval, "1"),
        Attack(np.zeros, 3),
        Attack(getattr, np.ndarray, "dump"),
        Path("x"),
        {"data": np.zeros((2, 3072), np.uint8), "labels": [0, np.uint8]},
    ],
)
def test_a_pickle_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, value: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    contents = {**cifar_contents("python"), "data_batch_2": pickle.dumps(value, protocol)}
    path = write_files(tmp_path / "python", contents)
    with pytest.raises(InputError, match=r"data_batch_2 is no batch .* (asks for|opcode) \w+"):
        read_batches(path)
    assert not (tmp_path / "made-by-a-pickle").exists()


def test_what_is_admitted_cannot_be_turned(tmp_path: Path) -> None:
    """Setting the state of an admitted name itself, or calling it oddly, gets nowhere."""
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n"
    for content in (
        b"\x80\x02" + reconstruct + b"}b.",
        b"\x80\x02" + reconstruct + b"(U\x01aN}tb.",
        b"\x80\x02" + b"cnumpy\ndtype\n)R.",
        b"\x80\x02" + b"cnumpy\nndarray\n(tR.",
        b"\x80\x02" + b"\x82\x01.",
        b"\x80\x02" + b"K\x01Q.",
        b"\x80\x02(" + reconstruct + b"U\x01xo.",
    ):
        path = write_files(tmp_path, {**cifar_contents("python"), "test_batch": content})
        with pytest.raises(InputError, match="test_batch is no batch of CIFAR-10"):
            read_batches(path)


def test_no_damage_to_a_pickle_gets_through(tmp_path: Path) -> None:
    whole = cifar_pickle(pixels((1, 3072)), [3])
    structure = [i for i in range(len(whole)) if i < 180 or i > len(whole) - 6]
    random = np.random.default_rng(0)
    contents = cifar_contents("python", 1)
    for _ in range(60):
        content = bytearray(whole)
        for place in random.choice(structure, 2):
            content[place] = random.integers(256)
        write_files(tmp_path, {**contents, "test_batch": bytes(content)})
        with contextlib.suppress(InputError):
            _, test = read_batches(tmp_path)
            assert test.pixels.shape == (1, 3, 32, 32)


def _batches(**changes: bytes | None) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        contents = cifar_contents("binary")
        for name, content in changes.items():
            del contents[f"{name}.bin"]
            if content is not None:
                contents[f"{name}.bin"] = content
        return write_files(folder / "x", contents)

    return write


def _pickled(images: Any, numbers: list[int]) -> Callable[[Path], Path]:
    contents = {**cifar_contents("python"), "data_batch_1": cifar_pickle(images, numbers)}
    return lambda folder: write_files(folder / "x", contents)


def _npz(**arrays: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        whole = {
            "train_x": pixels((40, 3, 32, 32)),
            "train_y": labels(40, 10),
            "test_x": pixels((20, 3, 32, 32)),
            "test_y": labels(20, 10),
        }
        whole.update(arrays)
        np.savez(folder / "x.npz", **{k: v for k, v in whole.items() if v is not None})
        return folder / "x.npz"

    return write


def _damaged_tar(folder: Path) -> Path:
    whole = write_tar(folder / "x.tar.gz", cifar_contents("binary"), "cifar-10-batches-bin")
    whole.write_bytes(whole.read_bytes()[:5000])
    return whole


def _zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("train/cat/1.jpg", b"")
    return folder / "x.zip"


@pytest.mark.parametrize(
    "write, sentence",
    [
        (lambda folder: folder / "nowhere", "nowhere: there is no such file or folder"),
        (lambda folder: folder, "holds no CIFAR-10: there is neither data_batch_1"),
        (
            _batches(data_batch_3=None, test_batch=None),
            "x lacks data_batch_3.bin, test_batch.bin",
        ),
        (_batches(data_batch_2=b"x" * 3000), "data_batch_2.bin is truncated: 3000 bytes are no"),
        (_batches(data_batch_2=b""), "data_batch_2.bin is truncated: 0 bytes are no"),
        (_batches(test_batch=b"\x0a" * 3073), "the test labels run from 10 to 10; there are 10"),
        (
            _pickled(pixels((20, 3000)), [0] * 20),
            "data_batch_1: data has the shape (20, 3000), expected (20, 3072)",
        ),
        (
            _pickled(pixels((20, 3072)), [0] * 19),
            "data_batch_1: data has the shape (20, 3072), expected (19, 3072)",
        ),
        (
            _pickled(pixels((2, 3072)), [0, -1]),
            "data_batch_1 is no batch of CIFAR-10: it needs labels 0..9",
        ),
        (_damaged_tar, "is no tar file, or a damaged one"),
        (_zip, "image files in class folders are read by the data set 'arrays'"),
        (_npz(test_x=None, test_y=None), "test_x and test_y are missing"),
        (_npz(test_x=pixels((20, 3, 32, 30))), "(3, 32, 32) and (3, 32, 30)"),
        (
            _npz(train_x=pixels((40, 3, 32, 30)), test_x=pixels((20, 3, 32, 30))),
            "train_x is uint8, (N, C, H, W) = (40, 3, 32, 30); CIFAR-10 is uint8, (N, 3, 32, 32)",
        ),
        (_npz(train_x=pixels((40, 3, 32, 32)) / 255), "train_x is float32"),
        (_npz(train_y=labels(40, 11)), "the train labels run from 0 to 10; there are 10 classes"),
    ],
)
def test_bad_input_gets_a_sentence(
    tmp_path: Path, write: Callable[[Path], Path], sentence: str
) -> None:
    path = write(tmp_path)
    with pytest.raises(InputError) as caught:
        make(path, tmp_path / "made", calibration=10)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"calibration": 100}, "calibration = 100 leaves no training image: there are 100 besides"),
        ({"train": 90}, "train = 90 images were asked for; there are 80"),
        ({"test": 21}, "test = 21 images were asked for; there are 20"),
    ],
)
def test_too_many_images_asked_for(tmp_path: Path, fields: dict[str, int], sentence: str) -> None:
    path = write_files(tmp_path / "binary", cifar_contents("binary"))
    with pytest.raises(InputError, match=sentence):
        make(path, tmp_path / "made", **fields)


# The download, without a network.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny CIFAR-10 at a file:// address, with its md5, and an empty cache."""
    place = tmp_path / "home" / "cifar-10-binary.tar.gz"
    place.parent.mkdir()
    write_tar(place, cifar_contents("binary"), "cifar-10-batches-bin")
    monkeypatch.setattr(cifar10, "URL", place.as_uri())
    monkeypatch.setattr(cifar10, "MD5", hashlib.md5(place.read_bytes()).hexdigest())
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    return place


def test_without_a_path_it_is_downloaded_once(home: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    folder = tmp_path / "made"
    folder.mkdir()
    context = Context(folder, folder, progress=lambda fraction, _: seen.append(fraction))
    Cifar10(calibration=20).make(context)
    assert len(open_data(folder).train) == 80
    assert seen
    assert all(0 <= fraction <= 1 for fraction in seen)
    home.unlink()
    assert len(make(None, tmp_path / "again").train) == 80
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [home.name]


def test_a_damaged_cache_is_fetched_again(home: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "cache", {home.name: b"half a"})
    assert len(make(None, tmp_path / "made").train) == 80


def test_without_a_network_it_says_what_to_put_where(home: Path, tmp_path: Path) -> None:
    home.unlink()
    with pytest.raises(InputError) as caught:
        make(None, tmp_path / "made")
    file = tmp_path / "cache" / "cifar-10-binary.tar.gz"
    assert str(caught.value).endswith(f"put that file at {file}, or give the data set's path")
    assert "cannot be downloaded" in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


class Answer(io.BytesIO):
    """What urlopen gives; it breaks off after its content."""

    headers = {"Content-Length": "100"}  # noqa: RUF012

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        if not chunk:
            raise TimeoutError("timed out")
        return chunk


def _unreachable(*_: Any, **__: Any) -> Any:
    raise urllib.error.URLError("no route to host")


@pytest.mark.parametrize(
    "open_url, sentence",
    [
        (_unreachable, "cannot be downloaded: <urlopen error no route to host>"),
        (lambda *_, **__: Answer(b"half"), "cannot be downloaded: timed out"),
        (lambda *_, **__: io.BytesIO(b"other"), "arrived damaged: its md5 is 795f3202b17cb6bc3d4b"),
    ],
)
def test_a_failed_download_leaves_nothing(
    tmp_path: Path, open_url: Callable[..., Any], sentence: str
) -> None:
    with pytest.raises(InputError) as caught:
        download("https://example.org/x", "0" * 32, tmp_path / "x", open_url)
    assert sentence in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not SUBSET.is_file(), reason=f"{SUBSET} is absent; set DLAS_TEST_DATA")
def test_the_given_images(tmp_path: Path) -> None:
    data = make(SUBSET, tmp_path / "made", calibration=128)
    assert (len(data.train), len(data.calibration), len(data.test)) == (7940, 128, 1017)
    with np.load(SUBSET) as given:
        first, numbers = given["test_x"][:8], given["test_y"]
    assert np.array_equal(data.test.labels, numbers)
    mean = np.array((0.485, 0.456, 0.406), np.float32).reshape(3, 1, 1)
    std = np.array((0.229, 0.224, 0.225), np.float32).reshape(3, 1, 1)
    expected = (first.astype(np.float32) / 255 - mean) / std
    assert np.allclose(data.test.images(slice(0, 8)), expected, atol=1e-6)
