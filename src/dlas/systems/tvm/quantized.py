"""Quantized layers on integers: ``DequantizeLinear ▸ layer`` becomes an integer product.

A quantized tensor q stands for s · (q - z). With data (s_x, z_x) and a weight of scale s_w[k] whose
zero point is already subtracted, a layer is

    out[k] = s_x · s_w[k] · (Σ q_x · q_w  -  z_x · Σ q_w[k])  +  bias[k]

where padding holds z_x, so that it stands for 0. The sums are int32 and exact; only the last line
is float32 (Jacob et al. 2018, arXiv:1712.05877, equations 3 and 7; they also round the scales to
fixed-point numbers, we do not).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax, te, tirx
from tvm.ir import Call, GenericConst

Array = NDArray[Any]
BYTES = ("int8", "uint8")


@dataclass(frozen=True)
class Quantized:
    """What a DequantizeLinear reads and how: ``expression`` holds 8-bit integers; ``scale`` and
    ``zero`` have one element, or one per index of ``axis``; ``dtype`` is the type of the result."""

    expression: relax.Expr
    scale: Array
    zero: Array
    axis: int
    dtype: str

    def varies_along(self, axis: int) -> bool:
        """Whether scale and zero point are constant, or depend on the index of this axis only."""
        return self.scale.size == 1 or self.axis % self.expression.ty.ndim == axis

    def centred(self) -> Array:
        """A constant's integers without the zero point: int8 where that is 0, int16 otherwise."""
        values = constant(self.expression)
        assert values is not None
        if values.dtype == np.int8 and not self.zero.any():
            return values
        zero = _along(self.zero, values.ndim, self.axis)
        return values.astype(np.int16) - zero.astype(np.int16)


def quantized(expression: relax.Expr) -> Quantized | None:
    """The 8-bit tensor behind an expression, if it is one dequantized by constants."""
    if not _calls(expression, "relax.dequantize"):
        return None
    values, *parameters = expression.args
    scale, zero = map(constant, parameters)
    if scale is None or zero is None or str(values.ty.dtype) not in BYTES:
        return None
    dtype = str(expression.attrs.out_dtype)
    return Quantized(values, scale.reshape(-1), zero.reshape(-1), expression.attrs.axis, dtype)


def constant(expression: relax.Expr) -> Array | None:
    """The value of a constant, also behind QuantizeLinear and DequantizeLinear; else None."""
    if isinstance(expression, GenericConst):
        value: Array = expression.value.numpy()
        return value
    for name, compute in (("relax.dequantize", _dequantize), ("relax.quantize", _quantize)):
        if _calls(expression, name):
            values, scale, zero = map(constant, expression.args)
            if values is None or scale is None or zero is None:
                return None
            scale, zero = (_along(p, values.ndim, expression.attrs.axis) for p in (scale, zero))
            return compute(values, scale, zero, str(expression.attrs.out_dtype))
    return None


def _dequantize(values: Array, scale: Array, zero: Array, dtype: str) -> Array:
    real: Array = (values.astype(np.int32) - zero.astype(np.int32)) * scale
    return real.astype(dtype)


def _quantize(values: Array, scale: Array, zero: Array, dtype: str) -> Array:
    limits = np.iinfo(dtype)
    levels: Array = np.clip(np.rint(values / scale) + zero, limits.min, limits.max)
    return levels.astype(dtype)


def vector(parameter: relax.Expr) -> relax.Expr:
    """A scalar constant as a tensor of one element. A scalar would be written into the generated
    code, so that no two layers could share a kernel; a tensor is handed to it."""
    if isinstance(parameter, GenericConst) and not parameter.value.shape:
        return relax.const(parameter.value.numpy().reshape(1))
    return parameter


def legalize_quantize(builder: relax.BlockBuilder, call: Call) -> relax.Expr:
    """QuantizeLinear rounds half to even (nearbyint); TVM's own rule rounds half away from 0."""
    limits, axis = np.iinfo(str(call.attrs.out_dtype)), call.attrs.axis

    def levels(data: te.Tensor, scale: te.Tensor, zero: te.Tensor) -> te.Tensor:
        def level(*index: Any) -> Any:
            s, z = (p[index[axis] if int(p.shape[0]) > 1 else 0] for p in (scale, zero))
            value = tirx.nearbyint(data[index] / s) + z.astype(data.dtype)
            return te.max(te.min(value, float(limits.max)), float(limits.min)).astype(
                str(limits.dtype)
            )

        return te.compute(data.shape, level, name="quantized")

    return builder.call_te(levels, *call.args, primfunc_name_hint="quantize")


def _calls(expression: relax.Expr, name: str) -> bool:
    return isinstance(expression, Call) and getattr(expression.op, "name", "") == name


def _along(parameter: Array, rank: int, axis: int) -> Array:
    """A vector shaped to broadcast along one axis; a single element, along all."""
    if parameter.size == 1:
        return parameter.reshape([1] * rank)
    return parameter.reshape([-1 if i == axis % rank else 1 for i in range(rank)])
