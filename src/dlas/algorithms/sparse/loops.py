"""Loops of TVM's script builder, their variables int64 as in all kernels of Relax."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

Expr = Any  # of TVM's, or a number


def int64(number: Expr) -> Expr:
    from tvm import tirx

    return tirx.IntImm("int64", number) if isinstance(number, int) else number


def argument(name: str, shape: Sequence[int], dtype: str = "float32") -> Any:
    """A tensor that a kernel is called with."""
    from tvm.script.ir_builder import tirx as T

    return T.arg(name, T.buffer(list(map(int64, shape)), dtype))


@contextmanager
def unrolled(*extents: int) -> Iterator[tuple[Expr, ...]]:
    from tvm.script.ir_builder import tirx as T

    with ExitStack() as stack:
        yield tuple(stack.enter_context(T.unroll(int64(0), int64(n))) for n in extents)


@contextmanager
def vectors(extents: Sequence[int], lanes: int) -> Iterator[tuple[Expr, ...]]:
    """Unrolled loops, and a vector in the innermost: their variables, the last that of the lane."""
    from tvm.script.ir_builder import tirx as T

    with unrolled(*extents) as outer, T.vectorized(int64(0), int64(lanes)) as lane:
        yield (*outer, lane)
