"""Forms: the same architecture as published for small images and for large ones."""

from __future__ import annotations

from typing import Literal

from dlas.data import Data
from dlas.errors import Refused

#: "cifar": for images of about 32×32, early layers keep the resolution.
#: "imagenet": for images of about 224×224, the first layers reduce it by four.
Form = Literal["cifar", "imagenet"]

SMALL, LARGE = 64, 128


def choose_form(form: Form | None, data: Data, name: str) -> Form:
    """``form`` where it is given. Else the one that the image's shorter side leaves no doubt of:
    cifar below ``SMALL``, imagenet from ``LARGE`` on; Refused between, where both are in use."""
    if form is not None:
        return form
    side = min(data.shape[1:])
    if SMALL <= side < LARGE:
        raise Refused(
            f"{name} on {data.shape[1]}×{data.shape[2]} images: say which form is meant, "
            "form = 'cifar' (keeps the resolution) or form = 'imagenet' (reduces it by four first)"
        )
    return "cifar" if side < SMALL else "imagenet"
