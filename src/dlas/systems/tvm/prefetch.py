"""Prefetching weights: instructions that ask for them some hundred multiply-adds ahead.

A layer reads its weights once, one after another, but the processor's own prefetching stops at the
end of every 4 KiB, and begins anew only when the first line of the next page is missed.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir.expr import TensorLoad
from tvm.sym import Analyzer

#: How far ahead, over all blocks of channels that are read side by side. With 4, 16 and 32 KiB the
#: layers of ResNet18 and ResNet50 whose weights came from memory ran a little slower.
AHEAD_BYTES = 8192
READ, LOCALITY, DATA = 0, 3, 1  # llvm.prefetch: for reading, into every cache, not instructions

FLAT = (tirx.ForKind.UNROLLED, tirx.ForKind.VECTORIZED)


def with_prefetch(kernel: tirx.PrimFunc, stage: str) -> tirx.PrimFunc:
    """The scheduled kernel; in the innermost loop around the block ``stage``, which multiplies an
    image by weights in blocks (…, ci, lane), the weights of a later iteration are prefetched."""

    def prefetching(loop: tirx.For) -> tirx.For:
        blocks: list[Any] = []
        inner: list[tirx.For] = []
        visits = (s_tir.SBlockRealize, blocks.append), (tirx.For, inner.append)
        if loop.kind in FLAT:
            return loop
        tvm_ffi.structural_walk(loop.body, visits)
        if [block.block.name_hint for block in blocks] != [f"{stage}_update"]:
            return loop
        if any(other.kind not in FLAT for other in inner):
            return loop
        ahead = [tirx.Evaluate(request) for request in requests(blocks[0], inner)]
        return tirx.For(
            loop.loop_var, loop.min, loop.extent, loop.kind, tirx.SeqStmt([*ahead, loop.body]),
            loop.thread_binding, loop.annotations,
        )  # fmt: skip

    return kernel.with_body(tvm_ffi.structural_map(kernel.body, (tirx.For, prefetching)))


def requests(realize: Any, inner: list[tirx.For]) -> list[Any]:
    """A prefetch for each vector of weights that one iteration reads."""
    loads: list[Any] = []
    tvm_ffi.structural_walk(realize.block.body, (TensorLoad, loads.append))
    weight = loads[-1]  # sum + pixel · weight
    axes = zip(realize.block.iter_vars, realize.iter_values, strict=True)
    bound = [(axis.var, at) for axis, at in axes]
    index = [replaced(i, bound) for i in weight.indices]
    unrolled = [range(int(loop.extent)) if loop.kind == FLAT[0] else (0,) for loop in inner]
    places = {}
    for values in product(*unrolled):
        now = [(loop.loop_var, loop.min + n) for loop, n in zip(inner, values, strict=True)]
        place = [Analyzer().simplify(replaced(i, now)) for i in index]
        places[str(place)] = place
    lanes = int(weight.source.shape[-1])
    item_bytes = tvm.DataType(str(weight.source.dtype)).bits // 8
    rows = max(1, AHEAD_BYTES // (item_bytes * lanes * len(places)))
    found = []
    for *outer, ci, lane in places.values():
        later = tirx.address_of(tirx.BufferLoad(weight.source, [*outer, ci + rows, lane]))
        kind = (tirx.const(value, "int32") for value in (READ, LOCALITY, DATA))
        found.append(tirx.call_llvm_intrin("void", "llvm.prefetch", later, *kind))
    return found


def replaced(expression: Any, values: list[tuple[Any, Any]]) -> Any:
    def value(variable: tirx.Var) -> Any:
        return next((new for old, new in values if variable.same_as(old)), variable)

    return tvm_ffi.structural_map(expression, (tirx.Var, value))
