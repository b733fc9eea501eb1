"""Layer 1, data sets & problem spaces: what a member is."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.context import Context
from dlas.data import SPLITS, Header, Pixels, open_images, write_header, write_split
from dlas.datasets.normalization import Named, Normalization, misfit, resolve
from dlas.datasets.source import Labelled, Labels, Source
from dlas.datasets.splits import Indices, draw, hold_out
from dlas.errors import InputError, SpecError
from dlas.images import ImageFiles
from dlas.layer import Member

Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]


class Dataset(Member, frozen=True, kw_only=True):
    """A data set. Splits and normalization are fixed by the spec alone.

    ``train``, ``calibration`` and ``test`` are numbers of images. The calibration images are taken
    out of the training images, never of the test set: they set the ranges of int8 and can judge
    between candidates without a look at the test set. ``train`` and ``test`` keep so many of what
    there is, all by default. Every choice is stratified and fixed by ``seed``; ``calibration``
    and ``train`` do not change which images are the test set."""

    train: Count | None = None
    calibration: Count = 128
    test: Count | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    normalization: Normalization | Named = "auto"

    @abc.abstractmethod
    def make(self, context: Context) -> None:
        """Write ``context.folder`` as ``dlas.data.write_data`` does. Raises InputError."""
        raise NotImplementedError

    def channels_known(self) -> int | None:
        """The images' channels, where the spec alone tells."""
        return None

    def check(self, path: str) -> None:
        sentence = misfit(self.normalization, self.channels_known())
        if sentence:
            raise SpecError(f"{path}.normalization", sentence)

    def write_given(
        self, context: Context, train: Source, test: Source, classes: Sequence[str], scale: float
    ) -> None:
        """Write a data set that has a test set of its own."""
        parts = self._training_parts(train.labels)
        if self.train is None:
            _refuse_lost(train.labels, parts["train"], classes)
        splits = {name: train.taken(chosen) for name, chosen in parts.items()}
        splits["test"] = test.taken(self.test_part(test.labels))
        self.write_splits(context, splits, classes, scale)

    def write_pool(
        self, context: Context, pool: Source, share: float, classes: Sequence[str], scale: float
    ) -> None:
        """Write a data set of which ``share`` is to become the test set."""
        held, rest = hold_out(pool.labels, round(share * len(pool)), (self.seed, 0))
        _refuse_lost(pool.labels, rest, classes)
        self.write_given(context, pool.subset(rest), pool.subset(held), classes, scale)

    def write_splits(
        self, context: Context, splits: Mapping[str, Labelled], classes: Sequence[str], scale: float
    ) -> None:
        """Write images and labels by split, then the header with the normalization's numbers."""
        for done, (name, (images, labels)) in enumerate(splits.items()):
            watched = _watched(images, context, done / len(splits), name)
            write_split(context.folder, name, watched, labels)
        _, channels, height, width = splits["train"][0].shape
        stored = open_images(context.folder, "train") if self.normalization == "auto" else None
        numbers = resolve(self.normalization, stored, scale, channels)
        shape = (channels, height, width)
        header = Header(shape, tuple(classes), numbers.mean, numbers.std, scale)
        write_header(context.folder, header)

    def _training_parts(self, labels: Labels) -> dict[str, Indices]:
        left = len(labels) - self.calibration
        if left < 1:
            raise InputError(
                f"calibration = {self.calibration} leaves no training image: "
                f"there are {len(labels)} besides the test set"
            )
        if self.train is not None and self.train > left:
            raise InputError(f"train = {self.train} images were asked for; there are {left}")
        held, kept = hold_out(labels, self.calibration, (self.seed, 1))
        if self.train is not None:
            kept = kept[draw(labels[kept], self.train, (self.seed, 2))]
        return {"train": kept, "calibration": held}

    def test_part(self, labels: Labels) -> Indices:
        """The test images to keep: all in their order, or ``test`` of them in random order."""
        if self.test is None:
            return np.arange(len(labels))
        if self.test > len(labels):
            raise InputError(f"test = {self.test} images were asked for; there are {len(labels)}")
        return draw(labels, self.test, (self.seed, 3))


def _refuse_lost(labels: Labels, kept: Indices, classes: Sequence[str]) -> None:
    """InputError where a class has no image among the kept."""
    lost = [int(label) for label in np.setdiff1d(labels, labels[kept]) if label < len(classes)]
    if lost:
        count = int((labels == lost[0]).sum())
        taken = f"the other splits take all its images ({count})"
        raise InputError(f"class {classes[lost[0]]}: {taken}, none is left to train on")


def _watched(
    images: Pixels | ImageFiles, context: Context, start: float, what: str
) -> Pixels | ImageFiles:
    """The same images; ``context.progress`` hears how many are written, from ``start`` on."""
    if isinstance(images, ImageFiles):
        return images
    total = images.shape[0]

    def portions() -> Iterator[NDArray[Any]]:
        written = 0
        for portion in images.portions:
            yield portion
            written += len(portion)
            fraction = start + written / total / len(SPLITS)
            context.progress(fraction, f"{what}: {written} of {total} images")

    return Pixels(images.shape, images.dtype, portions())
