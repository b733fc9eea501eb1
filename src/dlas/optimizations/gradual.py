"""Pruning in steps: each prunes a little more and, where asked, trains what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from dlas.context import Context
from dlas.data import Data
from dlas.network import Network
from dlas.training import Masks, Recipe, train


class Gradual(Protocol):
    """The fields that decide how pruning proceeds."""

    @property
    def sparsity(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def fine_tune(self) -> Recipe | None: ...
    @property
    def seed(self) -> int: ...


def shares(sparsity: float, steps: int) -> list[float]:
    """How much is pruned after each step: s · (1 - (1 - t / n)³), the cubic schedule of Zhu & Gupta
    (2017) from zero; much at first, when much can be spared."""
    return [sparsity * (1 - (1 - step / steps) ** 3) for step in range(1, steps + 1)]


def prune_gradually(
    network: Network,
    data: Data,
    context: Context,
    how: Gradual,
    prune: Callable[[Network, float], tuple[Network, Masks]],
) -> Network:
    """``prune`` gets a network and the share to prune of the first one, and gives the pruned one
    with the weights that training must hold at zero. The recipe runs whole after every step."""
    for index, share in enumerate(shares(how.sparsity, how.steps)):
        network, masks = prune(network, share)
        if how.fine_tune is not None:
            part = replace(context, progress=_part(context, index, how.steps))
            seed = how.seed + index
            network = train(network, data, how.fine_tune, seed=seed, context=part, masks=masks)
    return network


def _part(context: Context, index: int, steps: int) -> Callable[[float, str], None]:
    def progress(fraction: float, text: str) -> None:
        step = f"step {index + 1}/{steps}, " if steps > 1 else ""
        context.progress((index + fraction) / steps, f"fine-tuning, {step}{text}")

    return progress
