"""From a network of 8-bit integers or bfloat16 to Relax, its images channels last from layer to
layer, and stored as the network rounds them.

A channels-last image is one in blocks, all channels in one block. What the network says in three
operators, quantize, dequantize, layer, is one kernel here: images stay narrow in memory, and real
in the registers of the kernel that computes them. Layers that compute in float32 do as in
``blocked.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import tvm
from onnx import TensorProto
from tvm import relax, te, tirx

from dlas.layer import member
from dlas.network import LayerRow, Network
from dlas.network.fold import fold_batch_norm
from dlas.plan import Plan
from dlas.systems.tvm.blocked import INJECTIVE, Blocked, BlockedImporter
from dlas.systems.tvm.dots import DotLayers
from dlas.systems.tvm.frontend import imported, plain_product
from dlas.systems.tvm.lookahead import SUMS, Lookahead
from dlas.systems.tvm.order import ELEMENTWISE
from dlas.systems.tvm.quantized import Array, Quantized, constant, quantized
from dlas.systems.tvm.rewrite import pool_first
from dlas.systems.tvm.rounding import (
    REAL,
    averaged,
    dequantized,
    gated,
    levels,
    looked_up,
    nearest_bits,
    stepped,
    weighted_sum,
    widened,
)
from dlas.systems.tvm.sparse import SparseLayers
from dlas.target.blocks import block_count

#: Channels of a stored image are filled up to whole vectors, or to these where there are no more.
FEWEST = 4


def translate_narrow(
    network: Network, plan: Plan, lanes: int, dots: DotLayers, sparse: SparseLayers
) -> tvm.IRModule:
    """As ``frontend.translate``, with blocks of ``lanes`` channels."""
    network = Network(pool_first(fold_batch_norm(network.model)))
    return imported(NarrowImporter(network, plan, lanes, dots, sparse), network)


@dataclass(frozen=True)
class Image(Blocked):
    """An image (N, 1, H, W, C), C filled up. ``number``: what its elements are, "float32", "uint8",
    "int8" or "bfloat16" (as bits). Integers stand for (q - ``zero``) · ``scale`` once a
    DequantizeLinear has said so. A ``vector`` is (N, C) to the network, one pixel here. Real
    numbers are counted in ``unit``: a layer's, in steps of what they are rounded to next."""

    number: str = REAL
    scale: float | None = None
    zero: int = 0
    vector: bool = False
    unit: float = 1.0

    @property
    def affine(self) -> tuple[float, float]:
        """(a, b): what is stored as x stands for a · x + b."""
        if self.scale is not None:
            return self.scale, -self.zero * self.scale
        return self.unit, 0.0

    @property
    def is_narrow(self) -> bool:
        """Whether a layer can multiply it as it is stored."""
        return self.number == "bfloat16" or self.scale is not None


