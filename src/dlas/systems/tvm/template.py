"""The template loop order: a kernel with a primitive in it by that primitive's schedule template,
every other kernel by one rule for vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tvm
from tvm import s_tir, tirx

from dlas.layer import member
from dlas.systems.tvm.prefetch import with_prefetch
from dlas.systems.tvm.schedule import MAIN, form_in, is_elementwise, is_sum
from dlas.target import Target

if TYPE_CHECKING:
    from dlas.algorithms.template import Knobs, TemplatePrimitive

#: A sum of at most so many terms is unrolled: the window of a pooling layer.
UNROLLED = 16


def opened(kernel: tirx.PrimFunc) -> s_tir.Schedule:
    return s_tir.Schedule(tvm.IRModule({MAIN: kernel}), debug_mask="none")


def fresh(kernel: tirx.PrimFunc) -> tirx.PrimFunc:
    """A copy to its last loop. Of a kernel that is given an attribute only the outside is copied:
    ordering the loops of that one changes those of the other."""
    return s_tir.renew_defs(kernel)


def primitive_in(order: s_tir.Schedule) -> TemplatePrimitive | None:
    """The primitive whose template this kernel's loops are ordered by; None for the form of one,
    and for other kernels."""
    if form_in(order) is not None:
        return None
    for block in order.get_child_blocks(order.get_sblock("root", MAIN)):
        name = order.get(block).name_hint
        if name.endswith("_template"):
            found: Any = member("algorithms", name.removesuffix("_template"))()
            return found  # type: ignore[no-any-return]
    return None


def weight_of(order: s_tir.Schedule) -> int:
    """Which of the kernel's parameters its primitive multiplies the image by."""
    primitive, kernel = primitive_in(order), order.mod[MAIN]
    assert primitive is not None
    block = order.get_sblock(primitive.stage)
    *_, weight = order.get(block).reads
    for stage in map(order.get, order.get_producers(block)):
        if stage.writes[0].source.same_as(weight.source):  # as another type
            (weight,) = stage.reads
    return next(i for i, each in enumerate(kernel.params) if each.same_as(weight.source))


def by_template(kernel: tirx.PrimFunc, knobs: Knobs, threads: int) -> tirx.PrimFunc:
    order = opened(fresh(kernel).with_attr("tirx.noalias", True))
    primitive = primitive_in(order)
    assert primitive is not None
    primitive.apply(order, knobs, threads)
    kernel = order.mod[MAIN]
    return with_prefetch(kernel, primitive.stage) if primitive.streams_weights else kernel


def by_rule(kernel: tirx.PrimFunc, target: Target, threads: int) -> tirx.PrimFunc:
    """The one order of a primitive's form. Of other kernels, vectors along the last axis, the outer
    axes shared among the threads; sums in registers."""
    order = opened(fresh(kernel).with_attr("tirx.noalias", True))
    form = form_in(order)
    if form is not None:
        form.apply(order, form.candidates(order, target)[0], threads)
        return order.mod[MAIN]
    root = order.get_sblock("root", MAIN)
    for block in order.get_child_blocks(root):
        consumers = order.get_consumers(block)
        if consumers and all(is_elementwise(order, b) for b in (block, *consumers)):
            order.compute_inline(block)
    for block in order.get_child_blocks(root):
        if is_sum(order, block):
            sum_in_vectors(order, block, target.lanes, threads)
        elif is_elementwise(order, block):
            vectors(order, block, target.lanes, threads)
    return order.mod[MAIN]


def vectors(order: s_tir.Schedule, block: Any, lanes: int, threads: int) -> None:
    *outer, last = order.get_loops(block)
    if threads > 1 and outer:
        order.parallel(order.fuse(*outer))
    length = int(order.get(last).extent)
    width = max(n for n in range(1, lanes + 1) if length % n == 0)
    order.vectorize(order.split(last, [None, width])[1])


def sum_in_vectors(order: s_tir.Schedule, block: Any, lanes: int, threads: int) -> None:
    """Loops (outer outputs, last output in vectors, sums): the sum of one vector stays in a
    register, copied out when it is done."""
    axes = order.get(block).iter_vars
    outputs = [axis for axis in axes if axis.iter_type == tirx.IterVar.DataPar]
    length, number = int(outputs[-1].dom.extent), len(axes) - len(outputs)
    width = max(n for n in range(1, lanes + 1) if length % n == 0)
    copy = order.cache_write(block, 0, "local")
    *outer, last = order.get_loops(copy)
    if threads > 1 and outer:
        order.parallel(order.fuse(*outer))
    tile, vector = order.split(last, [None, width])
    order.vectorize(vector)
    order.compute_at(block, tile, preserve_unit_loops=True)
    loops = order.get_loops(block)
    inner, sums = loops[-number - 1], loops[-number:]
    order.reorder(*sums, inner)
    order.vectorize(inner)
    terms = 1
    for loop in reversed(sums):
        terms *= int(order.get(loop).extent)
        if terms <= UNROLLED:
            order.unroll(loop)
    order.decompose_reduction(block, sums[0])
