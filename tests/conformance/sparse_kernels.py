"""Sparse kernels alone: their weights drawn, ordered as the system tvm does, compiled, and run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from epilogues import Epilogue
from test_primitives import agree, primitive_of

from dlas.algorithms.formats import weight_format
from dlas.algorithms.sparse.cost import Stored, tiles
from dlas.algorithms.sparse.form import machine_of
from dlas.network import LayerRow
from dlas.target import Target, host
from dlas.testing.convolutions import Array, convolution, drawn

PRIMITIVES = ("direct", "gemm", "spatial_pack")
FORMATS = ("csr", "bsr_16x1", "bsr_4x4", "bsr_1x16")
#: Shares of zeros.
SHARES = (0.0, 0.5, 0.9, 0.99, 1.0)

every_primitive = pytest.mark.parametrize("primitive", PRIMITIVES)
every_format = pytest.mark.parametrize("name", FORMATS)


def pruned(weight: Array, share: float, name: str = "csr", seed: int = 1) -> Array:
    """The weight (K, C/G, R, S) with so many of its blocks zero, drawn, the blocks those of the
    format of that name."""
    (high, wide), (outputs, inputs, *kernel) = weight_format(name).block, weight.shape
    grid = (-(-outputs // high), -(-inputs // wide), *kernel)
    kept = np.random.default_rng(seed).random(grid) >= share
    kept = kept.repeat(high, 0)[:outputs].repeat(wide, 1)[:, :inputs]
    return np.where(kept, weight, np.float32(0))


def kernel_of(
    primitive: str, name: str, weight: Array, row: LayerRow, machine: Target, threads: int = 1,
    which: int | None = 0,
) -> Any:  # fmt: skip
    """The kernel of one of the tiles, the cheapest first; None: the one of no choices."""
    member = primitive_of(primitive)
    stored, form = member.stored(name, weight, row.groups), member.sparse
    if which is None:
        return form.simplest(stored, row, machine, threads)
    found = tiles(row, form.shifts, Stored.of(stored), machine_of(machine))
    return form.kernel(stored, found[which % len(found)], threads)


def ordered(function: Any, machine: Target, threads: int) -> Any:
    """A function that is a sparse kernel, or one fused with its epilogue, its loops in order."""
    from dlas.systems.tvm.template import by_rule

    return by_rule(function, machine, threads)


def run(
    kernels: Sequence[Any], data: Array, bias: Array, machine: Target, threads: int = 1,
    epilogue: Epilogue | None = None,
) -> list[Array]:  # fmt: skip
    """What each computes. Before that each computes on NaN, which it leaves in all the memory that
    it takes and does not write: none of it may come back."""
    from dlas.systems.tvm.runtime import quick_import

    tvm: Any = quick_import("tvm")

    from dlas.systems.tvm.lower import compiled

    kernels = [replace(kernel, batch=len(data)) for kernel in kernels]
    functions = {
        f"kernel{i}": ordered(
            epilogue.fused(kernel.function()) if epilogue else kernel.function(), machine, threads
        ).with_attr("global_symbol", f"kernel{i}")
        for i, kernel in enumerate(kernels)
    }
    # Checks of the arguments are most of the code of a small kernel.
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        built = compiled(tvm.IRModule(functions), host(), threads).jit()
    found = []
    for name, kernel in zip(functions, kernels, strict=True):
        shape = (len(data), kernel.tile.row.out_channels, *kernel.tile.row.output_hw)
        result = tvm.runtime.tensor(np.full(shape, np.nan, np.float32))
        more = [epilogue.residual] if epilogue else []
        for image in (np.full_like(data, np.nan), data):
            given = (image, *kernel.packed.arrays, bias, *more)
            built[name](*(tvm.runtime.tensor(np.ascontiguousarray(x)) for x in given), result)
        found.append(result.numpy())
    return found


def check(
    primitive: str, name: str, row: LayerRow, machine: Target, shares: Sequence[float] = (0.9,),
    batch: int = 1, threads: int = 1, which: int | None = 0,
) -> None:  # fmt: skip
    """The kernels for weights with such shares of zeros, against float64."""
    data, weight = drawn(row, "float32", batch)
    bias = Epilogue.drawn("none", row).bias
    weights = [pruned(weight, share, name) for share in shares]
    kernels = [kernel_of(primitive, name, w, row, machine, threads, which) for w in weights]
    for each, found in zip(weights, run(kernels, data, bias, machine, threads), strict=True):
        sums = convolution(data.astype(np.float64), each.astype(np.float64), 0, row)
        agree(primitive, found, sums + bias[:, None, None])