class NarrowImporter(BlockedImporter):
    def __init__(
        self, network: Network, plan: Plan, lanes: int, dots: DotLayers, sparse: SparseLayers
    ) -> None:
        super().__init__(network, plan, lanes, sparse)
        self.dots = dots
        self.ahead = Lookahead.of(network)

    def _convert_operator(
        self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int
    ) -> relax.Expr | Blocked:
        first, result, name = inputs[0], None, attrs["tvm_custom"]["name"]
        if name in self.ahead.skipped:
            return first
        if name in self.ahead.tables:
            return self.look_up(name, first, *inputs[1:3])
        if op_name == "Relu" and isinstance(first, Image) and first.unit != 1:
            result = first if name in self.ahead.clipped else self.relu(first)
        elif op_name in SUMS and all(isinstance(value, Image) for value in inputs):
            result = self.sum_of(*inputs, unit=self.ahead.steps.get(name, 1.0))
        elif op_name == "QuantizeLinear":
            result = self.quantize(*inputs[:3], inside=name in self.ahead.inside)
        elif op_name == "DequantizeLinear" and isinstance(first, Image):
            result = self.dequantize(first, *inputs[1:3])
        elif op_name == "Cast":
            result = self.cast(first, attrs["to"])
        elif isinstance(first, Image) and op_name in ("Flatten", "Reshape", "Squeeze"):
            result = self.flattened(first, attrs)
        if result is not None:
            return result
        return super()._convert_operator(op_name, inputs, attrs, opset)

    # -- rounding ------------------------------------------------------------------------------

    def quantize(
        self, value: Any, scale: relax.Expr, zero: relax.Expr, inside: bool
    ) -> Image | None:
        """``inside``: in float32, for the kernel that goes on with it."""
        step, nought = constant(scale), constant(zero)
        if step is None or nought is None or step.size > 1 or constant(value) is not None:
            return None
        number = str(nought.dtype)
        if isinstance(value, Image) and value.scale is not None:
            same = (value.scale, value.zero, value.number)
            if same == (float(step.item()), int(nought.item()), number):
                return replace(value, scale=None)  # the same steps: nothing to round
        in_steps = isinstance(value, Image) and value.unit == float(step.item())
        image = value if in_steps else self.image(value)
        if image is None:
            return None
        factors = [] if in_steps else per_channel(image, 1 / np.float32(step.item()))
        compute = partial(stepped if inside else levels, number=number, zero=int(nought.item()))
        emitted = self.bb.emit_te(
            compute, image.expression, *factors, primfunc_name_hint="quantize"
        )
        if inside:
            return replace(image, expression=emitted, unit=float(step.item()))
        return replace(image, expression=emitted, number=number, unit=1.0)

    def dequantize(self, image: Image, scale: relax.Expr, zero: relax.Expr) -> Image | None:
        step, nought = constant(scale), constant(zero)
        if step is None or nought is None or step.size > 1:
            return None
        if image.number == REAL:
            return image  # rounded inside a kernel, and so counted already
        return replace(image, scale=float(step.item()), zero=int(nought.item()))

    def cast(self, value: Any, to: int) -> Any:
        """To bfloat16, and from it; the pair leaves the image as it is stored."""
        if isinstance(value, Image) and value.number == "bfloat16":
            return value if to == TensorProto.FLOAT else None
        image = self.image(value) if to == TensorProto.BFLOAT16 else None
        if image is None:
            return None
        return self.rounded(image)

    def real(self, value: Any) -> Any:
        """An image's numbers in float32; any other value as it is."""
        if not isinstance(value, Image) or (value.number == REAL and value.unit == 1):
            return value
        if value.number == REAL:
            (factor,) = per_channel(value, value.unit)
            emitted = self.bb.emit(relax.op.multiply(value.expression, factor))
        elif value.number == "bfloat16":
            emitted = self.bb.emit_te(widened, value.expression, primfunc_name_hint="widen")
        else:
            given = per_channel(value, value.zero, value.scale or 1.0)
            emitted = self.bb.emit_te(
                dequantized, value.expression, *given, primfunc_name_hint="dequantize"
            )
        return replace(value, expression=emitted, number=REAL, scale=None, zero=0, unit=1.0)

    def look_up(self, name: str, image: Image, scale: relax.Expr, zero: relax.Expr) -> Image:
        """What several operators make of 8-bit integers, by a table."""
        _, table = self.ahead.tables[name]
        given = relax.const(np.pad(table, (0, max(0, image.shape[-1] - len(table)))))
        emitted = self.bb.emit_te(looked_up, image.expression, given, primfunc_name_hint="look_up")
        return replace(image, expression=emitted, number=str(table.dtype), scale=None, zero=0)

    def relu(self, image: Image) -> Image:
        return replace(image, expression=self.bb.emit(relax.op.nn.relu(image.expression)))

    def sum_of(self, a: Image, b: Image, unit: float) -> Image | None:
        """Of two images as they are stored, counted in ``unit``."""
        if a.shape != b.shape or a.channels != b.channels:
            return None
        (first, left), (second, right) = a.affine, b.affine
        parts = per_channel(a, first / unit, second / unit, (left + right) / unit)
        emitted = self.bb.emit_te(
            weighted_sum, a.expression, b.expression, *parts, primfunc_name_hint="sum"
        )
        return Image(emitted, a.channels, vector=a.vector, unit=unit)

    # -- between the layouts -------------------------------------------------------------------

    def image(self, value: Any) -> Image | None:
        """Any value channels last, its numbers real; None where it is no image."""
        if isinstance(value, Image):
            real: Image = self.real(value)
            return real
        shape = tuple(map(int, value.ty.shape))
        if isinstance(value, Blocked):
            value = super().plain(value)
        elif len(shape) == 2:
            value = self.bb.emit(relax.op.reshape(value, (*shape, 1, 1)))
        elif len(shape) != 4:
            return None
        batch, channels, height, width = map(int, value.ty.shape)
        stored = FEWEST if channels <= FEWEST else block_count(channels, self.lanes) * self.lanes

        def last(data: te.Tensor) -> te.Tensor:
            def element(n: Any, _: Any, y: Any, x: Any, c: Any) -> Any:
                if stored == channels:
                    return data[n, c, y, x]
                zero = tirx.const(0, str(data.dtype))
                return tirx.if_then_else(c < channels, data[n, c, y, x], zero)

            return te.compute((batch, 1, height, width, stored), element)

        emitted = self.bb.emit_te(last, value, primfunc_name_hint="last")
        return Image(emitted, channels, vector=len(shape) == 2)

    def plain(self, value: Any) -> Any:
        plain = super().plain(self.real(value))
        if isinstance(value, Image) and value.vector:
            return self.bb.emit(relax.op.reshape(plain, (-1, value.channels)))
        return plain

    def blocked(self, value: Any, order: int | None = None) -> Blocked:
        if isinstance(value, Image):
            value = super().plain(self.real(value))
        return super().blocked(value, order)

    def flattened(self, image: Image, attrs: dict[str, Any]) -> Image | None:
        """An image of one pixel as a vector; None for others."""
        single = image.shape[2:4] == (1, 1) and attrs["tvm_custom"]["num_outputs"] == 1
        return replace(image, vector=True) if single else None

    # -- operators -----------------------------------------------------------------------------

    def template_layer(
        self, row: LayerRow, inputs: Any, attrs: dict[str, Any]
    ) -> relax.Expr | Blocked | None:
        image = inputs[0]
        if row.dtype == "bfloat16" and not (isinstance(image, Image) and image.is_narrow):
            found = self.image(image)  # its numbers are bfloat16 already
            image = image if found is None else self.rounded(found)
        if isinstance(image, Image):
            result = self.dot_layer(row, image, inputs, attrs) if image.is_narrow else None
            if result is not None:
                return result
            inputs[0] = self.plain(image) if image.vector else self.blocked(image)
        return super().template_layer(row, inputs, attrs)

    def dot_layer(
        self, row: LayerRow, image: Image, inputs: Any, attrs: dict[str, Any]
    ) -> Image | None:
        """By dot products of what is stored; None where image and weights do not fit."""
        if row.op == "dense" and not (image.vector and plain_product_of(attrs)):
            return None
        axis = 0 if row.op == "conv" or attrs.get("transB") else 1  # of the output channels
        bias = np.zeros(1) if inputs[2] is None else constant(inputs[2])
        weight: Any = quantized(inputs[1]) if image.scale is not None else constant(inputs[1])
        if weight is None or bias is None:
            return None
        bias = np.broadcast_to(bias.reshape(-1), row.out_channels).astype(np.float32)
        if isinstance(weight, Quantized):
            if not weight.varies_along(axis) or weight.centred().dtype != np.int8:
                return None
            scale = np.broadcast_to(weight.scale, row.out_channels)
            unit = self.ahead.steps.get(row.name, 1.0)
            values = weight_of(weight.centred(), axis, row)
            given = self.dots.integers(row, values, scale, bias, unit)
        else:
            given = self.dots.floats(row, weight_of(weight, axis, row), bias)
        primitive: Any = member("algorithms", self.plan.primitive(row.name))()
        emitted = self.dots.emit(self.bb, primitive.dot, row, image, given)
        return Image(emitted, row.out_channels, vector=image.vector, unit=given.unit)

    def on_blocks(
        self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int
    ) -> Blocked | None:
        if not any(isinstance(value, Image) for value in inputs):
            return super().on_blocks(op_name, inputs, attrs, opset)
        if op_name == "MaxPool":
            return self.max_pool(inputs[0], attrs)
        if op_name == "GlobalAveragePool":
            return self.mean(inputs[0])
        if op_name == "Mul" and all(isinstance(value, Image) for value in inputs):
            found = self.gated(*inputs)
            if found is not None:
                return found
        inputs[:] = [self.real(value) for value in inputs]
        if op_name in ELEMENTWISE and len(inputs) > 1:
            inputs[:] = self.beside(inputs)
        return super().on_blocks(op_name, inputs, attrs, opset)

    def max_pool(self, image: Image, attrs: dict[str, Any]) -> Blocked | None:
        """Steps are in the order of what they stand for: the largest stays the largest."""
        if image.number != "bfloat16":
            return self.pool("MaxPool", image, attrs)
        largest = self.pool("MaxPool", self.real(image), attrs)
        return None if largest is None else self.rounded(largest)

    def mean(self, image: Image) -> Image:
        """Over all pixels, as they are stored."""
        factor, shift = image.affine
        given = per_channel(image, factor / math.prod(image.shape[2:4]), shift)
        emitted = self.bb.emit_te(averaged, image.expression, *given, primfunc_name_hint="average")
        return Image(emitted, image.channels)

    def gated(self, a: Image, b: Image) -> Image | None:
        """An image times one pixel, in either order; None for others."""
        image, pixel = (b, a) if math.prod(a.shape[2:4]) == 1 else (a, b)
        if math.prod(pixel.shape[2:4]) > 1 or image.shape == pixel.shape:
            return None
        given = per_channel(image, *image.affine, *pixel.affine)
        emitted = self.bb.emit_te(
            gated,
            image.expression,
            pixel.expression,
            *given,
            primfunc_name_hint="gate",
            primfunc_attrs={"op_pattern": INJECTIVE},
        )
        return Image(emitted, image.channels)

    def rounded(self, image: Any) -> Image:
        """An image's numbers as bfloat16."""
        real = self.real(image)
        emitted = self.bb.emit_te(nearest_bits, real.expression, primfunc_name_hint="round")
        return replace(real, expression=emitted, number="bfloat16")

    def beside(self, inputs: Sequence[Any]) -> list[Any]:
        """Every operand channels last where one of them is."""
        found = []
        for value in inputs:
            if isinstance(value, Image) or value is None or constant(value) is not None:
                found.append(value)
            else:
                image = self.image(value)
                found.append(value if image is None else image)
        return found

    def operand(self, value: Any, beside: Blocked) -> relax.Expr | None:
        if not isinstance(beside, Image):
            return super().operand(value, beside)
        known = constant(value) if not isinstance(value, Blocked) else None
        if isinstance(value, Image):
            return value.expression if value.channels == beside.channels else None
        if known is None:
            return None
        if known.size == 1:
            return value  # type: ignore[no-any-return]
        shape = known.shape[-3:] if not beside.vector else (*known.shape[-1:], 1, 1)
        if shape == (beside.channels, 1, 1) and known.size == beside.channels:
            stored = beside.shape[-1]
            filled = np.pad(known.reshape(-1), (0, stored - known.size))
            return relax.const(filled.reshape(1, 1, 1, 1, stored))
        return None

    def concatenation(self, images: Sequence[Any]) -> Blocked | None:
        """Along channels, where every image but the last fills its vectors."""
        narrow = all(isinstance(v, Image) and v.number == "bfloat16" for v in images)
        given = list(images) if narrow else [self.image(value) for value in images]
        if any(image is None for image in given):
            return None
        parts = [image for image in given if image is not None]
        if any(part.shape[-1] != part.channels for part in parts[:-1]):
            return None
        joined = self.bb.emit(relax.op.concat([part.expression for part in parts], axis=4))
        return Image(joined, sum(part.channels for part in parts), number=parts[0].number)


def plain_product_of(attrs: dict[str, Any]) -> bool:
    """Whether a Gemm or MatMul has no factors."""
    factors = attrs.get("alpha", 1.0), attrs.get("beta", 1.0), attrs.get("transA", 0)
    return factors == (1.0, 1.0, 0)


def weight_of(weight: Array, axis: int, row: LayerRow) -> Array:
    """(K, C/G, R, S)."""
    moved = np.moveaxis(weight, axis, 0)
    return moved.reshape(*moved.shape[:2], *row.kernel)


def per_channel(image: Image, *numbers: float) -> list[relax.Expr]:
    """Each as a vector of as many as there are channels: Relax takes what reads one number for all
    elements for no elementwise operator, and would not join it to the layer before."""
    return [relax.const(np.full(image.shape[-1], number, np.float32)) for number in numbers]


__all__ = ["Image", "NarrowImporter", "plain_product", "translate_narrow"]
