"""Apache TVM: every convolution computed by the primitive that the plan names, so that algorithms
can be compared on one code generator. Untuned: one fixed loop order for all (``schedule.py``).

    ONNX ── frontend ──▶ Relax ── lower ──▶ shared library ── runtime ──▶ one inference
             │ layers (float), quantized (integers)
"""

from __future__ import annotations

import shutil
from pathlib import Path

from dlas.executable import Run
from dlas.network import Network
from dlas.plan import Plan
from dlas.systems.base import System
from dlas.systems.tvm.runtime import LIBRARY, load_library, quick_import

COMPILERS = ("g++", "gcc", "clang++", "clang", "c++", "cc")


class Tvm(System, frozen=True, kw_only=True):
    """float16 is stored as such and summed in float32; quantized convolutions and dense layers
    multiply 8-bit integers and sum in int32."""

    name = "tvm"
    algorithms = ("direct", "gemm", "spatial_pack")
    distributions = ("apache-tvm", "apache-tvm-ffi")
    modules = ("tvm", "onnx")
    extra = "tvm"

    def missing(self) -> str | None:
        if not any(map(shutil.which, COMPILERS)):
            return "tvm needs a C compiler to link what it generates: install gcc or clang"
        return super().missing()

    def compile(self, network: Network, plan: Plan, folder: Path) -> None:
        quick_import("tvm")
        from dlas.systems.tvm.frontend import translate
        from dlas.systems.tvm.lower import build

        build(translate(network, plan), self.threads, folder / LIBRARY)

    def load(self, folder: Path) -> Run:
        return load_library(folder / LIBRARY, self.threads)
