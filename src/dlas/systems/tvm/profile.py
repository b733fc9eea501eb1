"""Where the time of a network goes, kernel by kernel: the virtual machine calls a function before
and after each. Kernels do not know their layers: ``kernels.json``, written while compiling, does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.measure.protocol import LayerTime
from dlas.measure.statistics import median
from dlas.systems.tvm.runtime import Library

FILE = "kernels.json"
#: What a kernel is named for that only moves an image; other words name what is computed.
LAYOUT = {
    "block",
    "unblock",
    "reorder",
    "last",
    "pad",
    "transpose",
    "reshape",
    "layout",
    "transform",
}
FUSED = "fused_"
#: How functions of the virtual machine itself begin.
BUILTIN = "vm."
#: What the virtual machine is told: go on.
GO_ON = 0


class Kernel(msgspec.Struct, frozen=True):
    """A call of a kernel, in the order of the library's ``main``. ``layers``: those of the network
    that it computes."""

    name: str
    layers: tuple[str, ...] = ()


def save_kernels(kernels: Sequence[Kernel], folder: Path) -> None:
    (folder / FILE).write_bytes(msgspec.json.encode(kernels))


def open_kernels(folder: Path) -> list[Kernel]:
    """What ``save_kernels`` wrote; none where an earlier version compiled."""
    file = folder / FILE
    return msgspec.json.decode(file.read_bytes(), type=list[Kernel]) if file.exists() else []


def profile(
    library: Library, images: NDArray[np.float32], count: int, kernels: Sequence[Kernel]
) -> tuple[LayerTime, ...]:
    """Medians over ``count`` runs. ``kernels``: as ``main`` calls them, as far as known."""
    runs = []
    calls: list[tuple[str, float]] = []
    started = 0.0

    def instrument(
        function: Any, name: str, before: bool, result: Any, *given: Any
    ) -> int:  # the machine's signature
        nonlocal started
        if before:
            started = time.perf_counter()
        else:
            calls.append((name, time.perf_counter() - started))
        return GO_ON

    library.machine.set_instrument(instrument)
    try:
        for _ in range(count + 1):  # the first one warms up
            calls = []
            library(images)
            runs.append([call for call in calls if not call[0].startswith(BUILTIN)])
    finally:
        library.machine.set_instrument(None)
    names = [name for name, _ in runs[0]]
    known = [kernel.name for kernel in kernels] == names
    return tuple(
        row(Kernel(name, kernels[i].layers if known else ()), [each[i][1] for each in runs[1:]])
        for i, name in enumerate(names)
    )


def row(kernel: Kernel, seconds: Sequence[float]) -> LayerTime:
    op = kernel.name.removeprefix(FUSED)
    moves = {word.rstrip("0123456789") for word in op.split("_")} <= LAYOUT
    return LayerTime(
        name=kernel.name,
        op=op,
        seconds=median(seconds),
        kind="layer" if kernel.layers else "layout" if moves else "other",
        layers=kernel.layers,
    )
