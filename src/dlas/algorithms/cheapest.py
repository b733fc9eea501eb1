"""``cheapest``: for every layer the primitive with the lowest estimated cost."""

from __future__ import annotations

import math
from typing import ClassVar

from dlas.algorithms.base import Algorithm
from dlas.algorithms.depthwise import Depthwise
from dlas.algorithms.spatial_pack import SpatialPack
from dlas.algorithms.winograd import Winograd, Winograd4
from dlas.network import LayerRow, Network
from dlas.plan import Plan, Step

#: Multiply-adds in the time that one weight takes from memory: 12 on a Zen 4 core (58 GMAC/s,
#: 20 GB/s), 13 on a Zen 5 core.
PER_WEIGHT = 12
#: The same for one element of a transformed tile, of inputs or outputs: measured, 6 to 10.
PER_TRANSFORMED = 8


class Cheapest(Algorithm, frozen=True, kw_only=True):
    """Depthwise, spatial pack, or Winograd where its multiplications saved outweigh its larger
    weights and its transforms. An estimate, the same for every machine: a plan is made before the
    target is known."""

    name: ClassVar[str] = "cheapest"

    def plan(self, network: Network) -> Plan:
        return Plan(self.name, tuple(self.step(row) for row in network.layers))

    def step(self, row: LayerRow) -> Step:
        if row.op == "dense":
            return Step(row.name, "gemm")
        if Depthwise().refuses_layer(row) is None:
            return Step(row.name, Depthwise.name)
        costs = {SpatialPack.name: row.macs + PER_WEIGHT * row.weights}
        if Winograd().refuses_layer(row) is None and row.groups == 1:
            for primitive in (Winograd, Winograd4):
                costs[primitive.name] = winograd_cost(row, primitive.outputs)
        return Step(row.name, min(costs, key=lambda name: costs[name]))


def winograd_cost(row: LayerRow, m: int) -> int:
    """Of F(m×m, 3×3), in multiply-adds."""
    elements = (m + 2) ** 2
    weights = elements * row.in_channels * row.out_channels
    tiles = math.prod(math.ceil(size / m) for size in row.output_hw)
    transformed = elements * tiles * (row.in_channels + row.out_channels)
    return tiles * weights + PER_WEIGHT * weights + PER_TRANSFORMED * transformed
