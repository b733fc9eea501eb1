"""What lies in registers: TVM's lowering, but for two things.

Accumulators. TVM asks its runtime for the memory of an array of more than 1 KiB, and of any array
inside a parallel loop; LLVM must then store every sum after every addition. Of an array on the
stack it sees all that happens, and keeps it in registers: with two threads a kernel runs three
times as fast.

Vectors of bfloat16. TVM widens every one that it sees, and has no type of LLVM's for them. So a
kernel calls LLVM's intrinsics by name as external functions of bits, and here they are defined.
"""

from __future__ import annotations

import math
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Op, StringImm
from tvm.tirx.compilation_pipeline import get_tir_pipeline, register_tir_pipeline

from dlas.systems.tvm.tables import tables_in_registers

#: Of the pipeline, as ``relax.build`` and ``tvm.compile`` are told it.
PIPELINE = "dlas"
#: What registers may hold on any processor here; larger arrays lie where TVM puts them.
REGISTER_BYTES = 4096
PURE_EXTERN = Op.get("tirx.call_pure_extern")


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


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]  # tvm has no types
def on_bfloat16(kernel: tirx.PrimFunc, _module: Any, _context: Any) -> tirx.PrimFunc:
    """Define the external functions with names of intrinsics that the kernel calls. TVM has LLVM
    inline what is defined so."""
    definitions: dict[str, str] = {}

    def called(call: Call) -> Call:
        name = call.args[0].value if call.op.same_as(PURE_EXTERN) else ""
        if not name.startswith("llvm."):
            return call
        operands = call.args[1:]
        kinds = [str(each.ty.dtype) for each in (call, *operands)]
        alias = name.removeprefix("llvm.").replace(".", "_")
        definitions[alias] = definition(alias, name, *kinds)
        return tirx.call_pure_extern(kinds[0], alias, *operands)

    body = tvm_ffi.structural_map(kernel.body, (Call, called))
    for text in definitions.values():
        body = tirx.AttrStmt(StringImm(""), "pragma_import_llvm", StringImm(text), body)
    return kernel.with_body(body)


def definition(alias: str, intrinsic: str, result: str, *operands: str) -> str:
    """A function, in LLVM's language, of vectors that it gives to an intrinsic, uint16 as bfloat16.
    Types as TVM writes them."""

    def vector(kind: str, sixteen: str) -> str:
        (element, lanes), names = kind.split("x"), {"float32": "float", "uint16": sixteen}
        return f"<{lanes} x {names[element]}>"

    bits, real = ([vector(kind, name) for kind in operands] for name in ("i16", "bfloat"))
    total, numbers = vector(result, "bfloat"), range(len(operands))
    return "\n".join([
        f"declare {total} @{intrinsic}({', '.join(real)})",
        f"define {total} @{alias}({', '.join(f'{bits[i]} %bits{i}' for i in numbers)}) {{",
        *(f"%real{i} = bitcast {bits[i]} %bits{i} to {real[i]}" for i in numbers),
        f"%sum = call {total} @{intrinsic}({', '.join(f'{real[i]} %real{i}' for i in numbers)})",
        f"ret {total} %sum",
        "}",
    ])  # fmt: skip


def lowering() -> tuple[Any, Any, Any]:
    """TVM's passes with that after them, and those it finishes host and device code with."""
    passes, host, device = get_tir_pipeline("default")
    ours = arrays_on_the_stack, tables_in_registers, on_bfloat16
    return tvm.transform.Sequential([passes, *ours]), host, device


register_tir_pipeline(PIPELINE, lowering)
