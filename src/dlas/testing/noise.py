"""A data set of noise, for suites that need images but nothing to learn."""

from __future__ import annotations

import numpy as np

from dlas.data import Data, Split


def noise_data(shape: tuple[int, int, int], classes: int, count: int = 4, seed: int = 0) -> Data:
    """``count`` images of standard normal values in ``shape`` (C, H, W), labelled in turn; all
    splits are the same."""
    images = np.random.default_rng(seed).standard_normal((count, *shape), np.float32)
    split = Split(np.arange(count, dtype=np.int64) % classes, lambda indices: images[indices])
    return Data(shape, tuple(map(str, range(classes))), split, split, split)
