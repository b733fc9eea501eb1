"""``Recipe``: how a network is trained, as a user writes it."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SGD with Nesterov momentum and a one-cycle schedule (Smith & Topin 2018): the learning rate
    rises linearly to ``lr`` over the first ``warmup`` share of the steps and falls to zero along a
    cosine. The loss is cross-entropy with ``label_smoothing`` (Szegedy et al. 2016).

    ``augment`` draws anew for every image: ``crop`` shifts it by up to an eighth of its side, zeros
    (of the normalized image) coming in; ``flip`` mirrors it left to right with probability 1/2.
    ``weight_decay`` spares biases and BatchNorm. ``batch`` is the most images in a step: an epoch
    is cut into steps of equal size, none left out. ``threads``: the cores that one step uses; sums
    round otherwise with another number, so it is part of the recipe. ``precision``: what layers
    multiply in; with bfloat16 weights, their sums and BatchNorm stay float32 (Micikevicius et al.
    2018, "Mixed Precision Training"; bfloat16 needs no loss scaling), which takes half the time
    where the processor multiplies bfloat16."""

    epochs: Annotated[int, msgspec.Meta(ge=0)] = 30
    lr: Annotated[float, msgspec.Meta(gt=0)] = 0.1
    batch: Annotated[int, msgspec.Meta(ge=1)] = 128
    momentum: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 5e-4
    warmup: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    label_smoothing: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    augment: tuple[Literal["crop", "flip"], ...] = ()
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    precision: Literal["float32", "bfloat16"] = "float32"

    def learning_rate(self, step: int, steps: int) -> float:
        """In step ``step`` of ``steps``, counted from 0."""
        rising = self.warmup * steps
        if step + 1 < rising:
            return self.lr * (step + 1) / rising
        return self.lr * (1 + math.cos(math.pi * (step + 1 - rising) / (steps - rising + 1))) / 2
