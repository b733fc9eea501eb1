"""Quantized layers on integers: ``DequantizeLinear ▸ layer`` becomes an integer product.

A quantized tensor q stands for s · (q - z). With per-tensor data (s_x, z_x) and a weight of scale
s_w[k] whose zero point is already subtracted, the layer is

    out[k] = s_x · s_w[k] · (Σ q_x · q_w  -  z_x · Σ q_w[k])  +  bias[k]

where padding holds z_x, so that it stands for 0. The sums are int32 and exact; only the last line
is float32 (Jacob et al. 2018, arXiv:1712.05877, equations 3 and 7; they round the scale to a
fixed-point number as well, we do not).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax, tirx
from tvm.ir import Call, GenericConst

Array = NDArray[Any]
BYTES = ("int8", "uint8")


@dataclass(frozen=True)
class Quantized:
    """What a DequantizeLinear reads: ``values`` (8-bit integers), ``scale`` and ``zero``, one
    element each or one per index of ``axis``."""

    values: relax.Expr
    scale: Array
    zero: Array
    axis: int

    def per_tensor(self) -> bool:
        return self.scale.size == self.zero.size == 1


def quantized(expression: relax.Expr) -> Quantized | None:
    """The 8-bit tensor behind an expression, if it is one dequantized by constants."""
    if not _calls(expression, "relax.dequantize"):
        return None
    values, scale, zero = expression.args[0], constant(expression.args[1]), constant(expression.args[2])
    if scale is None or zero is None or str(values.ty.dtype) not in BYTES:
        return None
    return Quantized(values, scale.reshape(-1), zero.reshape(-1), expression.attrs.axis)


def constant(expression: relax.Expr | None) -> Array | None:
    """The value of an expression of constants, computed here and now; None if it is none."""
    if isinstance(expression, GenericConst):
        value: Array = expression.value.numpy()
        return value
    for name, compute in (("relax.dequantize", dequantize), ("relax.quantize", quantize)):
        if expression is not None and _calls(expression, name):
            arguments = [constant(argument) for argument in expression.args]
            if all(argument is not None for argument in arguments):
                return compute(*arguments, expression.attrs)
    return None


def dequantize(values: Array, scale: Array, zero: Array, attributes: Any) -> Array:
    scale, zero = (_along(p, values.ndim, attributes.axis) for p in (scale, zero))
    return ((values.astype(np.int32) - zero.astype(np.int32)) * scale).astype(
        str(attributes.out_dtype)
    )


def quantize(values: Array, scale: Array, zero: Array, attributes: Any) -> Array:
    scale, zero = (_along(p, values.ndim, attributes.axis) for p in (scale, zero))
    limits = np.iinfo(str(attributes.out_dtype))
    levels = np.rint(values / scale) + zero
    return np.clip(levels, limits.min, limits.max).astype(limits.dtype)


def vector(parameter: relax.Expr) -> relax.Expr:
    """A scalar constant as a tensor of one element. Scalars would be written into the generated
    code and make every layer's kernel another one; tensors are handed to a kernel that is shared."""
    if isinstance(parameter, GenericConst) and not parameter.value.shape:
        return relax.const(parameter.value.numpy().reshape(1))
    return parameter


def legalize_quantize(builder: relax.BlockBuilder, call: Call) -> relax.Expr:
    """ONNX rounds half to even (nearbyint); TVM's own rule rounds half away from zero."""
    from tvm import te

    limits, axis = np.iinfo(str(call.attrs.out_dtype)), call.attrs.axis

    def levels(data: te.Tensor, scale: te.Tensor, zero: te.Tensor) -> te.Tensor:
        def level(*index: Any) -> Any:
            s, z = (p[index[axis] if int(p.shape[0]) > 1 else 0] for p in (scale, zero))
            rounded = tirx.nearbyint(data[index].astype("float32") / s.astype("float32"))
            value = rounded + z.astype("float32")
            bounded = te.max(te.min(value, float(limits.max)), float(limits.min))
            return bounded.astype(str(limits.dtype))

        return te.compute(data.shape, level, name="quantized")

    return builder.call_te(levels, *call.args, primfunc_name_hint="quantize")


def _calls(expression: relax.Expr, name: str) -> bool:
    return isinstance(expression, Call) and getattr(expression.op, "name", "") == name


def _along(parameter: Array, rank: int, axis: int) -> Array:
    """A vector shaped to broadcast along one axis; a single element along all."""
    if parameter.size == 1:
        return parameter.reshape([1] * rank)
    return parameter.reshape([-1 if i == axis % rank else 1 for i in range(rank)])
