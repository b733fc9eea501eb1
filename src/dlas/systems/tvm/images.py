"""An image channels last, as a network of narrow numbers stores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from dlas.systems.tvm.blocked import Blocked
from dlas.systems.tvm.rounding import REAL

#: One number for all channels, or one for each.
PerChannel = float | NDArray[np.float64]


@dataclass(frozen=True)
class Image(Blocked):
    """(N, 1, H, W, C), C filled up to whole vectors: in blocks, of which there is one.

    ``number``: what is stored, "float32", "uint8", "int8" or "bfloat16" (as its bits). Stored x
    stands for ``factor`` · x + ``shift``. ``steps``: of integers that a layer may multiply, their
    (scale, zero point). A ``vector`` is (N, C) to the network, one pixel here."""

    number: str = REAL
    factor: PerChannel = 1.0
    shift: PerChannel = 0.0
    steps: tuple[float, int] | None = None
    vector: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether what is stored is what it stands for."""
        return bool(np.all(np.equal(self.factor, 1)) and not np.any(self.shift))

    @property
    def is_narrow(self) -> bool:
        """Whether a layer can multiply it as it is stored."""
        return self.steps is not None or (self.number == "bfloat16" and self.is_plain)

    @property
    def pixels(self) -> int:
        _, _, height, width, _ = self.shape
        return height * width


def vectors(image: Image, *numbers: PerChannel) -> list[relax.Expr]:
    """Each as a vector of as many as there are channels: Relax takes what reads one number for all
    elements for no elementwise operator, and would not join it to the layer before."""
    stored = image.shape[-1]
    return [relax.const(np.broadcast_to(n, stored).astype(np.float32)) for n in numbers]


def filled(values: NDArray[Any], image: Image) -> NDArray[np.float64]:
    """(C) up to what is stored."""
    return np.pad(values.astype(np.float64), (0, image.shape[-1] - len(values)))


def joined(images: Sequence[Image], values: Sequence[PerChannel]) -> PerChannel:
    """One after another, of images side by side along channels."""
    if all(np.ndim(value) == 0 and value == values[0] for value in values):
        return values[0]
    pairs = zip(images, values, strict=True)
    return np.concatenate([np.broadcast_to(value, image.shape[-1]) for image, value in pairs])


def makes_a_vector(op_name: str, image: Image, given: NDArray[Any] | None, axis: int) -> bool:
    """Whether Flatten, Reshape to the shape ``given`` or Squeeze of these axes makes (N, C) of an
    image of one pixel."""
    if op_name == "Flatten":
        return axis == 1
    last = (2, 3, -1, -2) if op_name == "Squeeze" else (-1, image.channels)
    return given is not None and given.size == 2 and given[-1] in last
