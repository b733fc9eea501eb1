"""Algorithms whose weights may lie in a sparse format: which layers do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
import numpy as np

from dlas.algorithms.base import Algorithm
from dlas.algorithms.dense_cost import dense_cost
from dlas.algorithms.formats import Bsr, weight_format
from dlas.algorithms.formats.stored import Floats
from dlas.algorithms.layouts import Way, cheapest_ways
from dlas.algorithms.primitive import Layout
from dlas.algorithms.sparse.cost import Cost, Machine, Stored, cost, tiles
from dlas.algorithms.sparse.form import SparseForm
from dlas.algorithms.sparse.packed import ungrouped
from dlas.algorithms.sparse.tile import Shifts
from dlas.errors import SpecError
from dlas.network import LayerRow, Network
from dlas.network.compact import compact
from dlas.plan import DENSE, KEPT, Plan, Step, pattern_of

#: What a primitive's sparse form copies while it packs pixels.
SHIFTS: Mapping[str, Shifts] = {
    "direct": Shifts(False, False),
    "spatial_pack": Shifts(False, True),
    "gemm": Shifts(True, True),
}
#: The machine that stands for the target while a plan is made.
USUAL = Machine()


class Formatted(Algorithm, frozen=True, kw_only=True):
    """``format``: how weights are stored, ``dense``, ``csr``, ``kept_channels`` or ``bsr_RxC``
    (blocks of R output by C input channels, as in ``bsr_16x1``). ``csr`` and ``bsr`` skip zeros
    wherever they are; a layer takes the format where its share of zeros is at least ``threshold``,
    by default where an estimate says that it is faster than dense. ``kept_channels`` leaves out
    channels that are zero as a whole."""

    format: str = DENSE
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None

    def check(self, path: str) -> None:
        kind = weight_format(self.format, f"{path}.format").kind
        if self.threshold is not None and kind not in ("csr", "bsr"):
            raise SpecError(f"{path}.threshold", f"is for csr and bsr, not for {self.format}")

    def refuses(self, network: Network) -> str | None:
        if self.format == DENSE:
            return None
        if network.dtype != "float32":
            return (
                f"format = {self.format!r} stores float32 weights, and this network is "
                f"{network.dtype}: format = 'dense'"
            )
        if network.nonzeros == sum(row.weights for row in network.layers):
            return (
                f"format = {self.format!r} skips weights that are zero, and this network has none: "
                "prune it before (weight_pruning, channel_pruning with keep_shape), or "
                "format = 'dense'"
            )
        if self.format == KEPT and compact(network) is network:
            return (
                "format = 'kept_channels' leaves out channels that are always zero, and this "
                "network has none: channel_pruning with keep_shape makes such, csr skips single "
                "weights"
            )
        return None

    def rows(self, network: Network) -> tuple[LayerRow, ...]:
        """The layers as they are computed: without the channels that the format leaves out."""
        return (compact(network) if self.format == KEPT else network).layers

    def formatted(self, dense: Plan, network: Network) -> Plan:
        """The plan with this format in the layers where it applies."""
        if self.format == DENSE:
            return dense
        pairs = list(zip(dense.steps, network.layers, strict=True))
        if self.format == KEPT:
            steps = [in_format(step, KEPT, network.weight(row)) for step, row in pairs]
        else:
            ways = [self.ways(step, row, network.weight(row)) for step, row in pairs]
            steps = cheapest_ways(network.layers, ways)
        return Plan(dense.algorithm, tuple(steps))

    def ways(self, dense: Step, row: LayerRow, weight: Floats) -> Sequence[Way]:
        """Those of a layer: its dense step, and with weights (K, C/G, R, S) in this format."""
        zeros = 1 - row.nonzeros / row.weights
        forms = () if is_tokens(row) else self.sparse_forms(dense)
        reason = (
            f"not faster with {zeros:.0%} zeros" if forms else f"{dense.primitive} has no such form"
        )
        if self.threshold is not None and zeros < self.threshold:
            forms, reason = (), f"{zeros:.0%} zeros, below the threshold"
        sparse = [
            Way(
                in_format(msgspec.structs.replace(dense, primitive=form), self.format, weight),
                "plain",
                least_cost(row, form, self.format, weight).total * USUAL.lanes,
            )
            for form in forms
        ]
        if self.threshold is not None and sparse:
            return sparse
        others = [
            Way(
                noted(step, f"not {self.format}: {reason}"), layout, dense_cost(step.primitive, row)
            )
            for step, layout in self.dense_ways(dense, row)
        ]
        return [*others, *sparse]

    def dense_ways(self, dense: Step, row: LayerRow) -> Sequence[tuple[Step, Layout]]:
        """The steps that compute it dense, and how the images lie that they read and write."""
        return [(dense, "plain" if dense.primitive == "direct" else "blocked")]

    def stored(self, name: str, weight: Floats, groups: int) -> Bsr:
        """See ``in_blocks``."""
        return in_blocks(name, weight, groups)

    @property
    def sparse(self) -> SparseForm:
        """The form of a primitive for weights in a sparse format."""
        return SparseForm(self.name, SHIFTS[self.name])

    def sparse_forms(self, step: Step) -> Sequence[str]:
        """The primitives that may compute the layer of a dense step in a sparse format."""
        return (step.primitive,) if step.primitive in SHIFTS else ()


def in_format(step: Step, name: str, weight: Floats) -> Step:
    return msgspec.structs.replace(step, format=name, pattern=pattern_of(weight))


def noted(step: Step, note: str) -> Step:
    return msgspec.structs.replace(step, note="; ".join(filter(None, (step.note, note))))


def is_tokens(row: LayerRow) -> bool:
    """Whether a dense layer is applied more than once."""
    return row.op == "dense" and row.output_hw != (1, 1)


def least_cost(row: LayerRow, primitive: str, name: str, weight: Floats) -> Cost:
    """Of the cheapest tile on the usual machine; weight (K, C/G, R, S)."""
    found = Stored.of(in_blocks(name, weight, row.groups))
    return cost(tiles(row, SHIFTS[primitive], found, USUAL)[0], found, USUAL)


def in_blocks(name: str, weight: Floats, groups: int) -> Bsr:
    """weight (K, C/G, R, S) in the sparse format of that name, the groups in one matrix; CSR as
    blocks of one weight."""
    block = weight_format(name).block
    return Bsr.of(np.ascontiguousarray(ungrouped(weight, groups), np.float32), block)
