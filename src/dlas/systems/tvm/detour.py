"""A layer of a narrow network that is computed in float32: the kernels around its own, which bring
the image from channels last into the layer's layout, and its outputs back, rounded.

Every layer lies between roundings of its own, so that this concerns no other one. Two neighbours
that are both computed so share the kernel between them, which makes this an upper bound.
"""

from __future__ import annotations

from typing import Any

from tvm import te

from dlas.layer import member
from dlas.network import LayerRow
from dlas.plan import Way
from dlas.systems.tvm import layout, rounding
from dlas.systems.tvm.questions import Question, Setting, of_rule


def detour(row: LayerRow, way: Way, setting: Setting, batch: int = 1) -> list[Question]:
    """How long the change to the layout of ``way`` takes, and that back; nothing for a way in the
    network's own precision."""
    if not way.precision:
        return []
    primitive: Any = member("algorithms", way.primitive)()
    lanes, blocked = setting.target.lanes, primitive.template == "blocked" and row.op == "conv"
    read, written = (primitive.orders(row, lanes) or (1, 1)) if blocked else (1, 1)
    there = widened(row, lanes, read if blocked else None, batch)
    back = narrowed(row, lanes, written if blocked else None, batch)
    return [of_rule(te.create_prim_func(tensors), setting) for tensors in (there, back)]


def widened(row: LayerRow, lanes: int, order: int | None, batch: int) -> list[te.Tensor]:
    """Channels last to blocks of float32 in ``order``, or for None to (N, C, H, W): what is given,
    and the result."""
    stored, integers = layout.stored_channels(row.in_channels, lanes), row.dtype == "int8"
    number = "uint8" if integers else rounding.BITS
    image = te.placeholder((batch, 1, *row.input_hw, stored), number)
    given = channels(stored, "factor", "shift") if integers else []
    plain = layout.from_blocks(rounding.real(image, *given), row.in_channels)
    result = plain if order is None else layout.to_blocks(plain, lanes, order)
    return [image, *given, result]


def narrowed(row: LayerRow, lanes: int, order: int | None, batch: int) -> list[te.Tensor]:
    """From there to channels last, rounded."""
    plain = image = te.placeholder((batch, row.out_channels, *row.output_hw), "float32")
    if order is not None:
        image = te.placeholder(layout.to_blocks(image, lanes, order).shape, "float32")
        plain = layout.from_blocks(image, row.out_channels, order)
    stored = layout.stored_channels(row.out_channels, lanes)
    last = layout.to_last(plain, stored)
    if row.dtype != "int8":
        return [image, rounding.nearest_bits(last)]
    given = channels(stored, "factor")
    return [image, *given, rounding.levels(last, *given, number="uint8", zero=0)]


def channels(stored: int, *names: str) -> list[te.Tensor]:
    """A number of each channel, by each name."""
    return [te.placeholder((stored,), "float32", name) for name in names]
