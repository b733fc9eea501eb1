"""Winograd's transforms, as the statements that TVM is given: their size is most of the time that a
kernel takes to compile."""

from __future__ import annotations

from typing import Any

import pytest

from dlas.algorithms.winograd import Winograd, Winograd4
from dlas.target import host
from dlas.testing.convolutions import drawn, geometry

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

ROW = geometry((32, 32), hw=(14, 14))
#: Of one transform: every combination of one half has 22.
MOST_LOADS = 32


@pytest.mark.parametrize("form", ["template", "untuned"])
@pytest.mark.parametrize("primitive", [Winograd(), Winograd4()], ids=lambda each: each.name)
def test_no_statement_holds_both_halves_of_a_transform(primitive: Winograd, form: str) -> None:
    from dlas.systems.tvm.runtime import quick_import

    quick_import("tvm")
    import tvm_ffi
    from tvm import tirx
    from tvm.ir.expr import TensorLoad

    sizes: list[int] = []

    def count(store: tirx.BufferStore) -> None:
        loads: list[Any] = []
        tvm_ffi.structural_walk(store.value, (TensorLoad, loads.append))
        sizes.append(len(loads))

    kernel = scheduled(primitive, form)
    tvm_ffi.structural_walk(kernel.body, (tirx.BufferStore, count))
    assert max(sizes) <= MOST_LOADS


def scheduled(primitive: Winograd, form: str) -> Any:
    from tvm import te, tirx

    from dlas.systems.tvm.schedule import schedule
    from dlas.systems.tvm.template import by_template, opened

    target = host()
    weight = drawn(ROW, "float32")[1]
    if form == "untuned":
        image = te.placeholder((1, 32, 14, 14), "float32")
        taps = te.placeholder(primitive.pack(weight, ROW).shape, "float32")
        sums = primitive.compute(image, taps, tirx.const(0, "float32"), ROW)
        return schedule(te.create_prim_func([image, taps, sums]), target.lanes, 1)
    lanes = target.lanes
    image = te.placeholder((1, -(-32 // lanes), 14, 14, lanes), "float32")
    taps = te.placeholder(primitive.pack_blocked(weight, ROW, lanes).shape, "float32")
    sums = primitive.compute_blocked(image, taps, ROW, lanes)
    kernel = te.create_prim_func([image, taps, sums])
    return by_template(kernel, primitive.candidates(opened(kernel), target)[0], 1)
