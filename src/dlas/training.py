"""Training and fine-tuning: SGD with momentum, one-cycle learning rate, augmentation.

One code path for layer 2's training and layer 3's fine-tuning. Seeded, resumable after a kill.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SGD with Nesterov momentum and a one-cycle schedule (Smith & Topin 2018): the learning rate
    rises linearly to ``lr`` over the first ``warmup`` share of the steps and falls to zero along a
    cosine. ``augment`` is applied per image, with zero padding of an eighth of the side for crop."""

    epochs: Annotated[int, msgspec.Meta(ge=0)] = 30
    lr: Annotated[float, msgspec.Meta(gt=0)] = 0.1
    batch: Annotated[int, msgspec.Meta(ge=1)] = 128
    momentum: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 5e-4
    warmup: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    label_smoothing: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    augment: tuple[Literal["crop", "flip"], ...] = ()
