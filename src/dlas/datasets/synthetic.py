"""Made-up images that a network can learn: the data set that is instant and takes any shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

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
    revision: ClassVar[int] = 2

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
        """(classes, C, 4, 4): when they are stretched, mean 0 and deviation 1 over all classes."""
        channels, height, width = self.shape
        random = np.random.RandomState([self.seed, 0])
        grids = random.standard_normal((self.classes, channels, 4, 4)).astype(np.float32)
        # Counted on the grids: with many classes, large images would fill the memory.
        rows, columns = (_stretched(np.eye(4), 0, length) for length in (height, width))
        mean = (rows.mean(0) @ grids @ columns.mean(0)).mean()
        squares = grids * (rows.T @ rows / height @ grids @ (columns.T @ columns / width))
        deviation = np.sqrt(squares.sum((2, 3)).mean() - mean**2)
        return (grids - np.float32(mean)) / np.float32(deviation)

    def _noisy(
        self, patterns: Values, labels: Labels, random: np.random.RandomState
    ) -> Iterator[NDArray[np.uint8]]:
        unit = 40 / np.hypot(1, self.noise)  # three deviations either side of 128 fit into 8 bits
        _, height, width = self.shape
        step = np.float32(unit * self.noise / _UNIFORM_STD)
        for start in range(0, len(labels), _PORTION):
            grids = patterns[labels[start : start + _PORTION]]
            clean = _stretched(_stretched(grids, 2, height), 3, width)
            images = np.float32(unit) * clean + np.float32(128)
            noise = random.randint(0, 256, images.shape, np.uint8).astype(np.float32)
            images += step * (noise - np.float32(127.5))
            yield images.round().clip(0, 255).astype(np.uint8)


def _stretched(values: NDArray[Any], axis: int, length: int) -> NDArray[Any]:
    """Linear interpolation along an axis, first and last value kept."""
    place = np.linspace(0, values.shape[axis] - 1, length, dtype=np.float32)
    below = np.minimum(place.astype(int), values.shape[axis] - 2)
    weight = (place - below.astype(np.float32)).reshape([-1] + [1] * (values.ndim - 1 - axis))
    left, right = values.take(below, axis), values.take(below + 1, axis)
    stretched: NDArray[Any] = left * (1 - weight) + right * weight
    return stretched
