"""Looking many bytes up at once, where the processor can: AVX-512 VBMI takes 64 indices into 128
bytes in one instruction."""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad

#: Bytes of a table, of a vector, and that one instruction looks into.
TABLE, VECTOR, REACH = 256, 64, 128
PERMUTE = "llvm.x86.avx512.vpermi2var.qi.512"


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]  # tvm has no types
def tables_in_registers(kernel: tirx.PrimFunc, _module: Any, _context: Any) -> tirx.PrimFunc:
    """Loads of a table of 256 bytes at a vector of indices, as permutations."""
    if "+avx512vbmi" not in [str(name) for name in kernel.attrs["target"].attrs.get("mattr", [])]:
        return kernel

    def looked_up(load: TensorLoad) -> Any:
        buffer, index = load.source, load.indices[-1]
        item = str(buffer.dtype)
        lanes = lanes_of(index)
        whole = len(buffer.shape) == 1 and int(buffer.shape[0]) == TABLE
        if not whole or item not in ("uint8", "int8") or not 1 < lanes <= VECTOR:
            return load
        if isinstance(index, tirx.Ramp | tirx.Broadcast):
            return load
        wide = padded(index.astype(f"uint8x{lanes}"), lanes)
        rows = [
            tirx.BufferLoad(buffer, [tirx.Ramp(tirx.const(VECTOR * i, "int32"), 1, VECTOR)])
            for i in range(TABLE // VECTOR)
        ]
        kind = f"{item}x{VECTOR}"
        low, high = (
            tirx.call_llvm_pure_intrin(kind, PERMUTE, rows[i], wide, rows[i + 1]) for i in (0, 2)
        )
        half = tirx.Broadcast(tirx.const(REACH, "uint8"), VECTOR)
        found = tirx.Select(wide < half, low, high)
        return found if lanes == VECTOR else tirx.Shuffle([found], numbers(range(lanes)))

    return kernel.with_body(tvm_ffi.structural_map(kernel.body, (TensorLoad, looked_up)))


def lanes_of(expression: Any) -> int:
    kind = str(expression.ty)
    return int(kind.partition("x")[2] or 1)


def padded(vector: Any, lanes: int) -> Any:
    if lanes == VECTOR:
        return vector
    return tirx.Shuffle([vector] * -(-VECTOR // lanes), numbers(range(VECTOR)))


def numbers(values: Any) -> list[Any]:
    return [tirx.const(value, "int32") for value in values]
