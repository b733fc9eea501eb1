"""What schedule templates share: the last stage of a fused kernel, and simple loops for the rest.

Functions take a ``tvm.s_tir.Schedule`` whose module has the one function ``main``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlas.network import LayerRow

MAIN = "main"
#: The stage that widens weights.
TAPS = "taps"


def extents(order: Any, block: Any) -> dict[str, list[int]]:
    """How often each loop of a block runs: those over outputs, and those of its sum."""
    from tvm import tirx

    found: dict[str, list[int]] = {"outputs": [], "sums": []}
    for axis in order.get(block).iter_vars:
        kind = "outputs" if axis.iter_type == tirx.IterVar.DataPar else "sums"
        found[kind].append(int(axis.dom.extent))
    return found


def workload(order: Any, block: Any) -> dict[str, float]:
    """The fused kernel around ``block`` in numbers, by which a cost model tells it from others: how
    far the loops go, how many stages come before and after, and the bytes read and written."""
    found = extents(order, block)
    loops = {f"output{i}": extent for i, extent in enumerate(found["outputs"])}
    loops |= {f"sum{i}": extent for i, extent in enumerate(found["sums"])}
    stages = order.get_child_blocks(order.get_sblock("root", MAIN))
    at = [order.get(each).name_hint for each in stages].index(order.get(block).name_hint)
    sizes = [
        math.prod(map(int, buffer.shape)) * np.dtype(str(buffer.dtype)).itemsize
        for buffer in order.mod[MAIN].params
    ]
    return {**loops, "before": at, "after": len(stages) - at - 1, "bytes": sum(sizes)}


def numbers_of(row: LayerRow, batch: int) -> dict[str, float]:
    """The shapes of a layer of so many images."""
    pairs = {
        "kernel": row.kernel, "stride": row.stride, "dilation": row.dilation,
        "input": row.input_hw, "output": row.output_hw,
    }  # fmt: skip
    each = {f"{name}{i}": size for name, pair in pairs.items() for i, size in enumerate(pair)}
    channels = {"inputs": row.in_channels, "outputs": row.out_channels}
    images = {"batch": batch} if batch > 1 else {}  # absent from records that are older than it
    return {**each, **channels, "groups": row.groups, **images}


def of_batch(batch: int) -> str:
    """What tells a kernel from that of one image, whose name is older than batches."""
    return f" x{batch}" if batch > 1 else ""


def stages_before(order: Any, block: Any) -> tuple[list[Any], list[Any]]:
    """The stages that write what the block multiplies: images, and weights in a wider type."""
    images: list[Any] = []
    taps: list[Any] = []
    for stage in order.get_producers(block):
        (taps if order.get(stage).name_hint == TAPS else images).append(stage)
    return images, taps


def join_epilogue(order: Any, block: Any) -> Any:
    """Make all that follows ``block`` one elementwise stage and return it; a copy where nothing
    does."""
    stages = order.get_child_blocks(order.get_sblock("root", MAIN))
    name = order.get(block).name_hint
    names = [order.get(stage).name_hint for stage in stages]
    after = stages[names.index(name) + 1 :]
    for stage in after[:-1]:
        order.compute_inline(stage)
    last = after[-1] if after else order.cache_write(block, 0, "local")
    return last


def prepare(order: Any, block: Any, lanes: int, threads: int) -> None:
    """Every stage before ``block``, but for weights, in a loop nest of its own: the last axis in
    vectors, the outer ones shared among the threads."""
    for stage in stages_before(order, block)[0]:
        prepare(order, stage, lanes, threads)
        *outer, last = order.get_loops(stage)
        if outer and threads > 1:
            order.parallel(order.fuse(*outer))
        width = max(n for n in divisors(int(order.get(last).extent)) if n <= lanes)
        order.vectorize(order.split(last, [None, width])[1])


def divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]
