"""From a network to Relax with every layer in its primitive's template form, and with the blocked
layout kept from layer to layer where primitives have it.

Then convolutions, pooling, elementwise operators and concatenation read and write (N, C/b, H, W,
b); only where another operator needs it is a tensor brought back to (N, C, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from numpy.polynomial import Chebyshev, Polynomial
from tvm import relax, te, tirx

from dlas.errors import Refused
from dlas.layer import member
from dlas.network import LayerRow, Network
from dlas.network.fold import fold_batch_norm
from dlas.plan import Plan
from dlas.systems.tvm import layout
from dlas.systems.tvm.calls import constants_of
from dlas.systems.tvm.frontend import Importer, imported, plain_product
from dlas.systems.tvm.layers import Kernel, per_channel
from dlas.systems.tvm.order import ELEMENTWISE, channel_orders
from dlas.systems.tvm.pooling import plain_max_pool
from dlas.systems.tvm.quantized import Array, constant
from dlas.systems.tvm.rewrite import pool_first
from dlas.systems.tvm.sparse import SparseLayers
from dlas.target.blocks import block_channels, interleaved

#: 2ᶠ for |f| ≤ ½, by powers of f: degree 5, interpolated at Chebyshev's points.
EXP2 = Chebyshev.interpolate(np.exp2, 5, domain=[-0.5, 0.5]).convert(kind=Polynomial).coef.tolist()
MANTISSA_BITS = 23
#: Relax's fusion pattern of a kernel that nothing before it may join.
INJECTIVE = 2


def translate_blocked(
    network: Network, plan: Plan, lanes: int, sparse: SparseLayers | None = None
) -> tvm.IRModule:
    """As ``frontend.translate``, with blocks of ``lanes`` channels."""
    network = Network(pool_first(fold_batch_norm(network.model)))
    return imported(BlockedImporter(network, plan, lanes, sparse), network)


@dataclass(frozen=True)
class Blocked:
    """An image in blocks: ``expression`` is (N, C/b, H, W, b), its channels in ``order``
    (``target/blocks.py``)."""

    expression: relax.Expr
    channels: int
    order: int = 1

    @property
    def ty(self) -> Any:  # what the importer asks of every value
        return self.expression.ty

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(extent) for extent in self.expression.ty.shape)


class BlockedImporter(Importer):
    def __init__(
        self, network: Network, plan: Plan, lanes: int, sparse: SparseLayers | None
    ) -> None:
        super().__init__(network, plan, sparse)
        self.lanes = lanes
        self.orders = channel_orders(network, plan, lanes)

    def _construct_nodes(self, graph: Any) -> None:
        super()._construct_nodes(graph)
        for output in graph.output:
            self._nodes[output.name] = self.plain(self._nodes[output.name])

    def _convert_operator(
        self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int
    ) -> relax.Expr | Blocked:
        row = self.rows.get(attrs["tvm_custom"]["name"])
        result: relax.Expr | Blocked | None = None
        if row is not None:
            result = self.template_layer(row, inputs, attrs)
            self.owners |= dict.fromkeys(constants_of(self.bb, result), row.name)
        elif any(isinstance(value, Blocked) for value in inputs):
            result = self.on_blocks(op_name, inputs, attrs, opset)
        elif op_name == "Sigmoid":
            result = self.bb.emit_te(sigmoid, *inputs, primfunc_name_hint="sigmoid")
        elif op_name == "Mul" and is_gate(inputs):
            result = self.gate(*inputs)
        elif op_name == "MaxPool" and inputs[0].ty.ndim == 4:
            result = plain_max_pool(self.bb, inputs[0], attrs)
        if result is not None:
            return result
        for index, value in enumerate(inputs):
            inputs[index] = self.plain(value)
        return super()._convert_operator(op_name, inputs, attrs, opset)

    # -- between the layouts -------------------------------------------------------------------

    def plain(self, value: Any) -> Any:
        """A blocked image as (N, C, H, W); any other value as it is."""
        if not isinstance(value, Blocked):
            return value
        given = value.channels, value.order
        return self.bb.emit_te(
            layout.from_blocks, value.expression, *given, primfunc_name_hint="unblock"
        )

    def vectors(self, image: Blocked) -> relax.Expr:
        """An image of one pixel as (N, C)."""
        return self.bb.emit(relax.op.reshape(self.plain(image), (-1, image.channels)))

    def blocked(self, value: Any, order: int | None = None) -> Blocked:
        """An image in blocks, wherever it was; in this order of channels, if one is asked for."""
        if isinstance(value, Blocked):
            return value if order in (None, value.order) else self.reordered(value, order)
        order = order or 1
        emitted = self.bb.emit_te(
            layout.to_blocks, value, self.lanes, order, primfunc_name_hint="block"
        )
        return Blocked(emitted, int(value.ty.shape[1]), order)

    def reordered(self, image: Blocked, order: int) -> Blocked:
        given = image.order, order
        emitted = self.bb.emit_te(
            layout.reordered, image.expression, *given, primfunc_name_hint="reorder"
        )
        return replace(image, expression=emitted, order=order)

    # -- operators -----------------------------------------------------------------------------

    def template_layer(
        self, row: LayerRow, inputs: Any, attrs: dict[str, Any]
    ) -> relax.Expr | Blocked | None:
        """A layer by its primitive's template form; None where it has no such form, and for a dense
        layer that is more than x · W + bias."""
        primitive: Any = member("algorithms", self.plan.primitive(row.name))()
        if not primitive.template or (row.op == "dense" and not plain_product(inputs[0], attrs)):
            return None
        weight = constant(inputs[1])
        bias = np.zeros(1) if inputs[2] is None else constant(inputs[2])
        if weight is None or bias is None:
            raise Refused(f"the weights of {row.name!r} are not constants")
        if row.op == "dense" and not attrs.get("transB"):
            weight = weight.T
        bias = np.broadcast_to(bias, row.out_channels).astype(np.float32)
        step = self.plan.step(row.name)
        if step.is_sparse:
            return self.sparse.emit(self.bb, step, row, self.plain(inputs[0]), weight, bias)
        if primitive.template == "plain":
            return self.plain_layer(primitive, row, self.plain(inputs[0]), (weight, bias))
        return self.blocked_layer(primitive, row, inputs[0], (weight, bias))

    def plain_layer(
        self, primitive: Any, row: LayerRow, given: relax.Expr, constants: tuple[Array, Array]
    ) -> relax.Expr:
        weight, bias = constants

        def compute(image: te.Tensor, packed: te.Tensor, shift: te.Tensor) -> te.Tensor:
            sums = primitive.compute_plain(image, packed, row, self.lanes)
            return per_channel(sums, lambda total, k: (total + shift[k]).astype(str(image.dtype)))

        constants = (primitive.pack(weight, row), bias)
        return Kernel(primitive.name, compute, given, constants).emit(self.bb)

    def blocked_layer(
        self, primitive: Any, row: LayerRow, given: Any, constants: tuple[Array, Array]
    ) -> relax.Expr | Blocked:
        lanes, (weight, bias) = self.lanes, constants
        read, wanted = 1, primitive.orders(row, lanes)
        if row.op == "dense":
            given = self.bb.emit(relax.op.reshape(given, (-1, row.in_channels, 1, 1)))
        elif not primitive.takes_plain or isinstance(given, Blocked) or row.in_channels >= lanes:
            image = self.blocked(given, wanted[0] if wanted else None)
            given, read = image.expression, image.order
        if row.groups == 1:
            weight = weight[:, interleaved(row.in_channels, lanes, read)]
            written = self.orders[row.name]
        else:
            written = wanted[1] if wanted else read
        rows = interleaved(row.out_channels, lanes, written)
        weight, bias = weight[rows], bias[rows]

        def compute(image: te.Tensor, packed: te.Tensor, shift: te.Tensor) -> te.Tensor:
            sums = primitive.compute_blocked(image, packed, row, lanes)

            def shifted(n: Any, k: Any, y: Any, x: Any, lane: Any) -> Any:
                return (sums[n, k, y, x, lane] + shift[k, lane]).astype(str(image.dtype))

            return te.compute(sums.shape, shifted, name="bias")

        constants = primitive.pack_blocked(weight, row, lanes), block_channels(bias, lanes)
        emitted = Kernel(primitive.name, compute, given, constants).emit(self.bb)
        scores = Blocked(emitted, row.out_channels, written)
        return scores if row.op == "conv" else self.vectors(scores)

    def on_blocks(
        self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int
    ) -> Blocked | None:
        """The operator on blocked images; None where it needs them plain."""
        if op_name in ELEMENTWISE:
            return self.elementwise(op_name, inputs, attrs, opset)
        if op_name in ("MaxPool", "AveragePool"):
            return self.pool(op_name, inputs[0], attrs)
        if op_name == "GlobalAveragePool":
            return self.global_average(inputs[0])
        if op_name == "Concat" and attrs["axis"] == 1:
            return self.concatenation(inputs)
        return None

    def elementwise(
        self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int
    ) -> Blocked | None:
        images = [value for value in inputs if isinstance(value, Blocked)]
        first = images[0]
        given = [self.operand(value, first) for value in inputs if value is not None]
        if any(value is None for value in given):
            return None
        shapes = [v.ty.shape for v in given if v is not None and constant(v) is None]
        if op_name == "Mul" and len({tuple(map(int, shape)) for shape in shapes}) == 2:
            return replace(first, expression=self.gate(*given))
        if op_name == "Sigmoid":
            emitted = self.bb.emit_te(sigmoid, *given, primfunc_name_hint="sigmoid")
            return replace(first, expression=emitted)
        inputs[: len(given)] = given
        result = super()._convert_operator(op_name, inputs, attrs, opset)
        return replace(first, expression=self.bb.emit(result))

    def operand(self, value: Any, beside: Blocked) -> relax.Expr | None:
        """An operand beside a blocked image, as many channels blocked too, in the same order, or
        one number."""
        channels, order = beside.channels, beside.order
        if isinstance(value, Blocked):
            return self.blocked(value, order).expression if value.channels == channels else None
        known = constant(value)
        if known is not None and known.size == 1:
            return value
        shape = tuple(int(extent) for extent in value.ty.shape)
        if known is not None and shape[-3:] == (channels, 1, 1) and known.size == channels:
            ordered = known.reshape(channels)[interleaved(channels, self.lanes, order)]
            vectors = block_channels(ordered, self.lanes)
            return relax.const(vectors.reshape(-1, 1, 1, self.lanes))
        if known is None and len(shape) == 4 and shape[1] == channels:
            return self.blocked(value, order).expression
        return None

    def gate(self, a: relax.Expr, b: relax.Expr) -> relax.Expr:
        """Squeeze-and-excitation's product, a kernel of its own: fused into the layer that computes
        the gate, it would compute that layer for every pixel."""

        def product(x: te.Tensor, y: te.Tensor) -> te.Tensor:
            image, factor = (x, y) if int(x.shape[2]) > 1 or int(x.shape[3]) > 1 else (y, x)
            return te.compute(
                image.shape,
                lambda n, k, i, j, *lane: image[(n, k, i, j, *lane)] * factor[(n, k, 0, 0, *lane)],
            )

        return self.bb.emit_te(
            product, a, b, primfunc_name_hint="gate", primfunc_attrs={"op_pattern": INJECTIVE}
        )

    def pool(self, op_name: str, image: Blocked, attrs: dict[str, Any]) -> Blocked | None:
        """MaxPool or AveragePool; None with options that no network here has."""
        if attrs.get("ceil_mode") or attrs.get("auto_pad", "NOTSET") not in ("NOTSET", b"NOTSET"):
            return None
        if set(attrs.get("dilations", (1,))) != {1} or attrs["tvm_custom"]["num_outputs"] > 1:
            return None
        kernel, pads = attrs["kernel_shape"], attrs.get("pads", (0, 0, 0, 0))
        stride = attrs.get("strides", (1, 1))
        if op_name == "AveragePool" and any(pads):
            return None  # the divisor would vary along the edges
        batch, blocks, height, width, lanes = image.shape
        top, left, bottom, right = pads
        p = (height + top + bottom - kernel[0]) // stride[0] + 1
        q = (width + left + right - kernel[1]) // stride[1] + 1

        def pooled(data: te.Tensor) -> te.Tensor:
            r, s = (
                te.reduce_axis((0, extent), name) for extent, name in zip(kernel, "rs", strict=True)
            )

            def element(n: Any, k: Any, y: Any, x: Any, lane: Any) -> Any:
                i, j = y * stride[0] + r - top, x * stride[1] + s - left
                if op_name == "AveragePool":
                    return te.sum(data[n, k, i, j, lane].astype("float32"), axis=[r, s])
                inside = tirx.all(i >= 0, i < height, j >= 0, j < width)
                value = data[n, k, i, j, lane]
                if any(pads):
                    value = tirx.if_then_else(inside, value, te.min_value(str(data.dtype)))
                return te.max(value, axis=[r, s])

            sums = te.compute((batch, blocks, p, q, lanes), element, name="pool")
            if op_name == "MaxPool":
                return sums
            return scaled(sums, 1 / (kernel[0] * kernel[1]), data.dtype)

        emitted = self.bb.emit_te(pooled, image.expression, primfunc_name_hint="pool")
        return replace(image, expression=emitted)

    def global_average(self, image: Blocked) -> Blocked:
        batch, blocks, height, width, lanes = image.shape

        def average(data: te.Tensor) -> te.Tensor:
            y, x = te.reduce_axis((0, height), "y"), te.reduce_axis((0, width), "x")
            sums = te.compute(
                (batch, blocks, 1, 1, lanes),
                lambda n, k, i, j, lane: te.sum(
                    data[n, k, y, x, lane].astype("float32"), axis=[y, x]
                ),
                name="pool",
            )
            return scaled(sums, 1 / (height * width), data.dtype)

        emitted = self.bb.emit_te(average, image.expression, primfunc_name_hint="average")
        return replace(image, expression=emitted)

    def concatenation(self, images: Sequence[Any]) -> Blocked | None:
        """Along channels, where every image but the last ends with a whole block."""
        widths = [v.channels if isinstance(v, Blocked) else int(v.ty.shape[1]) for v in images]
        if any(width % self.lanes for width in widths[:-1]):
            return None
        blocks = [self.blocked(image, 1).expression for image in images]
        return Blocked(self.bb.emit(relax.op.concat(blocks, axis=1)), sum(widths))


def is_gate(values: Sequence[Any]) -> bool:
    """Whether these are an image (N, C, H, W) and one pixel (N, C, 1, 1), in either order."""
    if any(constant(value) is not None or value.ty.ndim != 4 for value in values):
        return False
    a, b = (tuple(map(int, value.ty.shape)) for value in values)
    return a != b and a[:2] == b[:2] and (1, 1) in (a[2:], b[2:])


def sigmoid(data: te.Tensor) -> te.Tensor:
    """1 / (1 + e⁻ˣ), relative error 5e-7. C's exponential takes one number at a time; here
    2ᵗ = 2ⁿ · 2ᶠ with n whole and |f| ≤ ½: n is added to the bits of the exponent, and 2ᶠ is a
    polynomial."""

    def number(value: float) -> Any:
        return tirx.const(value, "float32")

    def element(*at: Any) -> Any:
        t = data[at].astype("float32") * number(-math.log2(math.e))
        t = te.max(te.min(t, number(126)), number(-126))  # where 2ᵗ is a normal number
        n = tirx.nearbyint(t)
        power = number(EXP2[-1])
        for coefficient in EXP2[-2::-1]:
            power = power * (t - n) + number(coefficient)
        bits = tirx.reinterpret("int32", power) + (n.astype("int32") << MANTISSA_BITS)
        result = number(1) / (number(1) + tirx.reinterpret("float32", bits))
        return result.astype(str(data.dtype))

    return te.compute(data.shape, element, name="sigmoid")


def scaled(sums: te.Tensor, factor: float, dtype: str) -> te.Tensor:
    """The float32 ``sums`` times ``factor``, rounded to ``dtype``."""

    def element(*at: Any) -> Any:
        return (sums[at] * tirx.const(factor, "float32")).astype(dtype)

    return te.compute(sums.shape, element, name="scaled")
