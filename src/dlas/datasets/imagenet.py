"""ImageNet's validation images from a folder by synset, and any other set too large to copy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np

from dlas.context import Context
from dlas.data import Pixels
from dlas.datasets.base import Count, Dataset
from dlas.datasets.folders import image_names
from dlas.datasets.normalization import Normalization
from dlas.datasets.source import Source, file_source
from dlas.datasets.splits import hold_out
from dlas.errors import InputError, SpecError
from dlas.images import Decoder, ImageFiles, decoded
from dlas.layer import InputPath

SYNSETS = 1000
#: A split of fewer bytes is decoded once and stored; a larger one each time it is read.
COPIED_BYTES = 1 << 30

Side = Annotated[int, msgspec.Meta(ge=1, le=4096)]


class ImageNet(Dataset, frozen=True, kw_only=True):
    """ILSVRC 2012 (Russakovsky et al. 2015): the shorter side scaled to ``resize``, bilinear, and
    the centre ``size`` × ``size`` cut out.

    ``path``: the validation folder, one folder per synset (``n01440764/*.JPEG``). Labels 0..999 are
    the synsets' order by name, which is what published weights mean, so all 1000 folders must be
    there. For a part of them (Imagenette …) or other names, ``synsets`` is a text file that starts
    a line with each synset, in label order (ImageNet's own ``LOC_synset_mapping.txt`` does): 1000
    lines keep published weights meaningful, fewer make a smaller problem.

    ``train_path``: the training folder by synset. Without it the training images, ``train`` or
    else one per class, and the calibration images are taken out of the validation images, and the
    test set is smaller by both."""

    name: ClassVar[str] = "imagenet"
    distributions: ClassVar[tuple[str, ...]] = ("pillow",)
    modules: ClassVar[tuple[str, ...]] = ("PIL",)
    extra: ClassVar[str] = "images"

    path: InputPath
    train_path: InputPath | None = None
    synsets: InputPath | None = None
    resize: Side = 256
    size: Side = 224
    calibration: Count = 512
    normalization: Normalization | Literal["imagenet"] = "imagenet"

    def channels_known(self) -> int | None:
        return 3

    def check(self, path: str) -> None:
        super().check(path)
        if self.size > self.resize:
            raise SpecError(f"{path}.size", f"{self.size} is larger than resize, {self.resize}")

    def make(self, context: Context) -> None:
        classes = self._classes()
        test = self._source(self.path, classes, 5, context.threads)
        if self.train_path:
            train = self._source(self.train_path, classes, 4, context.threads)
            self.write_given(context, train, test, classes, scale=255)
            return
        count = self.train or len(np.unique(test.labels))
        if count + self.calibration >= len(test):
            raise InputError(
                f"{self.path} has {len(test)} images: {count} for train and {self.calibration} for "
                "calibration leave none to test on; lower them, or give train_path"
            )
        calibration, others = hold_out(test.labels, self.calibration, (self.seed, 0))
        train_part, rest = hold_out(test.labels[others], count, (self.seed, 1))
        rest = others[rest]
        splits = {
            "train": test.taken(others[train_part]),
            "calibration": test.taken(calibration),
            "test": test.taken(rest[self.test_part(test.labels[rest])]),
        }
        self.write_splits(context, splits, classes, scale=255)

    def _classes(self) -> tuple[str, ...]:
        if self.synsets:
            return _listed(Path(self.synsets))
        present = {name.split("/")[0] for name in _names(self.path)}
        if len(present) != SYNSETS:
            raise InputError(
                f"{self.path} has {len(present)} class folders, ImageNet has {SYNSETS}: a part "
                "does not tell their labels; give synsets, a file with one a line in label order"
            )
        return tuple(sorted(present))

    def _source(self, place: str, classes: tuple[str, ...], salt: int, threads: int) -> Source:
        number = {synset: index for index, synset in enumerate(classes)}
        names = _names(place)
        unknown = {name.split("/")[0] for name in names} - set(classes)
        if unknown:
            listed = self.synsets or self.path
            raise InputError(f"{place}: {min(unknown)} is not among the {len(classes)} of {listed}")
        root = str(Path(place).resolve())
        decoder = Decoder(3, self.resize, self.size)

        def take(names: Sequence[str]) -> Pixels | ImageFiles:
            files = ImageFiles(root, tuple(names), decoder)
            if math.prod(files.shape) > COPIED_BYTES:
                return files
            return Pixels(files.shape, np.uint8, decoded(files.read, files.names, threads))

        files = [(name, number[name.split("/")[0]]) for name in names]
        return file_source(files, take, (self.seed, salt))


def _names(place: str) -> tuple[str, ...]:
    """Image files as ``<synset>/<file>``."""
    if not Path(place).is_dir():
        raise InputError(f"{place} is no folder; unpack ImageNet into a folder per synset")
    names = image_names(Path(place))
    if not names:
        raise InputError(f"{place} holds no images in folders by synset")
    loose = next((name for name in names if "/" not in name), None)
    if loose:
        raise InputError(f"{place}: {loose} lies in no synset's folder; sort the images first")
    return names


def _listed(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as text: {error}") from None
    found = tuple(line.split()[0] for line in lines if line.strip())
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice:
        raise InputError(f"{file} names {twice} twice")
    return found
