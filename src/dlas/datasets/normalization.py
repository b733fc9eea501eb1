"""Normalization: which mean and deviation per channel take pixels to the network's input."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError


class Normalization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mean and one standard deviation per channel, in units of the full scale: a pixel p in
    0..255 becomes (p / 255 - mean) / std."""

    mean: tuple[Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)], ...]
    std: tuple[Annotated[float, msgspec.Meta(gt=0, le=1e6)], ...]


#: ``"auto"`` measures the training images; the others are the constants in general use.
Named = Literal["auto", "cifar10", "imagenet"]
NAMED = {
    "cifar10": Normalization(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
    "imagenet": Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
}


def misfit(choice: Normalization | Named, channels: int | None) -> str | None:
    """Why it cannot normalize images of so many channels (None: not yet known), as a sentence."""
    if choice == "auto":
        return None
    given = choice if isinstance(choice, Normalization) else NAMED[choice]
    if len(given.mean) != len(given.std):
        return f"mean has {len(given.mean)} numbers and std {len(given.std)}; one per channel each"
    if channels is not None and len(given.mean) != channels:
        what = repr(choice) if isinstance(choice, str) else "it"
        return f"{what} is for {len(given.mean)} channels; these images have {channels}"
    return None


def resolve(
    choice: Normalization | Named, images: NDArray[Any] | None, scale: float, channels: int
) -> Normalization:
    """The numbers; ``images`` are the stored training images (N, C, H, W), read for ``"auto"``
    alone. InputError where the choice does not fit or a channel is constant."""
    sentence = misfit(choice, channels)
    if sentence:
        raise InputError(f"normalization: {sentence}")
    if isinstance(choice, Normalization):
        return choice
    if choice in NAMED:
        return NAMED[choice]
    assert images is not None, "auto reads the training images"
    return measure(images, scale)


def measure(images: NDArray[Any], scale: float) -> Normalization:
    """Mean and population standard deviation per channel of images (N, C, H, W), in portions."""
    count = images.shape[0] * images.shape[2] * images.shape[3]
    portions = range(0, len(images), 256)
    mean = np.zeros(images.shape[1])
    for start in portions:
        mean += images[start : start + 256].sum(axis=(0, 2, 3), dtype=np.float64) / count
    variance = np.zeros(images.shape[1])
    for start in portions:
        centred = images[start : start + 256] - mean.astype(np.float32).reshape(-1, 1, 1)
        variance += np.einsum("nchw,nchw->c", centred, centred, dtype=np.float64) / count
    for channel, value in enumerate(variance):
        if not value > 0:
            raise InputError(f"channel {channel} is the same everywhere in the training images")
    std = np.sqrt(variance) / scale
    return Normalization(mean=tuple((mean / scale).tolist()), std=tuple(std.tolist()))
