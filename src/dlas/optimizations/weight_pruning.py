"""``weight_pruning``: the weights of least magnitude become zero."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec

from dlas.context import Context
from dlas.data import Data
from dlas.errors import SpecError
from dlas.layer import InputPath, distribution_version
from dlas.network import Network
from dlas.optimizations.allocation import allocated, write_report
from dlas.optimizations.gradual import GradualPruning
from dlas.optimizations.magnitude import magnitude_masks, masks_with_zeros, zeroed
from dlas.optimizations.sensitivity import HIGHEST, measured
from dlas.training import Masks

#: Channels; the weight format bsr has no larger blocks.
Side = Annotated[int, msgspec.Meta(ge=1, le=64)]


class WeightPruning(GradualPruning, frozen=True, kw_only=True):
    """Sets the share ``sparsity`` of the weights to zero, those of least magnitude (Han et al.
    2015), in all convolutions and dense layers, the first and the classifier among them; biases and
    BatchNorm are neither pruned nor counted. What is zero already counts, and stays zero.

    ``block``: weights go in blocks of so many output × input channels at one tap of the kernel, by
    their mean magnitude; input channels are those of a group, so that blocks of depthwise layers
    have one: the blocks of the weight format bsr. The share is then exact to one block.

    ``scope``: least in the whole network ("global"), in each layer ("layer"), or in each layer to a
    sparsity of its own, chosen by what the layer gains per loss ("gain"). For that every layer is
    pruned alone to several levels; how far the scores of the first ``samples`` calibration images
    then move is the loss (``dlas.optimizations.sensitivity``). The gain is MACs saved, or seconds
    where ``costs`` names a JSON file of them, ``{layer: {share of zeros: seconds}}``.
    ``sparsities.json`` beside the network says what was measured and chosen.

    ``fine_tune`` trains the other weights after each of ``steps`` steps of growing sparsity
    (``dlas.optimizations.gradual``)."""

    name: ClassVar[str] = "weight_pruning"
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    modules: ClassVar[tuple[str, ...]] = ("torch",)
    extra: ClassVar[str] = "torch"

    scope: Literal["global", "layer", "gain"] = "global"
    block: tuple[Side, Side] = (1, 1)
    samples: Annotated[int, msgspec.Meta(ge=1)] = 64
    costs: InputPath | None = None

    def check(self, path: str) -> None:
        super().check(path)
        if self.scope == "gain" and self.sparsity > HIGHEST:
            raise SpecError(
                f"{path}.sparsity",
                f'scope = "gain" measures layers up to {HIGHEST:g}; {self.sparsity:g} is above',
            )
        if self.scope != "gain" and self.costs is not None:
            raise SpecError(f"{path}.costs", 'only scope = "gain" reads costs; leave one out')

    def tools(self) -> dict[str, str]:
        runs = {"onnxruntime": distribution_version("onnxruntime")}
        return {**super().tools(), **(runs if self.scope == "gain" else {})}

    def apply(self, network: Network, data: Data, context: Context) -> Network:
        """Raises InputError for too few calibration images, scores that are not finite, and a file
        of costs that lacks a layer or holds something else."""
        if self.scope == "gain":
            return self._by_gain(network, data, context)
        scope = self.scope

        def prune(network: Network, share: float) -> tuple[Network, Masks]:
            masks = magnitude_masks(network, share, scope, self.block)
            return zeroed(network, masks), masks

        return self.prune_gradually(network, data, context, prune)

    def _by_gain(self, network: Network, data: Data, context: Context) -> Network:
        """Layers are measured once: a later step goes on where the earlier one ended."""
        costs = Path(self.costs) if self.costs else None
        curves = measured(network, data, self.block, self.samples, costs, context)
        total = sum(curve.weights for curve in curves)

        def prune(network: Network, share: float) -> tuple[Network, Masks]:
            masks = masks_with_zeros(network, allocated(curves, round(share * total)), self.block)
            return zeroed(network, masks), masks

        pruned = self.prune_gradually(network, data, context, prune)
        write_report(context.folder, curves, pruned)
        return pruned
