"""The blocked layout (N, C/b, H, W, b): what a template-scheduled primitive reads and writes.

``b``, the block, is the number of float32 lanes in one vector of the target, so that the innermost
axis is one register and every load and store is contiguous; NCHW16c with AVX-512, NCHW4c with
NEON (Liu et al. 2019, "Optimizing CNN Model Inference on CPUs", arXiv:1809.02697). Channels are
filled up to whole blocks. What lies in the fill is unspecified: no primitive reads it.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dlas.algorithms.primitive import Array, Primitive, Tensor, padded
from dlas.network import LayerRow
from dlas.target import Target

#: A schedule template's choices by name, and what they are for one kernel.
Knobs = Mapping[str, int]


class BlockedPrimitive(Primitive, frozen=True, kw_only=True):
    """A primitive with a second form, on the blocked layout, and a schedule template for it.

    The template is applied to the kernel after fusion, to the stage of that kernel that is named
    ``stage``: what precedes it there pads, what follows it is elementwise."""

    blocked: ClassVar[bool] = True
    #: Whether ``compute_blocked`` reads an unblocked image too.
    takes_plain: ClassVar[bool] = True
    #: Whether it multiplies by weights (…, ci, b) that are worth prefetching.
    streams_weights: ClassVar[bool] = True

    @property
    def stage(self) -> str:
        return f"{self.name}_blocked"

    @abc.abstractmethod
    def pack_blocked(self, weight: Array, row: LayerRow, lanes: int) -> Array:
        """The weight (K, C/G, R, S) as ``compute_blocked`` takes it; done while compiling."""
        raise NotImplementedError

    @abc.abstractmethod
    def compute_blocked(self, data: Tensor, weight: Tensor, row: LayerRow, lanes: int) -> Tensor:
        """data (N, C/b, H, W, b), or (N, C, H, W) as a network's input comes → (N, K/b, P, Q, b)"""
        raise NotImplementedError

    @abc.abstractmethod
    def candidates(self, order: Any, target: Target) -> Sequence[Knobs]:
        """Knobs for the kernel in this ``tvm.s_tir.Schedule``, by estimated cost, best first."""
        raise NotImplementedError

    @abc.abstractmethod
    def apply(self, order: Any, knobs: Knobs, threads: int) -> None:
        """Order the kernel's loops as the knobs say."""
        raise NotImplementedError


def padded_blocked(data: Tensor, row: LayerRow) -> Tensor:
    """data in either layout with zeros around the image."""
    from tvm import te, tirx

    zero = tirx.const(0, str(data.dtype))
    if len(data.shape) == 4:
        return padded(data, zero, row)
    top, left, bottom, right = row.pads
    if not any(row.pads):
        return data
    height, width = row.input_hw

    def pixel(n: Any, c: Any, y: Any, x: Any, lane: Any) -> Any:
        inside = tirx.all(y >= top, y < height + top, x >= left, x < width + left)
        return tirx.if_then_else(inside, data[n, c, y - top, x - left, lane], zero)

    batch, blocks, _, _, lanes = data.shape
    shape = (batch, blocks, height + top + bottom, width + left + right, lanes)
    return te.compute(shape, pixel, name="padded")
