"""From the time that zeros promise to the time that was measured, loss by loss.

The promise is the dense stack's time over the expected speedup. A layer in a sparse format adds
what its estimate says beside the multiplications; a layer that stays dense, what its zeros would
have saved; the rest is what neither explains. The losses add up to the difference, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dlas.algorithms.sparse.cost import Cost
from dlas.analysis.sparse_cost import LayerCost, PlanCost

#: Every loss in the order in which it is shown, and what it is.
LOSSES = {
    "pace": "multiplying: at the peak, one by one; dense may save some (Winograd)",
    "idle_lanes": "lanes without an output, zeros that blocks store",
    "pixel_reads": "vectors of pixels, one for every weight",
    "index_reads": "values and offsets",
    "sums": "sums read and written back, rows of weights begun and ended",
    "packing": "pixels packed into tiles; copies, such as im2col",
    "outputs": "bias, activation, writing",
    "weights": "bytes of the format",
    "images": "images that the second cache does not hold",
    "layouts": "images brought into blocks of channels and back",
    "not_converted": "what the zeros of layers that stay dense would have saved",
    "rest": "unexplained: other operators, and what the estimate does not know",
}
#: The parts of an estimate that are losses.
PARTS = tuple(name for name in Cost.__struct_fields__ if name != "products")


@dataclass(frozen=True)
class Explanation:
    """Seconds of one inference, and ``losses`` by the names of ``LOSSES``; a loss below zero is a
    gain. ``estimate_s``: of the dense stack's layers, by the same estimate."""

    expected_speedup: float
    estimate_s: float
    dense_s: float
    stack_s: float
    losses: Mapping[str, float]

    @property
    def expected_s(self) -> float:
        return self.dense_s / self.expected_speedup

    @property
    def measured_speedup(self) -> float:
        return self.dense_s / self.stack_s


def explained(
    cost: PlanCost, slot_s: float, stack_s: float, dense_s: float | None = None
) -> Explanation:
    """``slot_s``: seconds of a slot; ``stack_s``, ``dense_s``: measured, of the stack and of the
    same with dense weights. That time is shared among the dense layers as the estimate says;
    None: where it was not measured, it is the estimate itself."""
    estimate_s = slot_s * cost.dense
    before_s = estimate_s if dense_s is None else dense_s
    dense_slot_s = before_s / cost.dense
    sparse = [layer.sparse for layer in cost.layers if layer.sparse is not None]
    kept = [layer for layer in cost.layers if layer.sparse is None]
    parts = {
        name: slot_s * math.fsum(float(getattr(found, name)) for found in sparse) for name in PARTS
    }
    ideal_s = slot_s * math.fsum(found.products for found in sparse)
    ideal_s += dense_slot_s * math.fsum(layer.dense * layer.left for layer in kept)
    losses = {
        "pace": ideal_s - before_s / cost.expected_speedup,
        **parts,
        "layouts": slot_s * cost.layouts,
        "not_converted": dense_slot_s * math.fsum(map(_unsaved, kept)),
    }
    known_s = before_s / cost.expected_speedup + math.fsum(losses.values())
    losses["rest"] = stack_s - known_s
    return Explanation(cost.expected_speedup, estimate_s, before_s, stack_s, losses)


def _unsaved(layer: LayerCost) -> float:
    return layer.kept - layer.dense * layer.left
