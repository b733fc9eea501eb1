"""A layer as one kernel: the primitive's sums, then bias and scale of each output channel.

The activation that follows, and the quantization of the result, join the kernel by fusion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from dlas.network import LayerRow
from dlas.systems.tvm.quantized import Array, Quantized

#: Relax's fusion pattern "elementwise operators may follow". Told, because a kernel of several
#: stages (pad, gather, multiply, unpack) would be classified as opaque.
ELEMENTWISE_FOLLOWS = 4


@dataclass(frozen=True)
class Kernel:
    """A tensor expression over ``inputs``: what is computed at run time, then constants."""

    name: str
    compute: Callable[..., te.Tensor]
    inputs: tuple[relax.Expr, ...]

    def emit(self, builder: relax.BlockBuilder) -> relax.Var:
        return builder.emit_te(
            self.compute,
            *self.inputs,
            primfunc_name_hint=self.name,
            primfunc_attrs={"op_pattern": ELEMENTWISE_FOLLOWS},
        )


def float_layer(
    primitive: Any, row: LayerRow, data: relax.Expr, weight: Array, bias: Array
) -> Kernel:
    """Data and weight of the network's type; bias is added in the accumulator's, then rounded."""
    dtype = str(data.ty.dtype)

    def compute(image: te.Tensor, packed: te.Tensor, shift: te.Tensor) -> te.Tensor:
        sums = primitive.compute(image, packed, tirx.const(0, dtype), row)
        return per_channel(sums, lambda total, k: (total + shift[k]).astype(dtype))

    constants = primitive.pack(weight, row), bias.astype(np.float32)
    return Kernel(primitive.name, compute, (data, *map(relax.const, constants)))


def integer_layer(
    primitive: Any, row: LayerRow, data: Quantized, weight: Quantized, bias: Array
) -> Kernel:
    """The formula of ``quantized.py``; the result is ``data.dtype``, float32 as a rule."""
    values = weight.centred()
    offset = -int(data.zero[0]) * values.reshape(len(values), -1).sum(axis=1, dtype=np.int64)
    scale = np.broadcast_to(data.scale * weight.scale, row.out_channels)
