"""``cheapest``: for every layer the primitive with the lowest estimated cost."""

from __future__ import annotations

import math
from typing import ClassVar

from dlas.algorithms.base import Algorithm
from dlas.algorithms.depthwise import Depthwise
from dlas.algorithms.grouped_spatial_pack import GroupedSpatialPack
from dlas.algorithms.register_tile import PER_WEIGHT
from dlas.algorithms.spatial_pack import SpatialPack
from dlas.algorithms.winograd import Winograd, Winograd4
from dlas.network import LayerRow, Network
from dlas.plan import Plan, Step

#: Output channels in a vector, taken as AVX-512's: a plan is made before the target is known.
VECTOR = 16
#: Multiply-adds in the time that one element of a transformed tile takes, of inputs or outputs:
#: 22 to 28 measured on a Zen 5 core, half as many on a Zen 4, which multiplies half as fast.
PER_TRANSFORMED = 20
#: A grouped layer's multiply-adds take longer: with few outputs for each pixel there are as many
#: loads as multiply-adds. Measured 1.2 to 1.4 on a Zen 5 core, with 8 and 16 channels in a group.
GROUPED = 1.3
#: Places that one register tile takes in.
AT_ONCE = 16


class Cheapest(Algorithm, frozen=True, kw_only=True):
    """Depthwise, spatial pack, grouped or not, or Winograd where its multiplications saved outweigh
    its larger weights and its transforms. An estimate, the same for every machine: a plan is made
    before the target is known."""

    name: ClassVar[str] = "cheapest"

    def plan(self, network: Network) -> Plan:
        return Plan(self.name, tuple(self.step(row) for row in network.layers))

    def step(self, row: LayerRow) -> Step:
        if row.op == "dense":
            return Step(row.name, "gemm")
        if Depthwise().refuses_layer(row) is None:
            return Step(row.name, Depthwise.name)
        taps, places = math.prod(row.kernel), math.prod(row.output_hw)
        costs = {}
        if SpatialPack().refuses_layer(row) is None:
            costs[SpatialPack.name] = products_cost(row, taps, places)
        if row.groups % VECTOR == 0:  # every lane is a group, and no vector spans any
            costs[GroupedSpatialPack.name] = weights_cost(row, row.weights, places)
        if not costs:
            return SpatialPack().step(row)
        if Winograd().refuses_layer(row) is None:
            for primitive in (Winograd, Winograd4):
                costs[primitive.name] = winograd_cost(row, primitive.outputs)
        return Step(row.name, min(costs, key=lambda name: costs[name]))


def products_cost(row: LayerRow, taps: int, places: int) -> float:
    """``weights_cost`` of so many matrices of weights at so many places. A vector of output
    channels that spans groups multiplies the inputs of all of them."""
    outputs = row.out_channels // row.groups
    spanned = min(row.groups, math.ceil(VECTOR / outputs))
    weights = row.out_channels * taps * spanned * (row.in_channels // row.groups)
    return weights_cost(row, weights, places)


def weights_cost(row: LayerRow, weights: int, places: int) -> float:
    """Of multiplying by so many weights at so many places, and of reading them once, which passes
    unseen where all places are one register tile."""
    slowness = GROUPED if row.groups > 1 else 1.0
    if places <= AT_ONCE:
        return weights * max(places * slowness, PER_WEIGHT)
    return weights * (places * slowness + PER_WEIGHT)


def winograd_cost(row: LayerRow, m: int) -> float:
    """Of F(m×m, 3×3), in multiply-adds."""
    elements = (m + 2) ** 2
    tiles = math.prod(math.ceil(size / m) for size in row.output_hw)
    transformed = elements * tiles * (row.in_channels + row.out_channels)
    return products_cost(row, elements, tiles) + PER_TRANSFORMED * transformed
