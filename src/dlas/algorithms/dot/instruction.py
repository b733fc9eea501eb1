"""Vectors of short dot products: each 32-bit lane adds the products of a word of the image, the
same for all lanes, and its own word of weights.

A word is 4 integers of 8 bits, or 2 bfloat16. Whatever the target, the weights of a word and vector
are stored (lanes, in_word); an instruction takes them apart as it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dlas.algorithms.dot.number import NUMBERS, Number
from dlas.target import Target

Expr = Any  # of TVM's
#: (sums, word, weights) → sums. The word is int32, the weights a vector of the number's type.
Multiply = Callable[[Expr, Expr, Expr], Expr]


@dataclass(frozen=True)
class Instruction:
    """``lanes`` sums of a vector. ``signed``: whether it takes the image's integers as int8; those
    of the other sign are told apart by 128, which the caller corrects for in the sums."""

    name: str
    lanes: int
    multiply: Multiply
    signed: bool | None = None

    def shifts(self, number: Number) -> bool:
        """Whether the image's integers are taken for others, 128 apart."""
        return self.signed is not None and self.signed != (number.name == "int8")

    def add_product(self, total: Expr, word: Expr, weights: Expr, number: Number) -> Expr:
        from tvm import tirx

        if self.shifts(number):
            word = word ^ tirx.const(-0x7F7F7F80, "int32")  # every byte's highest bit
        return self.multiply(total, word, weights)


def instruction(number: Number, target: Target) -> Instruction:
    """The best that the target has for these numbers."""
    lanes, features = target.lanes, set(target.features)
    wide = "avx512f" in features and target.vector_bits == 512
    neon = target.isa == "aarch64" and target.vector_bits == 128
    if number.is_integer:
        if "avx512_vnni" in features and wide:
            return Instruction("vpdpbusd", lanes, intrinsic("x86.avx512.vpdpbusd.512", 16), False)
        if "avx_vnni" in features and target.vector_bits == 256:
            return Instruction("vpdpbusd", lanes, intrinsic("x86.avx512.vpdpbusd.256", 8), False)
        if "avx512bw" in features and wide:
            return Instruction("vpmaddwd", lanes, pairs("x86.avx512.pmaddw.d.512", 16, number))
        if "avx2" in features and target.vector_bits == 256:
            return Instruction("vpmaddwd", lanes, pairs("x86.avx2.pmadd.wd", 8, number))
        if "i8mm" in features and neon and number.name == "uint8":
            return Instruction("usdot", 4, intrinsic("aarch64.neon.usdot.v4i32.v16i8", 4), False)
        if "asimddp" in features and neon:
            return Instruction("sdot", 4, intrinsic("aarch64.neon.sdot.v4i32.v16i8", 4), True)
    elif "avx512_bf16" in features and wide and not slow_bfloat16(target):
        name = "x86.avx512bf16.dpbf16ps.512"
        return Instruction("vdpbf16ps", lanes, bfloat16_pairs(name, 16))
    elif "bf16" in features and neon:
        name = "aarch64.neon.bfdot.v4f32.v8bf16"
        return Instruction("bfdot", 4, bfloat16_pairs(name, 4))
    return Instruction("portable", lanes, portable(number, lanes))


def slow_bfloat16(target: Target) -> bool:
    """Intel's vdpbf16ps takes as long as four multiply-adds in float32; AMX is its fast one."""
    return "amx_bf16" in target.features


def reinterpreted(value: Expr, kind: str) -> Expr:
    from tvm import tirx

    return tirx.reinterpret(kind, value)


def spread(word: Expr, lanes: int) -> Expr:
    """The word in every lane."""
    from tvm import tirx

    return tirx.Broadcast(word, lanes) if lanes > 1 else word


