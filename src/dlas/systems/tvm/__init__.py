"""``tvm``: Apache TVM, every convolution computed by the primitive that the plan names, so that
algorithms can be compared on one code generator.

    ONNX ── frontend ──▶ Relax ── lower, registers ──▶ library ── runtime, pages ──▶ inference
   untuned: layers, quantized     schedule
  template: blocked, order,       tuning, knobs: template, prefetch, tables
            rewrite; sparse;
            narrow, images, lookahead, rounding, dots
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.executable import Run
from dlas.layer import member
from dlas.measure.protocol import LayerTime
from dlas.systems.base import System
from dlas.systems.tvm.profile import open_kernels, profile
from dlas.systems.tvm.runtime import LIBRARY, Library, load_library, quick_import
from dlas.systems.tvm.tally import open_tally
from dlas.target import host

if TYPE_CHECKING:
    from dlas.network import Network
    from dlas.plan import Plan

#: ``trials`` by default.
TEMPLATE_TRIALS, AUTO_TRIALS = 8, 64
COMPILERS = ("g++", "gcc", "clang++", "clang", "c++", "cc")  # where TVM looks for a linker


class Tvm(System, frozen=True, kw_only=True):
    """``tuning``: "untuned" is one fixed loop order for every kernel. "template" orders the loops
    by the primitives' schedule templates and keeps images in blocks of a vector's channels from
    layer to layer, or as they lie for ``direct``, or channels last where numbers are narrow. "auto"
    leaves the loops of every layer to MetaSchedule, TVM's auto-scheduler; images lie as with
    "template", but as they are where numbers are narrow.

    ``trials``: candidates of each kernel that are measured at most, unless this machine has
    measured them before; 8 by templates (fewer where a model of earlier measurements is sure; 1:
    none, the estimate's first is taken), 64 by "auto".

    ``search_s``: seconds that "auto" may search one network. Where its first kernels show that it
    would take longer, it gives up, and the stack ends as timed out.

    Quantized layers multiply 8-bit integers and sum in int32. float16 is stored as such and summed
    in float32. bfloat16 is stored and multiplied as such by the template, where the processor can;
    untuned it stays float32, rounded."""

    name: ClassVar[str] = "tvm"
    revision: ClassVar[int] = 4
    algorithms: ClassVar[tuple[str, ...]] = (
        "direct", "gemm", "spatial_pack", "grouped_spatial_pack", "depthwise", "winograd",
        "winograd4", "cheapest", "best", "planned",
    )  # fmt: skip
    distributions: ClassVar[tuple[str, ...]] = ("apache-tvm", "apache-tvm-ffi")
    modules: ClassVar[tuple[str, ...]] = ("tvm",)
    extra: ClassVar[str] = "tvm"

    tuning: Literal["untuned", "template", "auto"] = "untuned"
    trials: Annotated[int, msgspec.Meta(ge=1, le=1024)] | None = None
    search_s: Annotated[float, msgspec.Meta(gt=0)] | None = None

    @classmethod
    def missing(cls) -> str | None:
        if not any(map(shutil.which, COMPILERS)):
            return "tvm needs a C compiler to link what it generates: install gcc or clang"
        return super().missing()

    def combines(self, algorithm: str) -> str | None:
        if algorithm == "best" and self.tuning == "untuned":
            return "best chooses by measuring templates: tuning = 'template'"
        return super().combines(algorithm)

    @property
    def budget(self) -> int:
        """Candidates of a kernel that are measured, at most."""
        return self.trials or {"template": TEMPLATE_TRIALS, "auto": AUTO_TRIALS}.get(self.tuning, 1)

    def emulates(self, network: Network) -> str:
        kinds = {row.dtype for row in network.layers}
        if "bfloat16" in kinds and self.tuning != "template":
            return "values are rounded to bfloat16, but stored and multiplied in float32"
        gemm: Any = member("algorithms", "gemm")()
        if "bfloat16" in kinds and not gemm.dot.is_native("bfloat16", host()):
            return "bfloat16 is multiplied in float32: this processor has no instruction for it"
        if "float16" not in kinds:
            return ""
        return "float16 is multiplied and summed in float32, and rounded when it is stored"

    def compile(self, network: Network, plan: Plan, folder: Path) -> None:
        quick_import("tvm")
        from dlas.systems.tvm.compiling import Compiling

        Compiling(network, plan, self).write(folder)

    def facts(self, folder: Path) -> dict[str, str]:
        tally = open_tally(folder)
        return {"tuning": tally.sentence()} if tally else {}

    def load(self, folder: Path) -> Run:
        return load_library(folder / LIBRARY, self.threads)

    def profile(
        self, folder: Path, run: Run, images: NDArray[np.float32], count: int
    ) -> tuple[LayerTime, ...]:
        return profile(cast(Library, run), images, count, open_kernels(folder))
