"""``tvm``: Apache TVM, every convolution computed by the primitive that the plan names, so that
algorithms can be compared on one code generator.

    ONNX ── frontend ──▶ Relax ── lower ──▶ shared library ── runtime ──▶ one inference
             │ layers, quantized           │ schedule
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from dlas.executable import Run
from dlas.systems.base import System
from dlas.systems.tvm.runtime import LIBRARY, load_library, quick_import

if TYPE_CHECKING:
    from dlas.network import Network
    from dlas.plan import Plan

COMPILERS = ("g++", "gcc", "clang++", "clang", "c++", "cc")  # where TVM looks for a linker


class Tvm(System, frozen=True, kw_only=True):
    """``tuning``: "untuned" is one fixed loop order for every kernel. Quantized convolutions and
    dense layers multiply 8-bit integers and sum in int32; float16 is stored as such and summed in
    float32."""

    name: ClassVar[str] = "tvm"
    algorithms: ClassVar[tuple[str, ...]] = ("direct", "gemm", "spatial_pack")
    distributions: ClassVar[tuple[str, ...]] = ("apache-tvm", "apache-tvm-ffi")
    modules: ClassVar[tuple[str, ...]] = ("tvm",)
    extra: ClassVar[str] = "tvm"

    tuning: Literal["untuned"] = "untuned"

    @classmethod
    def missing(cls) -> str | None:
        if not any(map(shutil.which, COMPILERS)):
            return "tvm needs a C compiler to link what it generates: install gcc or clang"
        return super().missing()

    def emulates(self, network: Network) -> str:
        if network.dtype != "float16":
            return ""
        return "float16 is multiplied and summed in float32, and rounded when it is stored"

    def compile(self, network: Network, plan: Plan, folder: Path) -> None:
        quick_import("tvm")
        from dlas.systems.tvm.frontend import translate
        from dlas.systems.tvm.lower import build

        build(translate(network, plan), self.threads, folder / LIBRARY)

    def load(self, folder: Path) -> Run:
        return load_library(folder / LIBRARY, self.threads)
