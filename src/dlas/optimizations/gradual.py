"""Pruning in steps: each prunes a little more and, where asked, trains what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import msgspec

from dlas.context import Context
from dlas.data import Data
from dlas.errors import SpecError
from dlas.network import Network
from dlas.optimizations.base import Optimization
from dlas.training import REVISION, Masks, Recipe, train


class GradualPruning(Optimization, frozen=True, kw_only=True):
    """Prunes a share ``sparsity`` in ``steps`` steps; ``fine_tune`` is run whole after each."""

    sparsity: Annotated[float, msgspec.Meta(ge=0, lt=1)]
    steps: Annotated[int, msgspec.Meta(ge=1)] = 1
    fine_tune: Recipe | None = None
    seed: int = 0

    def check(self, path: str) -> None:
        if self.steps > 1 and self.fine_tune is None:
            raise SpecError(f"{path}.steps", "more than one step needs fine_tune")

    def tools(self) -> dict[str, str]:
        training = {"dlas.training": str(REVISION)} if self.fine_tune is not None else {}
        return {**super().tools(), **training}

    def refuses(self, network: Network) -> str | None:
        if network.dtype == "float32":
            return None
        return (
            f"{self.name} takes a float32 network, this one's layers are {network.dtype}: "
            "prune before reducing precision"
        )

    def prune_gradually(
        self,
        network: Network,
        data: Data,
        context: Context,
        prune: Callable[[Network, float], tuple[Network, Masks]],
    ) -> Network:
        """``prune`` gets a network and the share to prune of the first one, and gives the pruned
        one with the weights that training must hold at zero."""
        for index, share in enumerate(shares(self.sparsity, self.steps)):
            network, masks = prune(network, share)
            if self.fine_tune is not None:
                masks = masks or _zeros(network)
                part = replace(context, progress=_part(context, index, self.steps))
                seed = self.seed + index
                network = train(network, data, self.fine_tune, seed=seed, context=part, masks=masks)
        return network


def _zeros(network: Network) -> Masks:
    """What an earlier pruning set to zero stays zero."""
    weights = {row.weight: network.initializers[row.weight] for row in network.layers}
    return {name: weight != 0 for name, weight in weights.items() if not weight.all()}


def shares(sparsity: float, steps: int) -> list[float]:
    """How much is pruned after each step: s · (1 - (1 - t / n)³), the cubic schedule of Zhu & Gupta
    (2017) from zero; much at first, when much can be spared."""
    return [sparsity * (1 - (1 - step / steps) ** 3) for step in range(1, steps + 1)]


def _part(context: Context, index: int, steps: int) -> Callable[[float, str], None]:
    def progress(fraction: float, text: str) -> None:
        step = f"step {index + 1}/{steps}, " if steps > 1 else ""
        context.progress((index + fraction) / steps, f"fine-tuning, {step}{text}")

    return progress
