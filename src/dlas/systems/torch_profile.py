"""Where the time of a network in PyTorch goes: its graph, run operator by operator.

Imports torch: import this file inside functions only.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from dlas.measure.protocol import LayerTime
from dlas.measure.statistics import median
from dlas.network import Network
from dlas.network.torch_module import TorchNetwork

#: Nodes of a graph that compute nothing.
NO_OPERATORS = ("placeholder", "get_attr", "output")
LAYOUTS = ("Flatten", "flatten", "reshape", "view", "permute", "transpose", "squeeze", "pad")


class _Clock(fx.Interpreter):
    """Runs a module's graph, with the seconds of every node in order."""

    def __init__(self, module: TorchNetwork) -> None:
        super().__init__(module)
        self.seconds: dict[fx.Node, list[float]] = {}

    def run_node(self, n: fx.Node) -> Any:
        start = time.perf_counter()
        result = super().run_node(n)
        self.seconds.setdefault(n, []).append(time.perf_counter() - start)
        return result


def profile(
    module: TorchNetwork, network: Network, images: NDArray[np.float32], count: int
) -> tuple[LayerTime, ...]:
    """Medians over ``count`` runs."""
    names = {node.output[0]: node.name for node in network.model.graph.node}
    rows = {row.name for row in network.layers}
    owners = {link.layer: names[link.node] for link in module.links if names[link.node] in rows}
    clock = _Clock(module)
    with torch.inference_mode():
        for _ in range(count + 1):  # the first one warms up
            clock.run(torch.from_numpy(images))
    return tuple(
        _row(module, node, median(seconds[1:]), owners.get(str(node.target)))
        for node, seconds in clock.seconds.items()
        if node.op not in NO_OPERATORS
    )


def _row(module: TorchNetwork, node: fx.Node, seconds: float, layer: str | None) -> LayerTime:
    if node.op == "call_module":
        op = type(module.get_submodule(str(node.target))).__name__
    else:
        op = getattr(node.target, "__name__", str(node.target))
    return LayerTime(
        name=node.name,
        op=op,
        seconds=seconds,
        kind="layer" if layer else "layout" if op in LAYOUTS else "other",
        layers=(layer,) if layer else (),
    )
