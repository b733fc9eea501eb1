"""``best``: every layer in whichever way is fastest with the others, left to the system to measure.

The search space is that of Anderson and Gregg 2018, "Optimal DNN Primitive Selection with
Partitioned Boolean Quadratic Programming" (CGO), with formats of weights added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec

from dlas.algorithms.base import Algorithm
from dlas.algorithms.cheapest import Cheapest
from dlas.algorithms.dense_cost import dense_cost
from dlas.algorithms.formats import weight_format
from dlas.algorithms.formatted import SHIFTS, in_format, is_tokens, noted
from dlas.errors import SpecError
from dlas.layer import member
from dlas.network import LayerRow, Network
from dlas.plan import DENSE, NARROW, Plan, Step, Way

PrimitiveName = Literal[
    "direct", "gemm", "spatial_pack", "grouped_spatial_pack", "depthwise", "winograd", "winograd4"
]
PRIMITIVES: tuple[PrimitiveName, ...] = get_args(PrimitiveName)
#: What a layer of narrower numbers may be computed in, and the primitives that may be worth it.
Precision = Literal["float32"]
IN_FLOAT32 = ("spatial_pack", "grouped_spatial_pack", "depthwise", "winograd", "winograd4")
#: The fewest float32 lanes of a vector.
FEWEST_LANES = 4


class Best(Algorithm, frozen=True, kw_only=True):
    """Every way of ``primitives`` that computes a layer, and where at least ``threshold`` of its
    weights are zero those that skip them (``formats``: csr, bsr_RxC). A system with templates
    measures or predicts them, with every change of layout between them, and takes the least in
    all. Layers that none of the primitives computes are as ``cheapest`` has them.

    ``precisions``: what a convolution of int8 or bfloat16 may be computed in as well. The network
    means the same: its numbers are rounded where it says so, and a narrower type than its own is
    never taken, for that is another network."""

    name: ClassVar[str] = "best"

    primitives: tuple[PrimitiveName, ...] = PRIMITIVES
    formats: tuple[str, ...] = ("csr",)
    precisions: tuple[Precision, ...] = ("float32",)
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3

    def check(self, path: str) -> None:
        if not self.primitives:
            raise SpecError(f"{path}.primitives", "an empty list leaves no way; name one")
        for field in ("primitives", "formats", "precisions"):
            names = getattr(self, field)
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise SpecError(f"{path}.{field}[{index}]", f"{name!r} stands there twice")
        for index, name in enumerate(self.formats):
            place = f"{path}.formats[{index}]"
            if weight_format(name, place).kind not in ("csr", "bsr"):
                raise SpecError(place, f"{name!r} skips no single zeros; csr and bsr_RxC do")

    def plan(self, network: Network) -> Plan:
        return Plan(self.name, tuple(self.step(row, network) for row in network.layers))

    def step(self, row: LayerRow, network: Network) -> Step:
        """Dense, in the way that is cheapest by estimate, with all ways that there are."""
        usual = Cheapest().step(row)
        dense = distinct(self.dense_ways(row), row, usual.primitive)
        if not dense:
            return noted(usual, f"computed by none of {', '.join(self.primitives)}")
        if usual.primitive not in {way.primitive for way in dense}:
            least = min(dense, key=lambda way: dense_cost(way.primitive, row))
            usual = Step(row.name, least.primitive)
        sparse = distinct(self.sparse_ways(row, network), row)
        wide = distinct(self.wide_ways(row), row)
        if len(dense) + len(sparse) + len(wide) == 1:
            return usual
        step = msgspec.structs.replace(usual, ways=(*dense, *sparse, *wide))
        return in_format(step, step.format, network.weight(row)) if sparse else step

    def dense_ways(self, row: LayerRow) -> Sequence[Way]:
        """A dense layer is a matrix product whichever way the convolutions are computed."""
        if row.op == "dense":
            return [Way("gemm")]
        return [Way(name) for name in PRIMITIVES if self.takes(name) and computes(name, row)]

    def sparse_ways(self, row: LayerRow, network: Network) -> Sequence[Way]:
        zeros = 1 - row.nonzeros / row.weights
        if network.dtype != "float32" or zeros < self.threshold or is_tokens(row):
            return []
        return [Way(name, form) for form in self.formats for name in SHIFTS if self.takes(name)]

    def wide_ways(self, row: LayerRow) -> Sequence[Way]:
        """A dense layer is bound by its weights, which are narrow where they are stored so."""
        if row.dtype not in NARROW or row.op == "dense":
            return []
        ways = [Way(n, precision=p) for p in self.precisions for n in IN_FLOAT32 if self.takes(n)]
        return [way for way in ways if computes(way.primitive, way.computed(row))]

    def takes(self, name: str) -> bool:
        return name in self.primitives

    @staticmethod
    def alike(a: Way, b: Way, row: LayerRow) -> bool:
        """Whether two ways of this layer are one kernel in template form, so that only one of them
        is listed."""
        return kernel_of(a, row) == kernel_of(b, row)


def computes(name: str, row: LayerRow) -> bool:
    primitive: Any = member("algorithms", name)()
    return primitive.refuses_layer(row) is None


def distinct(ways: Sequence[Way], row: LayerRow, usual: str = "") -> list[Way]:
    """One way of each kernel: the usual primitive's, or the first."""
    found: dict[Way, Way] = {}
    for way in ways:
        kernel = kernel_of(way, row)
        if way.primitive == usual or kernel not in found:
            found[kernel] = way
    return list(found.values())


def kernel_of(way: Way, row: LayerRow) -> Way:
    """One that stands for all ways of this layer with the same kernel."""
    name = kernel_name(way.primitive, way.format != DENSE, way.computed(row))
    return Way(name, way.format, way.precision)


def kernel_name(name: str, is_sparse: bool, row: LayerRow) -> str:
    if is_sparse:  # what is copied once for every tap
        return "direct" if row.kernel == (1, 1) else name
    columns_are_pixels = row.kernel == row.stride == (1, 1)
    if row.dtype in NARROW:  # dot products of what is stored (``dot/form.py``)
        if row.groups == row.in_channels == row.out_channels:
            return "depthwise"
        if name == "gemm" and columns_are_pixels and not any(row.pads):
            return "spatial_pack"
        return "spatial_pack" if name == "grouped_spatial_pack" else name
    if name == "gemm" and columns_are_pixels:
        return "spatial_pack"
    if name == "grouped_spatial_pack" and row.groups % FEWEST_LANES:
        return "spatial_pack"
    return name
