"""CIFAR-10: 60,000 photographs, 32×32 in colour, of ten classes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from dlas.context import Context
from dlas.datasets.base import Dataset
from dlas.datasets.cifar_batches import read_batches
from dlas.datasets.download import download
from dlas.datasets.normalization import Named, Normalization
from dlas.datasets.npz import Labelled, read_npz
from dlas.datasets.source import array_source
from dlas.errors import InputError
from dlas.layer import InputPath
from dlas.places import cache_folder

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


class Cifar10(Dataset, frozen=True, kw_only=True):
    """CIFAR-10 (Krizhevsky 2009), with its own test set in its own order.

    ``path``: a folder with the python or the binary batches (or their parent), the tar file of
    either, or an .npz with train_x, train_y, test_x, test_y (uint8, (N, 3, 32, 32) or
    (N, 32, 32, 3)). Without a path it is downloaded once, checked, and kept in the cache.

    ``normalization`` is ImageNet's by default, which is what the published CIFAR ResNets by
    akamaster were trained with; weights trained otherwise need theirs."""

    name: ClassVar[str] = "cifar10"

    path: InputPath | None = None
    normalization: Normalization | Named = "imagenet"

    def channels_known(self) -> int | None:
        return 3

    def make(self, context: Context) -> None:
        path = Path(self.path) if self.path else _downloaded(context)
        read = _from_npz if path.suffix == ".npz" else read_batches
        train, test = read(path)
        self.write_given(context, array_source(*train), array_source(*test), CLASSES, scale=255)


def _from_npz(path: Path) -> tuple[Labelled, Labelled]:
    found = read_npz(path)
    if found.test is None:
        raise InputError(f"{path}: test_x and test_y are missing")
    for name, (images, _) in (("train_x", found.train), ("test_x", found.test)):
        if images.dtype != "uint8" or images.shape[1:] != (3, 32, 32):
            shape = f"{images.dtype}, (N, C, H, W) = {images.shape}"
            raise InputError(f"{path}: {name} is {shape}; CIFAR-10 is uint8, (N, 3, 32, 32)")
    return found.train, found.test


def _downloaded(context: Context) -> Path:
    file = cache_folder() / URL.rpartition("/")[2]
    try:
        download(URL, MD5, file, progress=context.progress)
    except InputError as error:
        remedy = f"put that file at {file}, or give the data set's path"
        raise InputError(f"{error}; {remedy}") from None
    return file
