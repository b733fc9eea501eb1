"""``channel_pruning``: whole channels are removed, so that every system gains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec

from dlas.context import Context
from dlas.data import Data
from dlas.network import Network
from dlas.network.channels import fixed_layers
from dlas.optimizations.gradual import GradualPruning
from dlas.training import Masks

REPORT = "channels.json"


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """Output channels of a layer before and after; ``kept_because`` says why all of them stay."""

    layer: str
    before: int
    after: int
    kept_because: str = ""


class ChannelPruning(GradualPruning, frozen=True, kw_only=True):
    """Removes the share ``sparsity`` of the prunable channels: those whose filters have the least
    L1 norm (Li et al. 2017), with all that depends on them (torch-pruning's dependency graph, Fang
    et al. 2023). Channels that sums or depthwise convolutions tie together go together, by the sum
    of their norms. The class scores stay, and so do channels that cannot be followed through the
    graph (``dlas.network.channels``); ``channels.json`` beside the network says which and why.

    ``scope``: each layer loses this share, or the network as a whole, norms being divided by their
    layer's mean. A layer keeps a multiple of ``round_to`` channels, the nearest, at least one.
    ``fine_tune`` trains the rest after each of ``steps`` steps of growing sparsity
    (``dlas.optimizations.gradual``).

    ``keep_shape``: in the end, after training, the channels are put back as zeros, with zeros for
    all that belongs to them: the network has its old shape and computes what the smaller one does,
    for weight formats that leave zero channels out."""

    name: ClassVar[str] = "channel_pruning"
    distributions: ClassVar[tuple[str, ...]] = ("torch", "torch-pruning")
    modules: ClassVar[tuple[str, ...]] = ("torch", "torch_pruning")
    extra: ClassVar[str] = "torch"

    scope: Literal["global", "layer"] = "layer"
    round_to: Annotated[int, msgspec.Meta(ge=1)] = 1
    keep_shape: bool = False

    def refuses(self, network: Network) -> str | None:
        sentence = super().refuses(network)
        if sentence:
            return sentence
        fixed = fixed_layers(network.model)
        if self.sparsity > 0 and all(row.name in fixed for row in network.layers):
            first = network.layers[0].name
            return f"channel_pruning can remove no channel here; of {first!r}, {fixed[first]}"
        return None

    def apply(self, network: Network, data: Data, context: Context) -> Network:
        from dlas.optimizations.dependency import ChannelRemover

        remover = ChannelRemover(self.scope, self.round_to)

        def prune(network: Network, share: float) -> tuple[Network, Masks]:
            return remover.prune(network, share), {}

        pruned = self.prune_gradually(network, data, context, prune)
        _write_report(context.folder, network, pruned)
        return remover.restored(network, pruned) if self.keep_shape else pruned


def _write_report(folder: Path, before: Network, after: Network) -> None:
    reasons = fixed_layers(before.model)
    rows = [
        LayerReport(
            layer=old.name,
            before=old.out_channels,
            after=new.out_channels,
            kept_because=reasons.get(old.name, ""),
        )
        for old, new in zip(before.layers, after.layers, strict=True)
    ]
    (folder / REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1))
