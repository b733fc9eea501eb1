"""``cheapest``: for every layer the primitive with the lowest estimated cost."""

from __future__ import annotations

import math
from typing import ClassVar

from dlas.algorithms.base import Algorithm
from dlas.algorithms.depthwise import Depthwise
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
#: Places that one register tile takes in.
AT_ONCE = 16


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
        if SpatialPack().refuses_layer(row) is not None:
            return SpatialPack().step(row)
        taps = row.kernel[0] * row.kernel[1]
        costs = {SpatialPack.name: products_cost(row, taps, math.prod(row.output_hw))}
        if Winograd().refuses_layer(row) is None:
            for primitive in (Winograd, Winograd4):
                costs[primitive.name] = winograd_cost(row, primitive.outputs)
        return Step(row.name, min(costs, key=lambda name: costs[name]))


def products_cost(row: LayerRow, taps: int, places: int) -> int:
    """Of multiplying, at so many places, so many matrices of weights, and of reading them once,
    which passes unseen where all places are one register tile. A vector of output channels that
    spans groups multiplies the inputs of all of them."""
    outputs = row.out_channels // row.groups
    spanned = min(row.groups, math.ceil(VECTOR / outputs))
    weights = row.out_channels * taps * spanned * (row.in_channels // row.groups)
    if places <= AT_ONCE:
        return weights * max(places, PER_WEIGHT)
    return weights * (places + PER_WEIGHT)


def winograd_cost(row: LayerRow, m: int) -> int:
    """Of F(m×m, 3×3), in multiply-adds."""
    elements = (m + 2) ** 2
    tiles = math.prod(math.ceil(size / m) for size in row.output_hw)
    transformed = elements * tiles * (row.in_channels + row.out_channels)
    return products_cost(row, elements, tiles) + PER_TRANSFORMED * transformed
