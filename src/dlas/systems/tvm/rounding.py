"""Numbers in steps: rounding real numbers to integers and bfloat16, and back, as tensor
expressions on channels-last images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import te, tirx

from dlas.systems.tvm.tables import lookup

REAL, BITS = "float32", "uint16"
Pair = tuple[int, int]
#: 1.5 · 2²³, and its bits. Added to a number below 2²², it leaves no place for a fraction: the sum
#: is rounded to the nearest integer, of two as near to the even one.
ROUNDING, ROUNDING_BITS = 12582912.0, 0x4B400000


def levels(data: te.Tensor, *given: te.Tensor, number: str, zero: int) -> te.Tensor:
    """The nearest step of each number plus ``zero``; beyond what ``number`` holds the last one
    (ONNX's QuantizeLinear). Stored x is ``given[0]`` · x + ``given[1]`` steps, each (C) and x alone
    where they are not given."""

    def level(*at: Any) -> Any:
        steps = held(scaled(data, given, at), number, zero)
        bits = tirx.reinterpret("int32", steps + tirx.const(ROUNDING, REAL))
        return (bits + tirx.const(zero - ROUNDING_BITS, "int32")).astype(number)

    return te.compute(data.shape, level, name="quantized")


def stepped(data: te.Tensor, *given: te.Tensor, number: str, zero: int) -> te.Tensor:
    """``levels`` less ``zero``, in float32."""

    # Not by ROUNDING: TVM takes a number that is added and subtracted again for nothing.
    return te.compute(
        data.shape,
        lambda *at: tirx.nearbyint(held(scaled(data, given, at), number, zero)),
        name="stepped",
    )


def held(steps: Any, number: str, zero: int) -> Any:
    """Steps within the number's range."""
    limits = np.iinfo(number)
    return te.max(te.min(steps, float(limits.max - zero)), float(limits.min - zero))


def real(data: te.Tensor, *given: te.Tensor) -> te.Tensor:
    """``given[0]`` · x + ``given[1]`` of stored x, in float32."""
    return te.compute(data.shape, lambda *at: scaled(data, given, at), name="real")


def scaled(data: te.Tensor, given: Sequence[te.Tensor], at: Sequence[Any]) -> Any:
    value = as_real(data, at)
    for index, vector in enumerate(given):
        value = value + vector[at[-1]] if index else value * vector[at[-1]]
    return value


def as_real(data: te.Tensor, at: Sequence[Any]) -> Any:
    """What is stored as a float32; integers without their scale."""
    if data.dtype != BITS:
        return data[at].astype(REAL)
    return tirx.reinterpret(REAL, data[at].astype("uint32") << tirx.const(16, "uint32"))


def nearest_bits(data: te.Tensor) -> te.Tensor:
    """The nearest bfloat16, of two as near the even one, as its bits."""

    def element(*at: Any) -> Any:
        bits, half = tirx.reinterpret("uint32", data[at]), tirx.const(0x7FFF, "uint32")
        sixteen, one = tirx.const(16, "uint32"), tirx.const(1, "uint32")
        return ((bits + half + ((bits >> sixteen) & one)) >> sixteen).astype(BITS)

    return te.compute(data.shape, element, name="rounded")


def weighted_sum(a: te.Tensor, b: te.Tensor, *given: te.Tensor) -> te.Tensor:
    """a · ``given[0]`` + b · ``given[1]`` + ``given[2]``, each (C)."""
    first, second, third = given

    def element(*at: Any) -> Any:
        k = at[-1]
        return as_real(a, at) * first[k] + (as_real(b, at) * second[k] + third[k])

    return te.compute(a.shape, element, name="sum")


def looked_up(data: te.Tensor, table: te.Tensor) -> te.Tensor:
    """``table`` at every 8-bit integer, the lowest one at its begin; as long as there are channels
    if they are more than 256, for it is a vector of them to Relax."""
    return te.compute(data.shape, lambda *at: lookup(data[at], table[at[-1]]), name="looked_up")


def averaged(
    data: te.Tensor, factor: te.Tensor, shift: te.Tensor, kernel: Pair, stride: Pair, zero: int
) -> te.Tensor:
    """The sum of x - ``zero`` over every window without padding · ``factor`` + ``shift``, both (C);
    sums of integers are exact, so that a mean halfway between two steps is just there."""
    batch, one, height, width, channels = data.shape
    y, x = te.reduce_axis((0, kernel[0]), "y"), te.reduce_axis((0, kernel[1]), "x")
    whole = "int" in str(data.dtype) and data.dtype != BITS
    size = [(int(n) - k) // s + 1 for n, k, s in zip((height, width), kernel, stride, strict=True)]

    def term(*at: Any) -> Any:
        return data[at].astype("int32") - zero if whole else as_real(data, at)

    sums = te.compute(
        (batch, one, *size, channels),
        lambda n, k, i, j, c: te.sum(
            term(n, k, i * stride[0] + y, j * stride[1] + x, c), axis=[y, x]
        ),
        name="pool",
    )
    return te.compute(
        sums.shape, lambda *at: sums[at].astype(REAL) * factor[at[-1]] + shift[at[-1]]
    )


def gated(image: te.Tensor, pixel: te.Tensor, *given: te.Tensor) -> te.Tensor:
    """(image · a + b) · (pixel · c + d), each of a to d (C); pixel (N, 1, 1, 1, C)."""
    a, b, c, d = given

    def element(n: Any, k: Any, y: Any, x: Any, lane: Any) -> Any:
        value = as_real(image, (n, k, y, x, lane)) * a[lane] + b[lane]
        return value * (as_real(pixel, (n, k, 0, 0, lane)) * c[lane] + d[lane])

    return te.compute(image.shape, element, name="gated")
