"""Removing channels with all that depends on them, through torch-pruning's dependency graph.

Imports torch: import this file inside functions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from numpy.typing import NDArray
from torch import Tensor, nn

from dlas.errors import Refused
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
        #: Which numbers of the first network's parameters and statistics are still there, by the
        #: node that reads them and the position among its inputs.
        self.staying: dict[tuple[str, int], NDArray[np.bool_]] = {}

    def prune(self, network: Network, share: float) -> Network:
        """The network without ``share`` of its prunable channels; itself where nothing is to go.

        Refused where torch-pruning misses what depends on them: the result is compared with a
        network in which the layers that read the channels give them no weight."""
        if share == 0:
            return network
        module = to_torch(network, trainable=True).eval()
        images = torch.randn(1, *network.input_shape, generator=torch.Generator().manual_seed(0))
        # In a tuple: torch-pruning would first try every image of a tensor as an argument.
        graph = tp.DependencyGraph().build_dependency(module, (images,))
        groups = _groups(graph, module, network)
        for group in groups:
            self.at_first.setdefault(group.root, len(group.norms))
        removals = {}
        for group, count in zip(groups, self._counts(groups, share), strict=True):
            keep = min(self._rounded(len(group.norms) - count), len(group.norms))
            going = torch.argsort(group.norms, stable=True)[: len(group.norms) - keep].tolist()
            if going:
                removals[module.get_submodule(group.root)] = going
        state = module.state_dict()
        gone = {link.parameter: torch.zeros(state[link.parameter].shape, dtype=torch.bool)
                for link in module.links}  # fmt: skip
        paths = {layer: path for path, layer in module.named_modules()}
        with torch.no_grad():
            for layer, going in removals.items():
                dependent = _dependent(graph, layer, going)
                _silence(graph, dependent)
                _mark(graph, dependent, paths, gone)
            expected = module(images)
            for layer, going in removals.items():
                _dependent(graph, layer, going).prune()
            _check_equal(module, images, expected)
        for link in module.links:
            stays = (~gone[link.parameter]).numpy()
            place = self.staying.setdefault((link.node, link.position), np.ones_like(stays))
            place[place] = stays.ravel()
        return write_back(network, module)

    def restored(self, first: Network, pruned: Network) -> Network:
        """The pruned network in the shape of the first: the channels that went are there again with
        zeros for their filters, biases, BatchNorm's scale and shift, and the weights that read
        them. It computes the same scores."""
        if not self.staying:
            return pruned
        module, small = to_torch(first, trainable=True), to_torch(pruned, trainable=True)
        state, left = module.state_dict(), small.state_dict()
        names = {(link.node, link.position): link.parameter for link in small.links}
        for link in module.links:
            place, value = (link.node, link.position), state[link.parameter]
            if not link.name.startswith("running"):  # statistics, which a scale of zero silences
                value.zero_()
            value[torch.from_numpy(self.staying[place])] = left[names[place]].flatten()
        return write_back(first, module)

    def _counts(self, groups: list[Group], share: float) -> list[int]:
        """How many channels each group loses, before rounding."""
        present = [len(group.norms) for group in groups]
        at_first = [self.at_first[group.root] for group in groups]
        if self.scope == "layer" or not groups:
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
        norms = torch.zeros(graph.get_out_channels(root))
        for item in dependent.items:
            layer = item.dep.target.module
            if isinstance(layer, PRUNABLE) and graph.is_out_channel_pruning_fn(item.dep.handler):
                norm = layer.weight.detach().abs().flatten(1).sum(1)
                if max(item.idxs) >= len(norm):
                    raise _lost(f"{paths[layer]} has no channel {max(item.idxs)}")
                norms.index_add_(0, torch.tensor(item.root_idxs), norm[item.idxs])
        found.append(Group(paths[root], norms))
    return found


def _dependent(graph: Any, layer: nn.Module, channels: list[int]) -> Any:
    """What must go with the layer's output channels, as torch-pruning sees it now."""
    remove = graph.get_pruner_of_module(layer).prune_out_channels
    return graph.get_pruning_group(layer, remove, channels)


def _silence(graph: Any, dependent: Any) -> None:
    """Zero the weights that read channels about to be removed: those go as well."""
    for item in dependent.items:
        layer, handler = item.dep.target.module, item.dep.handler
        reads = graph.is_in_channel_pruning_fn(handler)
        if isinstance(layer, PRUNABLE) and reads and not graph.is_out_channel_pruning_fn(handler):
            layer.weight[:, item.idxs] = 0


def _mark(graph: Any, dependent: Any, paths: dict[nn.Module, str], gone: dict[str, Tensor]) -> None:
    """Say of all numbers that belong to channels about to be removed that they are gone."""
    for item in dependent.items:
        layer, handler = item.dep.target.module, item.dep.handler
        if layer not in paths:  # an operator of the graph
            continue
        writes = not isinstance(layer, PRUNABLE) or graph.is_out_channel_pruning_fn(handler)
        for name in ("weight", "bias", "running_mean", "running_var"):
            mark = gone.get(f"{paths[layer]}.{name}")
            if mark is not None and writes:
                mark[item.idxs] = True
            elif mark is not None and name == "weight":
                mark[:, item.idxs] = True


def _check_equal(module: nn.Module, images: Tensor, expected: Tensor) -> None:
    try:
        found = module(images)
    except RuntimeError as error:  # sizes that do not fit
        raise _lost(str(error).strip().partition("\n")[0]) from None
    close = 1e-4 * float(expected.abs().max())
    if not torch.allclose(found, expected, rtol=1e-3, atol=close, equal_nan=True):
        raise _lost("the scores change")


def _lost(what: str) -> Refused:
    return Refused(f"torch-pruning cannot follow this network's channels: {what}")
