"""A user's own arrays in an .npz file: names, shapes, types and labels, each checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError
from dlas.layer import did_you_mean
from dlas.npz import read_arrays

Layout = Literal["auto", "NCHW", "NHWC"]
Labelled = tuple[NDArray[Any], NDArray[np.int64]]

#: What each array may be called: our name, Keras's, MedMNIST's.
NAMES = {
    "train_x": ("train_x", "x_train", "train_images"),
    "train_y": ("train_y", "y_train", "train_labels"),
    "test_x": ("test_x", "x_test", "test_images"),
    "test_y": ("test_y", "y_test", "test_labels"),
    "x": ("x", "images"),
    "y": ("y", "labels"),
}


class Arrays(NamedTuple):
    """Images (N, C, H, W), uint8 or float32, maybe a view; labels (N,). Without ``test``, ``train``
    is a pool still to be split. ``classes``: their names, where the file gives them."""

    train: Labelled
    test: Labelled | None
    classes: tuple[str, ...] | None


def read_npz(path: Path, layout: Layout = "auto") -> Arrays:
    """Read and check. Raises InputError; never unpickles."""
    found = read_arrays(path, {"classes"}.union(*NAMES.values()))
    chosen = {name: _first(found, names) for name, names in NAMES.items()}
    pooled = not any(chosen[name] for name in ("train_x", "train_y", "test_x", "test_y"))
    wanted = ("x", "y") if pooled else ("train_x", "train_y", "test_x", "test_y")
    absent = [name for name in wanted if chosen[name] is None]
    if pooled and len(absent) == 2:
        raise InputError(
            f"{path} holds {', '.join(found) or 'nothing'}; it needs train_x, train_y, test_x and "
            f"test_y, or one pool x and y{_near('train_x', found)}"
        )
    # Training images alone are a pool.
    if absent and absent != ["test_x", "test_y"]:
        raise InputError(f"{path}: {absent[0]} is missing{_near(absent[0], found)}")

    def labelled(what: str) -> Labelled:
        x, y = (str(chosen[f"{what}{axis}"]) for axis in "xy")
        images = _images(found[x], layout, f"{path}: {x}")
        labels = _labels(found[y], f"{path}: {y}")
        if len(images) != len(labels):
            raise InputError(f"{path}: {x} has {len(images)} images, {y} {len(labels)} labels")
        return images, labels

    train = labelled("" if pooled else "train_")
    test = None if pooled or absent else labelled("test_")
    if test is not None and test[0].shape[1:] != train[0].shape[1:]:
        shapes = " and ".join(str(images.shape[1:]) for images, _ in (train, test))
        raise InputError(f"{path}: training and test images differ in shape (C, H, W): {shapes}")
    names = tuple(map(str, found["classes"].ravel())) if "classes" in found else None
    return Arrays(train, test, names)


def _first(found: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in found), None)


def _near(name: str, found: Mapping[str, Any]) -> str:
    return did_you_mean(name, found) if found else ""


def _labels(labels: NDArray[Any], what: str) -> NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(f"{what} has shape {labels.shape}, expected (N,): one class number each")
    if labels.dtype.kind not in "iu":
        raise InputError(f"{what} is {labels.dtype}, expected whole class numbers from 0")
    if len(labels) and (labels.min() < 0 or labels.max() >= 2**31):
        low, high = labels.min(), labels.max()
        raise InputError(f"{what} runs from {low} to {high}; class numbers start at 0")
    return labels.astype(np.int64)


def _images(images: NDArray[Any], layout: Layout, what: str) -> NDArray[Any]:
    """(N, C, H, W), uint8 or float32."""
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim != 4:
        shapes = "(N, C, H, W), (N, H, W, C) or (N, H, W)"
        raise InputError(f"{what} has shape {images.shape}, expected {shapes}")
    elif (_layout(images.shape, what) if layout == "auto" else layout) == "NHWC":
        images = images.transpose(0, 3, 1, 2)
    if images.size == 0:
        raise InputError(f"{what} is empty: its shape is {images.shape}")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise InputError(f"{what} is {images.dtype}, expected uint8 or a floating-point type")
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        images = images.astype(np.float32)
    if not np.isfinite(images).all():
        raise InputError(f"{what} holds NaN or infinite values")
    return images


def _layout(shape: tuple[int, ...], what: str) -> Layout:
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        raise InputError(f"{what} has shape {shape}: give layout = 'NCHW' or 'NHWC'")
    return "NCHW" if first else "NHWC"
