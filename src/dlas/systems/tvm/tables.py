"""Looking bytes up in a table of 256, many at once where the processor can: AVX-512 VBMI takes 64
indices into 128 bytes in one instruction.

An operator of our own stands for it from the tensor expression to the vectors of the scheduled
loops: to Relax a load at a place that depends on data would be no elementwise operation, and TVM
would make a loop of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

#: Bytes of a table, of a vector, and that one instruction looks into.
TABLE, VECTOR, REACH = 256, 64, 128
PERMUTE = "llvm.x86.avx512.vpermi2var.qi.512"
NAME = "tirx.dlas_lookup"
#: TVM's number for a function without effects.
PURE = 1


@cache
def lookup_op() -> tvm.ir.Op:
    """The operator (index, an element of the table) → the element at the index."""
    from tvm.ir import _ffi_api

    _ffi_api.RegisterOp(NAME, "an element of a table of 256 bytes")
    tvm.ir.register_op_attr(NAME, "TVectorizable", True)
    tvm.ir.register_op_attr(NAME, "TCallEffectKind", PURE)
    return tvm.ir.Op.get(NAME)


def lookup(index: Any, element: Any) -> Any:
    """Of the tensor that ``element`` is in, that which lies at an 8-bit ``index``, the lowest
    integer standing for the first."""
    return tirx.call_intrin(str(element.dtype), lookup_op(), index, element)


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]  # tvm has no types
def tables_in_registers(kernel: tirx.PrimFunc, _module: Any, _context: Any) -> tirx.PrimFunc:
    """Every ``lookup`` of a vector as permutations, or loads where the target has none."""
    target = kernel.attrs["target"]
    features = [str(name) for name in target.attrs.get("mattr", [])]

    def looked_up(call: tvm.ir.Call) -> Any:
        if not call.op.same_as(lookup_op()):
            return call
        index, table = call.args[0], call.args[1].source
        if str(index.ty).startswith("int8"):
            index = index ^ same(-128, "int8", lanes_of(index))
        index = tirx.reinterpret(kind("uint8", lanes_of(index)), index)
        if "+avx512vbmi" in features and 1 < lanes_of(index) <= VECTOR:
            return permuted(table, index)
        return tirx.BufferLoad(table, [index.astype(kind("int32", lanes_of(index)))])

    return kernel.with_body(tvm_ffi.structural_map(kernel.body, (tvm.ir.Call, looked_up)))


def permuted(table: Any, index: Any) -> Any:
    lanes, item = lanes_of(index), str(table.dtype)
    wide = tirx.Shuffle([index] * -(-VECTOR // lanes), numbers(range(VECTOR)))
    parts = [
        tirx.BufferLoad(table, [tirx.Ramp(tirx.const(start, "int32"), 1, VECTOR)])
        for start in range(0, TABLE, VECTOR)
    ]
    low, high = (
        tirx.call_llvm_pure_intrin(kind(item, VECTOR), PERMUTE, parts[i], wide, parts[i + 1])
        for i in (0, 2)
    )
    found = tirx.Select(wide < same(REACH, "uint8", VECTOR), low, high)
    return found if lanes == VECTOR else tirx.Shuffle([found], numbers(range(lanes)))


def lanes_of(expression: Any) -> int:
    return int(str(expression.ty).partition("x")[2] or 1)


def kind(item: str, lanes: int) -> str:
    return f"{item}x{lanes}" if lanes > 1 else item


def same(value: int, item: str, lanes: int) -> Any:
    number = tirx.const(value, item)
    return tirx.Broadcast(number, lanes) if lanes > 1 else number


def numbers(values: Iterable[int]) -> list[Any]:
    return [tirx.const(value, "int32") for value in values]
