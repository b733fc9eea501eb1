"""Running a compiled network: only TVM's runtime library is loaded, never its compiler.

``import tvm`` takes 3 s: half of it is PyTorch, which tvm_ffi imports where it is installed, and
most of the rest is the compiler's. Without both a process is ready in 0.1 s.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.systems.tvm.pages import in_huge_pages
from dlas.target.amx import use_matrix_registers

LIBRARY = "network.so"
ALIGNMENT = 64  # bytes: what generated code assumes of every tensor
CPU, DEVICE, POOLED = 1, 0, 2  # DLPack's device type and number; the VM's allocator


def quick_import(name: str) -> ModuleType:
    """Import tvm or tvm_ffi without the PyTorch that they import only if they can."""
    if "torch" in sys.modules:
        return importlib.import_module(name)
    sys.modules["torch"] = None  # type: ignore[assignment]  # how Python spells "not importable"
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules["torch"]


@dataclass(frozen=True)
class Library:
    """A network as a function (N, C, H, W) → (N, classes) float32. ``machine``: TVM's virtual
    machine; ``main``: what it runs; ``tensor``: an array as it takes it."""

    machine: Any
    main: Callable[[Any], Any]
    tensor: Callable[[NDArray[np.float32]], Any]

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        scores: Any = self.main(self.tensor(aligned(images)))
        return np.array(np.from_dlpack(scores), np.float32)


def load_library(library: Path, threads: int) -> Library:
    """The network in a shared library."""
    # TVM reads it when its first parallel loop starts, and has no other way to be told.
    os.environ["TVM_NUM_THREADS"] = str(threads)
    tvm_ffi: Any = quick_import("tvm_ffi")
    load_runtime()
    use_matrix_registers()
    with in_huge_pages():
        module = tvm_ffi.load_module(str(library.resolve())).vm_load_executable()
        module.vm_initialization(CPU, DEVICE, POOLED)
    return Library(module, module.main, tvm_ffi.from_dlpack)


def load_runtime() -> None:
    """Make TVM's runtime known to tvm_ffi, without importing the package that brings it."""
    from tvm_ffi.libinfo import load_lib_ctypes

    spec = importlib.util.find_spec("tvm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    places = [Path(place) / "lib" for place in spec.submodule_search_locations]
    load_lib_ctypes("tvm", "tvm_runtime", "RTLD_GLOBAL", extra_lib_paths=places)


def aligned(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """A writable, contiguous copy that starts where generated code may use aligned loads."""
    store = np.empty(images.nbytes + ALIGNMENT, np.uint8)
    start = -store.ctypes.data % ALIGNMENT
    copy = store[start : start + images.nbytes].view(np.float32).reshape(images.shape)
    copy[...] = images
    return copy
