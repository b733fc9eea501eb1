"""Made-up images that a network can learn: the data set that is instant and takes any shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.context import Context
from dlas.data import Pixels
from dlas.datasets.base import Count, Dataset
from dlas.datasets.source import Labelled, Labels

Values = NDArray[np.float32]

_PORTION = 64
_UNIFORM_STD = np.sqrt((256**2 - 1) / 12)  # of the whole numbers 0..255


class Synthetic(Dataset, frozen=True, kw_only=True):
    """One smooth pattern per class, a 4×4 grid of normal values scaled up, under uniform noise of
    ``noise`` times its deviation; 8-bit pixels. ``seed`` makes patterns, noise and labels. Classes
    differ in number of images by one at most."""

    name: ClassVar[str] = "synthetic"

    shape: tuple[Count, Count, Count] = (3, 32, 32)
    classes: Annotated[int, msgspec.Meta(ge=2)] = 10
    noise: Annotated[float, msgspec.Meta(ge=0, le=100)] = 1.0
    train: Count = 512
    calibration: Count = 64
    test: Count = 256

    def channels_known(self) -> int | None:
        return self.shape[0]

    def make(self, context: Context) -> None:
        patterns = self._patterns()
        splits: dict[str, Labelled] = {}
        counts = {"train": self.train, "calibration": self.calibration, "test": self.test}
        for number, (name, count) in enumerate(counts.items()):
            random = np.random.RandomState([self.seed, number + 1])
            labels = random.permutation(np.arange(count) % self.classes)
            images = Pixels((count, *self.shape), np.uint8, self._noisy(patterns, labels, random))
            splits[name] = (images, labels)
        self.write_splits(context, splits, [str(n) for n in range(self.classes)], scale=255)

    def _patterns(self) -> Values:
        """(classes, C, H, W), mean 0 and deviation 1 over all classes."""
        channels, height, width = self.shape
        random = np.random.RandomState([self.seed, 0])
        patterns: Values = random.standard_normal((self.classes, channels, 4, 4)).astype(np.float32)
        for axis, length in ((2, height), (3, width)):
            patterns = _stretched(patterns, axis, length)
        patterns -= patterns.mean()
        patterns /= patterns.std()
        return patterns

    def _noisy(
        self, patterns: Values, labels: Labels, random: np.random.RandomState
    ) -> Iterator[NDArray[np.uint8]]:
        unit = 40 / np.hypot(1, self.noise)  # three deviations either side of 128 fit into 8 bits
        clean = np.float32(unit) * patterns + np.float32(128)
        step = np.float32(unit * self.noise / _UNIFORM_STD)
        for start in range(0, len(labels), _PORTION):
            images = clean[labels[start : start + _PORTION]]
            noise = random.randint(0, 256, images.shape, np.uint8).astype(np.float32)
            images += step * (noise - np.float32(127.5))
            yield images.round().clip(0, 255).astype(np.uint8)


def _stretched(values: Values, axis: int, length: int) -> Values:
    """Linear interpolation along an axis, first and last value kept."""
    place = np.linspace(0, values.shape[axis] - 1, length, dtype=np.float32)
    below = np.minimum(place.astype(int), values.shape[axis] - 2)
    weight = (place - below.astype(np.float32)).reshape([-1] + [1] * (values.ndim - 1 - axis))
    left, right = values.take(below, axis), values.take(below + 1, axis)
    stretched: Values = left * (1 - weight) + right * weight
    return stretched
