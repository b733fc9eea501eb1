"""A layer as one kernel: the primitive's sums, then scale and bias of each output channel.

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
ELEMENTWISE_MAY_FOLLOW = 4


@dataclass(frozen=True)
class Kernel:
    """A tensor expression over ``data``, known at run time, and ``constants``."""

    name: str
    compute: Callable[..., te.Tensor]
    data: relax.Expr
    constants: tuple[Array, ...]

    def emit(self, builder: relax.BlockBuilder) -> relax.Var:
        return builder.emit_te(
            self.compute,
            self.data,
            *map(relax.const, self.constants),
            primfunc_name_hint=self.name,
            primfunc_attrs={"op_pattern": ELEMENTWISE_MAY_FOLLOW},
        )


def float_kernel(
    primitive: Any, row: LayerRow, data: relax.Expr, weight: Array, bias: Array
) -> Kernel:
    """weight (K, …) of the data's type, bias (K). The bias is added before the sum is rounded."""
    dtype = str(data.ty.dtype)

    def compute(image: te.Tensor, packed: te.Tensor, shift: te.Tensor) -> te.Tensor:
        sums = primitive.compute(image, packed, tirx.const(0, dtype), row)
        return per_channel(sums, lambda total, k: (total + shift[k]).astype(dtype))

    constants = (primitive.pack(weight, row), bias.astype(np.float32))
    return Kernel(primitive.name, compute, data, constants)


def integer_kernel(
    primitive: Any, row: LayerRow, data: Quantized, weight: Array, scale: Array, bias: Array
) -> Kernel:
    """The formula of ``quantized.py``: weight (K, …) int8 or int16; scale s_x · s_w, (1) or (K)."""
    correction = -int(data.zero[0]) * weight.reshape(len(weight), -1).sum(1, dtype=np.int64)
    scale = np.broadcast_to(scale, row.out_channels)

    def compute(
        image: te.Tensor, packed: te.Tensor, zero: te.Tensor, offset: te.Tensor,
        factor: te.Tensor, shift: te.Tensor,
    ) -> te.Tensor:  # fmt: skip
        sums = primitive.compute(image, packed, zero[0], row)

        def real(total: Any, k: Any) -> Any:
            return ((total + offset[k]).astype("float32") * factor[k] + shift[k]).astype(data.dtype)

        return per_channel(sums, real)

    packed = primitive.pack(weight, row)
    channels = correction.astype(np.int32), scale.astype(np.float32), bias.astype(np.float32)
    return Kernel(primitive.name, compute, data.expression, (packed, data.zero, *channels))


def per_channel(sums: te.Tensor, finish: Callable[[Any, Any], Any]) -> te.Tensor:
    """``finish(sum, k)`` of every element of sums (N, K, …)."""
    return te.compute(
        sums.shape, lambda n, k, *at: finish(sums[(n, k, *at)], k), name="per_channel"
    )
