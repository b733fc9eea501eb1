"""Handwritten digits that come with scikit-learn: real data for a study without a download."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from dlas.context import Context
from dlas.datasets.base import Dataset, Share
from dlas.datasets.source import array_source


class Digits(Dataset, frozen=True, kw_only=True):
    """The 1,797 test images, 8×8 in 17 grey levels, of Alpaydin & Kaynak, "Optical Recognition of
    Handwritten Digits" (UCI, 1998), as ``sklearn.datasets.load_digits`` gives them.

    Shown as (channels, size, size): every pixel is repeated, which adds nothing and loses nothing.
    Pixels are stored as their levels 0..16. The set has no split of its own here."""

    name: ClassVar[str] = "digits"
    distributions: ClassVar[tuple[str, ...]] = ("scikit-learn",)
    modules: ClassVar[tuple[str, ...]] = ("sklearn",)
    extra: ClassVar[str] = "digits"

    size: Literal[16, 32] = 16
    channels: Literal[1, 3] = 1
    test_share: Share = 0.25

    def channels_known(self) -> int | None:
        return self.channels

    def make(self, context: Context) -> None:
        from sklearn.datasets import load_digits

        levels, labels = load_digits(return_X_y=True)
        images = levels.reshape(-1, 1, 8, 8).astype(np.uint8)
        images = images.repeat(self.size // 8, axis=2).repeat(self.size // 8, axis=3)
        images = images.repeat(self.channels, axis=1)
        pool = array_source(images, labels)
        self.write_pool(context, pool, self.test_share, "0123456789", scale=16)
