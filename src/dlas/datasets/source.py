"""Labelled images from which splits are taken, wherever they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.data import Pixels
from dlas.datasets.splits import Indices
from dlas.images import ImageFiles

Labels = NDArray[np.integer[Any]]
Labelled = tuple[Pixels | ImageFiles, Labels]


@dataclass(frozen=True)
class Source:
    """``take`` gives the images at some indices, ready to be written; ``labels`` is (N,)."""

    labels: Labels
    take: Callable[[Indices], Pixels | ImageFiles]

    def __len__(self) -> int:
        return len(self.labels)

    def taken(self, chosen: Indices) -> Labelled:
        return self.take(chosen), self.labels[chosen]

    def subset(self, chosen: Indices) -> Source:
        return Source(self.labels[chosen], lambda indices: self.take(chosen[indices]))


def array_source(images: NDArray[Any], labels: Labels) -> Source:
    """From an array (N, C, H, W), uint8 or float32, which may be a view in another layout."""

    def take(chosen: Indices) -> Pixels:
        steps = range(0, len(chosen), 1024)
        portions = (images[chosen[start : start + 1024]] for start in steps)
        return Pixels((len(chosen), *images.shape[1:]), images.dtype, portions)

    return Source(labels, take)


def file_source(
    files: Sequence[tuple[str, int]],
    take: Callable[[Sequence[str]], Pixels | ImageFiles],
    seed: Sequence[int],
) -> Source:
    """From image files, (name, label), in random order: as they come they are sorted by class.
    ``take`` gives the images of some names."""
    order = np.random.RandomState(list(seed)).permutation(len(files))
    labels = np.array([files[index][1] for index in order], np.int64)
    return Source(labels, lambda chosen: take([files[index][0] for index in order[chosen]]))
