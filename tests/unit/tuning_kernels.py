"""The kernel of a small convolution, what is asked of it, and candidates that go wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from tvm import te, tirx

from dlas.layer import member
from dlas.systems.tvm.blocked import translate_blocked
from dlas.systems.tvm.calls import calls
from dlas.systems.tvm.lower import fused
from dlas.systems.tvm.questions import Question, Setting, of_template
from dlas.systems.tvm.trial import Contest
from dlas.target import host
from dlas.testing.networks import tiny

Maker = Callable[[], Any]
SETTING = Setting(host(), 1, 100_000)


@cache
def kernels(name: str = "plain", algorithm: str = "spatial_pack") -> dict[str, Any]:
    """Those of a tiny network's layers."""
    network, target = tiny(name), host()
    planner: Any = member("algorithms", algorithm)()
    module = translate_blocked(network, planner.plan(network), target.lanes)
    return {call.layer: call.kernel for call in calls(fused(module, target, 1)) if call.layer}


def convolution(threads: int = 1) -> Question:
    return of_template(kernels()["conv1"], replace(SETTING, threads=threads))


def contest(makers: Sequence[int | Maker], threads: int = 1, **changes: Any) -> Contest:
    """Of candidates of the convolution, by their number, and of others."""
    question = convolution(threads)
    found = [question.makers[each] if isinstance(each, int) else each for each in makers]
    return replace(question.contest(range(len(makers))), candidates=found, **changes)


def writing(write: Callable[..., None]) -> Any:
    """A kernel with the convolution's parameters that does something else."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.script.ir_builder import tirx as T

    with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
        T.func_name("main")
        given = [
            T.arg(f"given{i}", T.buffer([int(n) for n in each.shape], str(each.dtype)))
            for i, each in enumerate(kernels()["conv1"].params)
        ]
        write(*given)
    return builder.get()


def calling(name: str, *numbers: int) -> Maker:
    """One that calls a function of the C library."""
    from tvm.script.ir_builder import tirx as T

    given = [tirx.const(number, "int32") for number in numbers]
    return lambda: writing(lambda *_: T.evaluate(tirx.call_extern("int32", name, *given)))


def storing(value: float, first: int = 0) -> Maker:
    """One that writes a single number."""
    from tvm.script.ir_builder import tirx as T

    def write(*given: Any) -> None:
        at = [tirx.const(first if i == 0 else 0, "int64") for i in range(len(given[-1].shape))]
        T.buffer_store(given[-1], tirx.const(value, "float32"), at)

    return lambda: writing(write)


def filled(value: float) -> Maker:
    """One that writes the same number everywhere."""

    def made() -> Any:
        given = [
            te.placeholder([int(n) for n in each.shape], str(each.dtype), f"given{i}")
            for i, each in enumerate(kernels()["conv1"].params)
        ]
        *inputs, output = given
        number = tirx.const(value, "float32")
        return te.create_prim_func([*inputs, te.compute(output.shape, lambda *_: number)])

    return made
