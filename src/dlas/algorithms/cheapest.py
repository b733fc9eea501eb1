"""``cheapest``: for every layer the primitive with the lowest estimated cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from dlas.algorithms.dense_cost import VECTOR, dense_cost
from dlas.algorithms.depthwise import Depthwise
from dlas.algorithms.formatted import SHIFTS, Formatted
from dlas.algorithms.grouped_spatial_pack import GroupedSpatialPack
from dlas.algorithms.primitive import Layout
from dlas.algorithms.spatial_pack import SpatialPack
from dlas.algorithms.winograd import Winograd, Winograd4
from dlas.network import LayerRow, Network
from dlas.plan import Plan, Step


class Cheapest(Formatted, frozen=True, kw_only=True):
    """Depthwise, spatial pack, grouped or not, or Winograd where its multiplications saved outweigh
    its larger weights and its transforms; with a sparse ``format``, of each layer's dense and
    sparse forms the cheapest. An estimate, the same for every machine: a plan is made before the
    target is known."""

    name: ClassVar[str] = "cheapest"

    def plan(self, network: Network) -> Plan:
        return self.formatted(Plan(self.name, tuple(map(self.step, self.rows(network)))), network)

    def step(self, row: LayerRow) -> Step:
        if row.op == "dense":
            return Step(row.name, "gemm")
        if Depthwise().refuses_layer(row) is None:
            return Step(row.name, Depthwise.name)
        names = []
        if SpatialPack().refuses_layer(row) is None:
            names.append(SpatialPack.name)
        if row.groups % VECTOR == 0:  # every lane is a group, and no vector spans any
            names.append(GroupedSpatialPack.name)
        if not names:
            return SpatialPack().step(row)
        if Winograd().refuses_layer(row) is None:
            names += [Winograd.name, Winograd4.name]
        return Step(row.name, min(names, key=lambda name: dense_cost(name, row)))

    def sparse_forms(self, step: Step) -> Sequence[str]:
        return tuple(SHIFTS)

    def dense_ways(self, dense: Step, row: LayerRow) -> Sequence[tuple[Step, Layout]]:
        """A depthwise layer between sparse ones may read images as they lie too."""
        ways = list(super().dense_ways(dense, row))
        if dense.primitive == Depthwise.name:
            ways.append((msgspec.structs.replace(dense, primitive="direct"), "plain"))
        return ways
