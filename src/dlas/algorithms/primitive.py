"""What the convolution primitives share: one step per layer, and the shapes they compute on.

A primitive states *what* is computed, as a tensor expression (TE); the order of the loops is the
system's business. Shapes are written with N batch, C input and K output channels, G groups, H×W
input, P×Q output, R×S kernel.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dlas.algorithms.base import Algorithm
from dlas.layer import member
from dlas.network import LayerRow, Network
from dlas.plan import Plan, Step

if TYPE_CHECKING:
    from dlas.algorithms.dot.form import DotForm

Tensor = Any  # tvm.te.Tensor; tvm is imported only where it works
Array = NDArray[np.generic]
#: (N, C, H, W), or (N, C/b, H, W, b) as in ``blocked.py``.
Layout = Literal["plain", "blocked"]


class Primitive(Algorithm, frozen=True, kw_only=True):
    """One way to compute a convolution, used for every layer where it applies; elsewhere the
    layer falls back to ``depthwise`` or ``fallback``, and on from there, and its step says why."""

    fallback: ClassVar[str] = "direct"
    #: How images lie for its template form; None where it is no ``TemplatePrimitive``.
    template: ClassVar[Layout | None] = None

    @property
    def dot(self) -> DotForm:
        """The form for 8-bit integers and bfloat16 under the template."""
        from dlas.algorithms.dot.form import DotForm

        return DotForm(self.name)

    def plan(self, network: Network) -> Plan:
        return self.formatted(Plan(self.name, tuple(map(self.step, self.rows(network)))), network)

    def rows(self, network: Network) -> tuple[LayerRow, ...]:
        """The layers as they are computed."""
        return network.layers

    def formatted(self, dense: Plan, network: Network) -> Plan:
        """The plan with weights in another format than dense, where a primitive has such forms."""
        return dense

    def step(self, row: LayerRow) -> Step:
        if row.op == "dense":  # a matrix product, whichever way the convolutions are computed
            return Step(row.name, "gemm")
        reason = self.refuses_layer(row)
        if reason is None:
            return Step(row.name, self.name)
        alone = row.groups == row.in_channels == row.out_channels
        other: Any = member("algorithms", "depthwise" if alone else self.fallback)()
        return Step(row.name, other.step(row).primitive, note=reason)

    def refuses_layer(self, row: LayerRow) -> str | None:
        """Why it cannot compute this convolution, as a sentence; None when it can."""
        return None

    @abc.abstractmethod
    def pack(self, weight: Array, row: LayerRow) -> Array:
        """The weight (K, C/G, R, S) in the layout that ``compute`` takes; done while compiling."""
        raise NotImplementedError

    @abc.abstractmethod
    def compute(self, data: Tensor, weight: Tensor, zero: Any, row: LayerRow) -> Tensor:
        """data (N, C, H, W), packed weight → accumulators (N, K, P, Q) of ``accumulator(data)``.

        ``zero`` is what padding holds: 0, or the zero point of quantized data."""
        raise NotImplementedError


def accumulator(data: Tensor) -> str:
    """The type sums are kept in: float32 also for float16, whose 11 bits lose a long sum's small
    terms; int32 for 8-bit integers, where it is exact."""
    return "float32" if "float" in str(data.dtype) else "int32"


def multiply(data: Any, weight: Any, dtype: str) -> Any:
    """One product in the type of the sum."""
    return data.astype(dtype) * weight.astype(dtype)


def widened(data: Tensor, name: str = "widened") -> Tensor:
    """data in the type of its sums, written anew if that is another. What a template broadcasts is
    converted beforehand, as vectors and once, and not one by one and in every tile."""
    from tvm import te

    dtype = accumulator(data)
    if str(data.dtype) == dtype:
        return data
    return te.compute(data.shape, lambda *at: data[at].astype(dtype), name=name)


def padded(data: Tensor, zero: Any, row: LayerRow, dtype: str | None = None) -> Tensor:
    """data (N, C, H, W) → (N, C, top + H + bottom, left + W + right), ``zero`` around it; in
    ``dtype``, or the type of data."""
    from tvm import te, tirx

    top, left, bottom, right = row.pads
    if not any(row.pads):
        return data
    height, width = row.input_hw

    def pixel(n: Any, c: Any, y: Any, x: Any) -> Any:
        inside = tirx.all(y >= top, y < height + top, x >= left, x < width + left)
        value = data[n, c, y - top, x - left].astype(dtype or str(data.dtype))
        return tirx.if_then_else(inside, value, zero)

    shape = (data.shape[0], row.in_channels, height + top + bottom, width + left + right)
    return te.compute(shape, pixel, name="padded")
