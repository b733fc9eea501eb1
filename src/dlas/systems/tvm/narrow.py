"""From a network of 8-bit integers or bfloat16 to Relax, its images channels last from layer to
layer, and stored as the network rounds them.

What the network says in three operators, quantize, dequantize, layer, is one kernel here: images
stay narrow in memory, and real in the registers of the kernel that computes them. Constants that an
image is multiplied by or that are added to it are kept beside it, for whoever reads it next. Layers
that compute in float32 do as in ``blocked.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import tvm
from onnx import TensorProto
from tvm import relax

from dlas.layer import member
from dlas.network import LayerRow, Network
from dlas.network.fold import fold_batch_norm
from dlas.plan import Plan
from dlas.systems.tvm import layout, rounding
from dlas.systems.tvm.blocked import INJECTIVE, Blocked, BlockedImporter
from dlas.systems.tvm.dots import DotLayers, weight_of
from dlas.systems.tvm.frontend import has_no_factors, imported
from dlas.systems.tvm.images import Image, PerChannel, filled, joined, makes_a_vector, vectors
from dlas.systems.tvm.lookahead import Lookahead
from dlas.systems.tvm.order import ELEMENTWISE
from dlas.systems.tvm.quantized import Quantized, constant, quantized
from dlas.systems.tvm.rewrite import pool_first
from dlas.systems.tvm.rounding import REAL
from dlas.systems.tvm.sparse import SparseLayers

#: Options of an AveragePool that are not taken here, and the values that stand for none of them.
NONE = {
    "pads": ([0] * 4, (0,) * 4), "dilations": ([1, 1], (1, 1)), "ceil_mode": (0,),
    "auto_pad": ("NOTSET", b"NOTSET"),
}  # fmt: skip


def translate_narrow(
    network: Network, plan: Plan, lanes: int, dots: DotLayers, sparse: SparseLayers
) -> tvm.IRModule:
    """As ``frontend.translate``, with vectors of ``lanes`` sums."""
    network = Network(pool_first(fold_batch_norm(network.model)))
    return imported(NarrowImporter(network, plan, lanes, dots, sparse), network)


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
            return self.look_up(name, first)
        if op_name == "QuantizeLinear":
            result = self.quantize(first, inputs[1], inputs[2], name in self.ahead.inside)
        elif op_name == "Cast":
            result = self.cast(first, attrs["to"])
        elif op_name in ("Add", "Mul") and any(isinstance(value, Image) for value in inputs):
            result = self.arithmetic(op_name, inputs, name)
        elif not isinstance(first, Image):
            pass
        elif op_name == "DequantizeLinear":
            result = self.dequantize(first, *inputs[1:3])
        elif op_name == "Relu":
            result = first if name in self.ahead.clipped else self.relu(first)
        elif op_name in ("Flatten", "Reshape", "Squeeze"):
            result = self.flattened(op_name, first, inputs[1:], attrs)
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
        image, number = self.image(value), str(nought.dtype)
        if image is None:
            return None
        same = (image.number, image.steps) == (number, (float(step.item()), int(nought.item())))
        if same:  # the same steps: nothing to round
            return replace(image, factor=1.0, shift=0.0, steps=None)
        compute = partial(
            rounding.stepped if inside else rounding.levels, number=number, zero=int(nought.item())
        )
        emitted = self.emit(compute, image, "quantize", step.item())
        if inside:
            return self.stored(image, emitted, factor=float(step.item()))
        return self.stored(image, emitted, number)

    def dequantize(self, image: Image, scale: relax.Expr, zero: relax.Expr) -> Image | None:
        step, nought = constant(scale), constant(zero)
        if step is None or nought is None or step.size > 1:
            return None
        if image.number == REAL:
            return image  # rounded inside a kernel, and so counted already
        steps = float(step.item()), int(nought.item())
        return replace(image, factor=steps[0], shift=-steps[1] * steps[0], steps=steps)

    def cast(self, value: Any, to: int) -> Image | None:
        """To bfloat16, and from it; the pair leaves the image as it is stored."""
        if isinstance(value, Image) and value.number == "bfloat16":
            return value if to == TensorProto.FLOAT else None
        image = self.image(value) if to == TensorProto.BFLOAT16 else None
        return None if image is None else self.rounded(image)

    def rounded(self, image: Image) -> Image:
        """An image's numbers as bfloat16."""
        real = self.real(image)
        emitted = self.bb.emit_te(
            rounding.nearest_bits, real.expression, primfunc_name_hint="round"
        )
        return self.stored(image, emitted, "bfloat16")

    def real(self, value: Any, moved: bool = False) -> Any:
        """An image's numbers in float32; any other value as it is. ``moved``: into another layout,
        by a kernel that reads them as they are stored."""
        if not isinstance(value, Image) or (value.number == REAL and value.is_plain):
            return value
        pattern = {"op_pattern": INJECTIVE} if moved else None
        return self.stored(value, self.emit(rounding.real, value, "real", pattern=pattern))

    def look_up(self, name: str, image: Image) -> Image:
        """What several operators make of 8-bit integers, by a table."""
        _, table = self.ahead.tables[name]
        given = relax.const(np.pad(table, (0, max(0, image.shape[-1] - len(table)))))
        emitted = self.bb.emit_te(
            rounding.looked_up, image.expression, given, primfunc_name_hint="look_up"
        )
        return self.stored(image, emitted, str(table.dtype))

    def emit(
        self, compute: Any, image: Image, name: str, unit: float = 1.0,
        pattern: dict[str, int] | None = None,
    ) -> relax.Expr:  # fmt: skip
        """``compute`` of what the image stands for, counted in ``unit``."""
        factor, shift = image.factor / np.float64(unit), image.shift / np.float64(unit)
        given: list[PerChannel] = [factor, shift] if np.any(shift) else [factor]
        if len(given) == 1 and np.all(factor == 1):
            given = []
        return self.bb.emit_te(
            compute, image.expression, *vectors(image, *given), primfunc_name_hint=name,
            primfunc_attrs=pattern,
        )  # fmt: skip

    def stored(
        self, image: Image, emitted: relax.Expr, number: str = REAL, factor: float = 1.0
    ) -> Image:
        """Another image of the same channels."""
        return Image(emitted, image.channels, number=number, factor=factor, vector=image.vector)

    # -- between the layouts -------------------------------------------------------------------

    def image(self, value: Any) -> Image | None:
        """Any value channels last; None where it is no image."""
        if isinstance(value, Image):
            return value
        shape = tuple(map(int, value.ty.shape))
        if isinstance(value, Blocked):
            value = super().plain(value)
        elif len(shape) == 2:
            value = self.bb.emit(relax.op.reshape(value, (*shape, 1, 1)))
        elif len(shape) != 4:
            return None
        channels = int(value.ty.shape[1])
        stored = layout.stored_channels(channels, self.lanes)
        emitted = self.bb.emit_te(layout.to_last, value, stored, primfunc_name_hint="last")
        return Image(emitted, channels, vector=len(shape) == 2)

    def plain(self, value: Any) -> Any:
        plain = super().plain(self.real(value, moved=True))
        if isinstance(value, Image) and value.vector:
            return self.bb.emit(relax.op.reshape(plain, (-1, value.channels)))
        return plain

    def blocked(self, value: Any, order: int | None = None) -> Blocked:
        if isinstance(value, Image):
            value = super().plain(self.real(value, moved=True))
        return super().blocked(value, order)

    def flattened(
        self, op_name: str, image: Image, rest: Sequence[Any], attrs: dict[str, Any]
    ) -> Image | None:
        """An image of one pixel as a vector; None for others, and other shapes."""
        if image.pixels > 1 or attrs["tvm_custom"]["num_outputs"] > 1:
            return None
        given = constant(rest[0]) if rest and rest[0] is not None else None
        matrix = makes_a_vector(op_name, image, given, attrs.get("axis", 1))
        return replace(image, vector=True) if matrix else None

    # -- layers --------------------------------------------------------------------------------

    def template_layer(
        self, row: LayerRow, inputs: Any, attrs: dict[str, Any]
    ) -> relax.Expr | Blocked | None:
        image, row = inputs[0], self.plan.step(row.name).way.computed(row)
        if row.dtype == "bfloat16" and not (isinstance(image, Image) and image.is_narrow):
            found = self.image(image)  # its numbers are bfloat16 already
            image = image if found is None else self.rounded(found)
        if isinstance(image, Image):
            narrow = image.is_narrow and row.dtype != REAL
            result = self.dot_layer(row, image, inputs, attrs) if narrow else None
            if result is not None:
                return result
            inputs[0] = self.plain(image) if image.vector else self.blocked(image)
        return super().template_layer(row, inputs, attrs)

    def dot_layer(
        self, row: LayerRow, image: Image, inputs: Any, attrs: dict[str, Any]
    ) -> Image | None:
        """By dot products of what is stored; None where image and weights do not fit."""
        if row.op == "dense" and not (image.vector and has_no_factors(attrs)):
            return None
        axis = 0 if row.op == "conv" or attrs.get("transB") else 1  # of the output channels
        bias = np.zeros(1) if inputs[2] is None else constant(inputs[2])
        weight: Any = constant(inputs[1]) if image.steps is None else quantized(inputs[1])
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
        if emitted is None:
            return None
        return Image(emitted, row.out_channels, factor=given.unit, vector=image.vector)

    # -- operators -----------------------------------------------------------------------------

    def arithmetic(self, op_name: str, inputs: Sequence[Any], name: str) -> Image | None:
        """Add and Mul of images and constants per channel; None for what needs another way."""
        images = [value for value in inputs if isinstance(value, Image)]
        if len(images) == 2:
            if op_name == "Mul":
                return self.gated(images[0], images[1])
            return self.sum_of(images[0], images[1], self.ahead.steps.get(name, 1.0))
        (image,) = images
        (other,) = (value for value in inputs if value is not image)
        known = None if isinstance(other, Blocked) else constant(other)
        if known is None:
            return None
        shape = known.shape[-1:] if image.vector else known.shape[-3:]
        each = (image.channels,) if image.vector else (image.channels, 1, 1)
        if known.size > 1 and (shape != each or known.size != image.channels):
            return None
        number = known.item() if known.size == 1 else filled(known.reshape(-1), image)
        if op_name == "Add":
            return replace(image, shift=image.shift + number, steps=None)
        return replace(image, factor=image.factor * number, shift=image.shift * number, steps=None)

    def relu(self, image: Image) -> Image | None:
        """Of what is stored, where it stands for a multiple."""
        if image.number != REAL or np.any(image.shift) or not np.all(np.greater(image.factor, 0)):
            return None
        return replace(image, expression=self.bb.emit(relax.op.nn.relu(image.expression)))

    def sum_of(self, a: Image, b: Image, unit: float) -> Image | None:
        """Of two images as they are stored, counted in ``unit``."""
        if a.shape != b.shape or a.channels != b.channels:
            return None
        parts = a.factor / unit, b.factor / unit, (a.shift + b.shift) / unit
        emitted = self.bb.emit_te(
            rounding.weighted_sum,
            a.expression,
            b.expression,
            *vectors(a, *parts),
            primfunc_name_hint="sum",
        )
        return self.stored(a, emitted, factor=unit)

    def gated(self, a: Image, b: Image) -> Image | None:
        """An image times one pixel, in either order; None for others."""
        image, pixel = (b, a) if a.pixels == 1 else (a, b)
        if pixel.pixels > 1 or image.shape == pixel.shape:
            return None
        given = vectors(image, image.factor, image.shift, pixel.factor, pixel.shift)
        emitted = self.bb.emit_te(
            rounding.gated,
            image.expression,
            pixel.expression,
            *given,
            primfunc_name_hint="gate",
            primfunc_attrs={"op_pattern": INJECTIVE},
        )
        return self.stored(image, emitted)

    def on_blocks(
        self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int
    ) -> Blocked | None:
        if not any(isinstance(value, Image) for value in inputs):
            return super().on_blocks(op_name, inputs, attrs, opset)
        if op_name in ("MaxPool", "AveragePool", "GlobalAveragePool"):
            return self.pooled(op_name, inputs[0], attrs)
        inputs[:] = [self.real(value) for value in inputs]
        if op_name in ELEMENTWISE and len(inputs) > 1:
            inputs[:] = self.beside(inputs)
        return super().on_blocks(op_name, inputs, attrs, opset)

    def pooled(self, op_name: str, image: Image, attrs: dict[str, Any]) -> Blocked | None:
        if op_name == "MaxPool":
            # Steps are in the order of what they stand for: the largest stays the largest.
            if image.number not in (REAL, "bfloat16") and np.all(np.greater(image.factor, 0)):
                return self.pool(op_name, image, attrs)
            largest: Any = self.pool(op_name, self.real(image), attrs)
            narrow = image.number == "bfloat16" and image.is_plain
            return self.rounded(largest) if narrow and largest is not None else largest
        kernel, stride = attrs.get("kernel_shape"), tuple(attrs.get("strides", (1, 1)))
        if op_name == "GlobalAveragePool":
            kernel = image.shape[2:4]
        elif any(attrs.get(name, allowed[0]) not in allowed for name, allowed in NONE.items()):
            return super().on_blocks(op_name, [self.real(image)], attrs, 0)
        assert kernel is not None
        factor = image.factor / np.float64(kernel[0] * kernel[1])
        shift, zero = (image.shift, 0) if image.steps is None else (0.0, image.steps[1])
        compute = partial(rounding.averaged, kernel=tuple(kernel), stride=stride, zero=zero)
        emitted = self.bb.emit_te(
            compute,
            image.expression,
            *vectors(image, factor, shift),
            primfunc_name_hint="average",
        )
        return self.stored(image, emitted)

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
        if isinstance(value, Image):
            return value.expression if value.channels == beside.channels else None
        known = None if isinstance(value, Blocked) else constant(value)
        if known is None or known.size == 1:
            return None if known is None else value
        shape = known.shape[-1:] if beside.vector else known.shape[-3:]
        each = (beside.channels,) if beside.vector else (beside.channels, 1, 1)
        if shape != each or known.size != beside.channels:
            return None
        return relax.const(filled(known.reshape(-1), beside).astype(known.dtype))

    def concatenation(self, images: Sequence[Any]) -> Blocked | None:
        """Along channels, where every image but the last fills its vectors."""
        given = [image for image in map(self.image, images) if image is not None]
        if len(given) < len(images):
            return None
        if any(part.shape[-1] != part.channels for part in given[:-1]):
            return None
        if len({part.number for part in given}) > 1:
            given = [self.real(part) for part in given]
        whole = self.bb.emit(relax.op.concat([part.expression for part in given], axis=4))
        steps = {part.steps for part in given}
        return Image(
            whole,
            sum(part.channels for part in given),
            number=given[0].number,
            factor=joined(given, [part.factor for part in given]),
            shift=joined(given, [part.shift for part in given]),
            steps=steps.pop() if len(steps) == 1 else None,
        )
