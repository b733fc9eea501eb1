"""What every layer of a plan costs by estimate, in slots (``algorithms.sparse.cost``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlas.algorithms.dense_cost import dense_cost
from dlas.algorithms.formats.stored import Floats
from dlas.algorithms.formatted import SHIFTS, in_blocks
from dlas.algorithms.sparse.cost import Cost, Machine, Stored, cost, tiles
from dlas.analysis.layouts import Change, layout_changes
from dlas.network import LayerRow, Network
from dlas.plan import Plan, Step


@dataclass(frozen=True)
class LayerCost:
    """Of one layer: ``dense`` as the dense plan computes it, ``sparse`` part by part where its
    weights are in a sparse format, else None and ``kept`` is what its dense step costs."""

    row: LayerRow
    step: Step
    dense: float
    kept: float
    sparse: Cost | None = None

    @property
    def total(self) -> float:
        return self.kept if self.sparse is None else self.sparse.total

    @property
    def left(self) -> float:
        """Share of the weights that are not zero."""
        return self.row.nonzeros / max(1, self.row.weights)


@dataclass(frozen=True)
class PlanCost:
    """Of a plan on a machine. ``changes``: of images' layouts, those that the dense plan lacks."""

    layers: Sequence[LayerCost]
    changes: Sequence[Change]
    machine: Machine

    @property
    def dense(self) -> float:
        return math.fsum(layer.dense for layer in self.layers)

    @property
    def layouts(self) -> float:
        return math.fsum(change.slots(self.machine) for change in self.changes)

    @property
    def total(self) -> float:
        return math.fsum([*(layer.total for layer in self.layers), self.layouts])

    @property
    def expected_speedup(self) -> float:
        """Multiply-accumulates, those with zeros among them, over those without."""
        macs = sum(layer.row.macs for layer in self.layers)
        return macs / max(1, sum(layer.row.effective_macs for layer in self.layers))


def plan_cost(
    network: Network, plan: Plan, dense: Plan, machine: Machine, templates: bool = True
) -> PlanCost:
    """``dense``: the plan of the same algorithm without a format. ``templates``: whether layers
    take their template forms, dense ones on images in blocks of channels."""
    layers = [
        _layer_cost(row, step, before, network.weight(row), machine)
        for row, step, before in zip(network.layers, plan.steps, dense.steps, strict=True)
    ]
    changes: list[Change] = []
    if templates:
        there = set(layout_changes(network, dense, machine.lanes))
        found = layout_changes(network, plan, machine.lanes)
        changes = [change for change in found if change not in there]
    return PlanCost(layers, changes, machine)


def _layer_cost(
    row: LayerRow, step: Step, dense: Step, weight: Floats, machine: Machine
) -> LayerCost:
    before = dense_cost(dense.primitive, row) / machine.lanes
    kept = dense_cost(step.primitive, row) / machine.lanes
    if not step.is_sparse:
        return LayerCost(row, step, before, kept)
    stored = Stored.of(in_blocks(step.format, weight, row.groups))
    tile = tiles(row, SHIFTS[step.primitive], stored, machine)[0]
    return LayerCost(row, step, before, kept, cost(tile, stored, machine))
