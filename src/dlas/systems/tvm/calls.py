"""Which layer of a network a fused kernel computes. Fusion keeps no names, but the constants that a
layer is given stay where they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.ir import GenericConst

#: A module's attribute: the layers of constants, by the addresses of their values.
OWNERS = "dlas.owners"
#: Operators between a layer's kernel and its result, at most.
BEHIND = 4


@dataclass(frozen=True)
class Call:
    """Of a kernel in a module; ``layers`` is empty where it computes none."""

    kernel: tirx.PrimFunc
    name: str
    layers: tuple[str, ...]

    @property
    def layer(self) -> str:
        """The first; "" where there is none."""
        return self.layers[0] if self.layers else ""


def calls(module: tvm.IRModule) -> list[Call]:
    """Every call of a kernel in a fused module, in order."""
    owners = {str(k): str(v) for k, v in dict(module.attrs[OWNERS]).items()}
    found = []
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            kernel = called(binding.value, module)
            if kernel is not None:
                layers = dict.fromkeys(owners[a] for a in addresses(binding.value) if a in owners)
                found.append(Call(kernel, str(binding.value.args[0].name_hint), tuple(layers)))
    return found


def called(value: Any, module: tvm.IRModule) -> tirx.PrimFunc | None:
    """The kernel that an expression calls."""
    if not isinstance(value, relax.Call) or value.op.name != "relax.call_tir":
        return None
    return module[value.args[0]]


def constants_of(builder: relax.BlockBuilder, result: Any) -> list[str]:
    """The addresses of the constants of the kernel behind a layer's result."""
    value = getattr(result, "expression", result)
    for _ in range(BEHIND):
        if isinstance(value, relax.Var):
            value = builder.lookup_binding(value)
        if not isinstance(value, relax.Call):
            return []
        found = list(addresses(value))
        if found and value.op.name == "relax.call_tir":
            return found
        given = value.args[1] if value.op.name == "relax.call_tir" else value.args
        value = next((each for each in given if isinstance(each, relax.Var)), None)
    return []


def addresses(call: relax.Call) -> Iterator[str]:
    for given in call.args[1] if call.op.name == "relax.call_tir" else call.args:
        if isinstance(given, GenericConst):
            yield hex(np.from_dlpack(given.value).ctypes.data)
