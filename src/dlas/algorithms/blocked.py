"""The blocked layout (N, C/b, H, W, b): what a template-scheduled primitive reads and writes.

``b``, the block, is the number of float32 lanes in one vector of the target, so that the innermost
axis is one register and every load and store is contiguous; NCHW16c with AVX-512, NCHW4c with
NEON (Liu et al. 2019, "Optimizing CNN Model Inference on CPUs", arXiv:1809.02697). Channels are
filled up to whole blocks. What lies in the fill is unspecified: no primitive reads it.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

from dlas.algorithms.primitive import Array, Layout, Tensor, accumulator, padded, widened
from dlas.algorithms.template import TemplatePrimitive
from dlas.network import LayerRow


class BlockedPrimitive(TemplatePrimitive, frozen=True, kw_only=True):
    """A primitive whose template form reads and writes the blocked layout."""

    template: ClassVar[Layout | None] = "blocked"
    #: Whether ``compute_blocked`` reads an unblocked image too.
    takes_plain: ClassVar[bool] = True
    streams_weights: ClassVar[bool] = True

    def orders(self, row: LayerRow, lanes: int) -> tuple[int, int] | None:
        """The orders of channels (``target/blocks.py``) of the image that it reads and of the one
        that it writes. None: any, as long as the weights are in them too."""
        return None if row.groups == 1 else (1, 1)

    @abc.abstractmethod
    def pack_blocked(self, weight: Array, row: LayerRow, lanes: int) -> Array:
        """The weight (K, C/G, R, S), K in the order that is written and, of one group, C in that
        which is read, as ``compute_blocked`` takes it; done while compiling."""
        raise NotImplementedError

    @abc.abstractmethod
    def compute_blocked(self, data: Tensor, weight: Tensor, row: LayerRow, lanes: int) -> Tensor:
        """data (N, C/b, H, W, b), or (N, C, H, W) as a network's input comes → (N, K/b, P, Q, b)"""
        raise NotImplementedError


def padded_blocked(data: Tensor, row: LayerRow) -> Tensor:
    """data in either layout with zeros around the image, in the type of its sums."""
    from tvm import te, tirx

    dtype = accumulator(data)
    if not any(row.pads):
        return widened(data)
    zero = tirx.const(0, dtype)
    if len(data.shape) == 4:
        return padded(data, zero, row, dtype)
    top, left, bottom, right = row.pads
    height, width = row.input_hw

    def pixel(n: Any, c: Any, y: Any, x: Any, lane: Any) -> Any:
        # "likely" each by itself is where a template's loops may be cut in edges and the rest
        inside = (y >= top, y < height + top, x >= left, x < width + left)
        value = data[n, c, y - top, x - left, lane].astype(dtype)
        return tirx.if_then_else(tirx.all(*map(tirx.likely, inside)), value, zero)

    batch, blocks, _, _, lanes = data.shape
    shape = (batch, blocks, height + top + bottom, width + left + right, lanes)
    return te.compute(shape, pixel, name="padded")
