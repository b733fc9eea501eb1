"""Training and fine-tuning: one code path for layer 2's training and layer 3's fine-tuning.

PyTorch is imported when training starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from dlas.training.recipe import Recipe

if TYPE_CHECKING:
    from dlas.context import Context
    from dlas.data import Data
    from dlas.network import Network

__all__ = ["REVISION", "Masks", "Recipe", "train", "train_quantized"]

#: Raise it when the same recipe would give other weights: it is part of the key of what trains.
REVISION = 1

#: Initializer's name → where its weights may differ from zero, bool of the weight's shape.
Masks = Mapping[str, NDArray[Any]]


def train(
    network: Network,
    data: Data,
    recipe: Recipe,
    *,
    seed: int,
    context: Context,
    masks: Masks | None = None,
) -> Network:
    """Train on ``data.train`` from the network's own weights; the given network is not changed.

    The same network, data, recipe and seed give the same weights to the bit, also when a killed run
    is resumed: checkpoints go to ``context.checkpoints``. An epoch's loss,
    learning rate and time are appended to ``history.json`` in ``context.folder``. Raises Refused
    where training diverges, for a network that is not float32 or has an operator without PyTorch
    form, and where network and data disagree in shape or classes."""
    from dlas.training.loop import run

    return run(network, data, recipe, seed, context, masks or {})


def train_quantized(
    network: Network,
    data: Data,
    recipe: Recipe,
    *,
    seed: int,
    context: Context,
    masks: Masks,
    learned: bool,
) -> Network:
    """The same for a network with quantized layers, which is rounded in every pass as it will be
    when it runs (Jacob et al. 2018); its graph, and the types in it, stay as they are. ``learned``
    trains scales too. ``masks`` name integers' initializers."""
    from dlas.training.loop import run_quantized

    return run_quantized(network, data, recipe, seed, context, masks, learned)
