"""The untuned loop order, the same rule for every kernel: nothing is searched or measured.

Tensor expressions put the sum innermost, which no compiler may vectorize in floating point. Here
the last output axis comes innermost instead, cut to vectors; and what is elementwise after the sum
is computed in one pass over the output.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.schedule import SBlockRV

from dlas.layer import member

MAIN = "main"


def schedule(kernel: tirx.PrimFunc, lanes: int, threads: int) -> tirx.PrimFunc:
    """The kernel in the untuned order, its vectors of at most ``lanes`` numbers; the outputs of a
    sum are shared among the threads."""
    order = s_tir.Schedule(tvm.IRModule({MAIN: kernel}), debug_mask="none")
    form = form_in(order)
    if form is not None:
        form.apply(order, {"lanes": lanes}, threads)
        return order.mod[MAIN]
    root = order.get_sblock("root", MAIN)
    for block in order.get_child_blocks(root):
        consumers = order.get_consumers(block)
        if consumers and all(is_elementwise(order, b) for b in (block, *consumers)):
            order.compute_inline(block)
    blocks = order.get_child_blocks(root)
    if any(is_sum(order, block) for block in blocks):
        for block in blocks:
            arrange(order, block, lanes, threads)
    return order.mod[MAIN]


def form_in(order: s_tir.Schedule) -> Any:
    """The sparse form of a primitive, or that of narrow numbers, that this kernel is; None for
    other kernels."""
    for block in order.get_child_blocks(order.get_sblock("root", MAIN)):
        name = order.get(block).name_hint
        for form in ("sparse", "dot"):
            if name.endswith(f"_{form}_template"):
                primitive: Any = member("algorithms", name.removesuffix(f"_{form}_template"))()
                return getattr(primitive, form)
    return None


def is_elementwise(order: s_tir.Schedule, block: SBlockRV) -> bool:
    """Whether every element is computed once and by itself, by one store."""
    statement = order.get(block)
    kinds = {axis.iter_type for axis in statement.iter_vars}
    return kinds <= {tirx.IterVar.DataPar} and isinstance(statement.body, tirx.BufferStore)


def is_sum(order: s_tir.Schedule, block: SBlockRV) -> bool:
    """Whether many values become one: a sum, or another reduction such as a maximum."""
    statement = order.get(block)
    return statement.init is not None and isinstance(statement.body, tirx.BufferStore)


def arrange(order: s_tir.Schedule, block: SBlockRV, lanes: int, threads: int) -> None:
    """Loops (outputs …, last output, sums …) → (outputs …, sums …, last output in vectors), the
    outer outputs as one parallel loop."""
    axes, loops = order.get(block).iter_vars, order.get_loops(block)
    kinds = [axis.iter_type == tirx.IterVar.DataPar for axis in axes]
    *outer, last = [loop for loop, output in zip(loops, kinds, strict=True) if output]
    sums = [loop for loop, output in zip(loops, kinds, strict=True) if not output]
    if threads > 1 and outer:
        order.parallel(order.fuse(*outer))
    length = int(order.get(last).extent)
    if sums and length > 1:
        order.reorder(*sums, last)
        width = max(n for n in range(1, lanes + 1) if length % n == 0)
        order.vectorize(order.split(last, [None, width])[1])
        order.decompose_reduction(block, sums[0])
