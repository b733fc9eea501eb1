"""Removing channels with all that depends on them, through torch-pruning's dependency graph.

Imports torch: import this file inside functions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from dlas.network import Network
from dlas.network.channels import fixed_layers
from dlas.network.torch_module import TorchNetwork, to_torch, write_back

PRUNABLE = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Group:
    """Channels that must go together in all layers they touch. ``root``: the path of the layer that
    numbers them; ``norms``: (channels,) the L1 norm of the filters that produce each."""

    root: str
    norms: Tensor


class ChannelRemover:
    """Prunes a network in one or several steps; shares are of the channels it had at first."""

    def __init__(self, scope: str, round_to: int) -> None:
        self.scope, self.round_to = scope, round_to
        self.at_first: dict[str, int] = {}

    def prune(self, network: Network, share: float) -> Network:
        """The network without ``share`` of its prunable channels; itself where nothing is to go."""
        if share == 0:
            return network
        module = to_torch(network, trainable=True).eval()
        image = torch.zeros(1, *network.input_shape)
        graph = tp.DependencyGraph().build_dependency(module, image)
        groups = _groups(graph, module, network)
        if not groups:
            return network
        for group in groups:
            self.at_first.setdefault(group.root, len(group.norms))
        for group, count in zip(groups, self._counts(groups, share), strict=True):
            keep = min(self._rounded(len(group.norms) - count), len(group.norms))
            going = torch.argsort(group.norms, stable=True)[: len(group.norms) - keep].tolist()
            if going:
                layer = module.get_submodule(group.root)
                remove = graph.get_pruner_of_module(layer).prune_out_channels
                graph.get_pruning_group(layer, remove, going).prune()
        return write_back(network, module)

    def _counts(self, groups: list[Group], share: float) -> list[int]:
        """How many channels each group loses, before rounding."""
        present = [len(group.norms) for group in groups]
        at_first = [self.at_first[group.root] for group in groups]
        if self.scope == "layer":
            gone = zip(at_first, present, strict=True)
            return [max(0, round(share * first) - (first - now)) for first, now in gone]
        total = max(0, round(share * sum(at_first)) - (sum(at_first) - sum(present)))
        scores = [group.norms / group.norms.mean().clamp_min(1e-12) for group in groups]
        for score in scores:  # a layer keeps one channel at least
            score[score.argmax()] = torch.inf
        least = torch.argsort(torch.cat(scores), stable=True)[:total]
        owners = torch.arange(len(groups)).repeat_interleave(torch.tensor(present))
        return torch.bincount(owners[least], minlength=len(groups)).tolist()

    def _rounded(self, channels: int) -> int:
        """The nearest multiple, at least one."""
        return max(1, round(channels / self.round_to)) * self.round_to


def _groups(graph: Any, module: TorchNetwork, network: Network) -> list[Group]:
    fixed = fixed_layers(network.model)
    names = {node.output[0]: node.name for node in network.model.graph.node}
    staying = {link.layer for link in module.links if names[link.node] in fixed}
    ignored = [module.get_submodule(path) for path in sorted(staying)]
    paths = {layer: path for path, layer in module.named_modules()}
    found = []
    for dependent in graph.get_all_groups(ignored_layers=ignored, root_module_types=PRUNABLE):
        root = dependent[0].dep.target.module
        channels = graph.get_out_channels(root)
        norms = torch.zeros(channels)
        for item in dependent.items:
            layer = item.dep.target.module
            if isinstance(layer, PRUNABLE) and graph.is_out_channel_pruning_fn(item.dep.handler):
                norm = layer.weight.detach().abs().flatten(1).sum(1)
                norms.index_add_(0, torch.tensor(item.root_idxs), norm[item.idxs])
        found.append(Group(paths[root], norms))
    return found
