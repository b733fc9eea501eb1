"""Accumulators in registers: TVM's lowering, but for where a register tile's array lies.

TVM asks its runtime for the memory of an array of more than 1 KiB, and of any array inside a
parallel loop; LLVM must then store every sum after every addition. Of an array on the stack it sees
all that happens, and keeps it in registers: with two threads a kernel runs three times as fast.
"""

from __future__ import annotations

import math
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.tirx.compilation_pipeline import get_tir_pipeline, register_tir_pipeline

from dlas.systems.tvm.tables import tables_in_registers

#: Of the pipeline, as ``relax.build`` and ``tvm.compile`` are told it.
PIPELINE = "dlas"
#: What registers may hold on any processor here; larger arrays lie where TVM puts them.
REGISTER_BYTES = 4096


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]  # tvm has no types
def arrays_on_the_stack(kernel: tirx.PrimFunc, _module: Any, _context: Any) -> tirx.PrimFunc:
    def here(array: tirx.AllocBuffer) -> tirx.AllocBuffer:
        buffer = array.buffer
        item = tvm.DataType(buffer.dtype)
        held = math.prod(map(int, buffer.shape)) * item.bits * item.lanes // 8
        if buffer.scope() != "local" or held > REGISTER_BYTES:
            return array
        stays = {**array.annotations, "disable_lower_builtin": tirx.IntImm("bool", 1)}
        return tirx.AllocBuffer(buffer, stays)

    return kernel.with_body(tvm_ffi.structural_map(kernel.body, (tirx.AllocBuffer, here)))


def lowering() -> tuple[Any, Any, Any]:
    """TVM's passes with that after them, and those it finishes host and device code with."""
    passes, host, device = get_tir_pipeline("default")
    return (
        tvm.transform.Sequential([passes, arrays_on_the_stack, tables_in_registers]),
        host,
        device,
    )


register_tir_pipeline(PIPELINE, lowering)