def intrinsic(name: str, lanes: int) -> Multiply:
    """LLVM's (sums, bytes, bytes) → sums."""

    def multiply(total: Expr, word: Expr, weights: Expr) -> Expr:
        from tvm import tirx

        image = reinterpreted(spread(word, lanes), f"int8x{4 * lanes}")
        return tirx.call_llvm_pure_intrin(f"int32x{lanes}", f"llvm.{name}", total, image, weights)

    return multiply


def pairs(name: str, lanes: int, number: Number) -> Multiply:
    """By LLVM's products of 16-bit integers, added in pairs, which is exact: once for the even
    bytes of all words, and once for the odd ones."""

    def multiply(total: Expr, word: Expr, weights: Expr) -> Expr:
        from tvm import tirx

        halves = f"int16x{2 * lanes}"

        def const(value: int) -> Expr:
            return tirx.Broadcast(tirx.const(value, "int16"), 2 * lanes)

        def odd(value: Expr) -> Expr:
            return value >> const(8)

        def even(value: Expr) -> Expr:
            return (value << const(8)) >> const(8)

        image = reinterpreted(spread(word, lanes), halves)
        factors = reinterpreted(weights, halves)
        parts: tuple[Expr, Expr] = even(image), odd(image)
        if number.name == "uint8":
            parts = tuple(part & const(255) for part in (image, odd(image)))
        for part, factor in zip(parts, (even(factors), odd(factors)), strict=True):
            total = total + tirx.call_llvm_pure_intrin(
                f"int32x{lanes}", f"llvm.{name}", part, factor
            )
        return total

    return multiply


def bfloat16_pairs(name: str, lanes: int) -> Multiply:
    """By LLVM's products of bfloat16, added in pairs. TVM widens vectors of bfloat16 wherever it
    sees one, so LLVM's function is called by name, on their bits: the system defines it."""

    def multiply(total: Expr, word: Expr, weights: Expr) -> Expr:
        from tvm import tirx

        image = reinterpreted(spread(word, lanes), f"uint16x{2 * lanes}")
        return tirx.call_pure_extern(f"float32x{lanes}", f"llvm.{name}", total, image, weights)

    return multiply


def portable(number: Number, lanes: int) -> Multiply:
    """By multiplications of whole lanes, of one element of the word at a time."""

    def multiply(total: Expr, word: Expr, weights: Expr) -> Expr:
        from tvm import tirx

        kind = f"int32x{lanes}" if lanes > 1 else "int32"
        factors = reinterpreted(weights, kind)
        for index in range(number.in_word):
            at = index * 8 * number.bytes
            if number.is_integer:
                # Shifted to the top and back, a byte takes its sign along.
                left = tirx.const(24 - at, "int32")
                piece = word << left
                if number.name == "uint8":
                    piece = reinterpreted(piece, "uint32") >> tirx.const(24, "uint32")
                    piece = reinterpreted(piece, "int32")
                else:
                    piece = piece >> tirx.const(24, "int32")
                factor = (factors << spread(left, lanes)) >> spread(tirx.const(24, "int32"), lanes)
                total = total + spread(piece, lanes) * factor
            else:
                left, kept = tirx.const(16 - at, "int32"), tirx.const(-0x10000, "int32")
                piece = reinterpreted((word << left) & kept, "float32")
                factor = (factors << spread(left, lanes)) & spread(kept, lanes)
                real = reinterpreted(factor, f"float32x{lanes}" if lanes > 1 else "float32")
                total = total + spread(piece, lanes) * real
        return total

    return multiply


#: Matrix units: what multiplies 16 rows of 64 bytes by as many columns.
MATRIX = {"uint8": "tdpbusd", "int8": "tdpbssd", "bfloat16": "tdpbf16ps"}


def matrix_instruction(number: Number, target: Target) -> str | None:
    """The target's matrix instruction for these numbers; None where it has none."""
    feature = "amx_int8" if number.is_integer else "amx_bf16"
    found = feature in target.features and target.vector_bits == 512
    return MATRIX[number.name] if found else None


__all__ = ["NUMBERS", "Instruction", "instruction", "matrix_instruction"]
