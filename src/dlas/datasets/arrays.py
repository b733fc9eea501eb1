"""A user's own images: arrays in an .npz file, or image files in class folders or a .zip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.context import Context
from dlas.data import Pixels
from dlas.datasets.base import Dataset, Share
from dlas.datasets.folders import Tree, class_folders, image_tree
from dlas.datasets.npz import Layout, read_npz
from dlas.datasets.source import Source, array_source, file_source
from dlas.errors import InputError
from dlas.images import Decoder, decoded
from dlas.layer import InputPath


class Arrays(Dataset, frozen=True, kw_only=True):
    """Images of a user's own.

    ``path`` is one of

    - an .npz with ``train_x``, ``train_y`` and, if there is a test set, ``test_x``, ``test_y``
      (Keras's ``x_train`` … and MedMNIST's ``train_images`` … too), or one pool ``x`` and ``y``.
      Images are uint8 or floating point, (N, C, H, W), (N, H, W, C) or (N, H, W); ``layout`` says
      which where the shape does not. Labels are class numbers from 0, ``classes`` may name them;
    - a folder or .zip with ``<class>/*.png``, or ``train/<class>/…`` and ``test/<class>/…`` (or
      ``val``). All images must be of one size, unless ``size`` scales their shorter side to it
      and cuts the centre square.

    Without a test set, ``test_share`` of the images become one."""

    name: ClassVar[str] = "arrays"
    distributions: ClassVar[tuple[str, ...]] = ("pillow",)

    path: InputPath
    size: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    channels: Literal[1, 3] = 3
    layout: Layout = "auto"
    test_share: Share = 0.2

    def tools(self) -> dict[str, str]:
        unused = self.distributions if self._is_npz() else ()
        return {name: text for name, text in super().tools().items() if name not in unused}

    def _is_npz(self) -> bool:
        return Path(self.path).suffix.lower() == ".npz"

    def make(self, context: Context) -> None:
        if self._is_npz():
            self._make_from_arrays(context)
            return
        with image_tree(Path(self.path)) as tree:
            self._make_from_files(tree, context)

    def _make_from_arrays(self, context: Context) -> None:
        found = read_npz(Path(self.path), self.layout)
        train = array_source(*found.train)
        test = array_source(*found.test) if found.test else None
        last = max(int(source.labels.max()) for source in (train, test or train))
        present = set(train.labels.tolist())
        gap = min(set(range(len(present) + 1)) - present)
        if gap < (len(found.classes) if found.classes else last + 1):
            name = f" ({found.classes[gap]})" if found.classes else ""
            raise InputError(f"{self.path}: no training image is of class {gap}{name}")
        classes = found.classes or tuple(map(str, range(last + 1)))
        scale = 255 if found.train[0].dtype == np.uint8 else 1
        self._write(context, train, test, classes, scale)

    def _make_from_files(self, tree: Tree, context: Context) -> None:
        found = class_folders(tree)
        decoder = Decoder(self.channels, self.size, self.size)

        def decode(name: str) -> NDArray[np.uint8]:
            return decoder.decode(tree.open(name), f"{tree.place}/{name}")

        first = found.train[0][0]
        shape = decode(first).shape

        def read(name: str) -> NDArray[np.uint8]:
            image = decode(name)
            if image.shape != shape:
                (_, h, w), (_, height, width) = shape, image.shape
                sizes = f"{w}×{h} and {width}×{height}"
                where = f"{tree.place}: {first} and {name}"
                raise InputError(f"{where} differ in size, {sizes}; give a size")
            return image

        def take(names: Sequence[str]) -> Pixels:
            return Pixels((len(names), *shape), np.uint8, decoded(read, names, context.threads))

        train = file_source(found.train, take, (self.seed, 4))
        test = file_source(found.test, take, (self.seed, 5)) if found.test else None
        self._write(context, train, test, found.classes, 255)

    def _write(
        self,
        context: Context,
        train: Source,
        test: Source | None,
        classes: tuple[str, ...],
        scale: float,
    ) -> None:
        if test is None:
            self.write_pool(context, train, self.test_share, classes, scale)
        else:
            self.write_given(context, train, test, classes, scale)
