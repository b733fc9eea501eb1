"""From Relax to a shared library: fuse, order the loops, generate code for this machine, link."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tvm
from tvm import relax, tirx
from tvm.relax import transform
from tvm.target.codegen import llvm_get_system_cpu

from dlas.systems.tvm.quantized import legalize_quantize

#: -O2 compiles in two thirds of -O3's time, and the kernels run as fast.
OPTIMIZATION = 2

FUSE = (
    transform.LegalizeOps({"relax.quantize": legalize_quantize}),
    transform.AnnotateTIROpPattern(),
    transform.FoldConstant(),
    transform.FuseOps(),
    transform.FuseTIR(),
)
FINISH = (
    transform.RewriteDataflowReshape(),
    transform.DeadCodeElimination(),  # the kernels of reshapes that became views
    transform.ToNonDataflow(),
    transform.RemovePurityChecking(),
    transform.CallTIRRewrite(),
    transform.StaticPlanBlockMemory(),
    transform.LowerAllocTensor(),
    transform.KillAfterLastUse(),
    transform.LowerRuntimeBuiltin(),
    transform.ComputePrimValue(),
    transform.VMShapeLower(),
    transform.AttachGlobalSymbol(),
)


def host(threads: int) -> tvm.target.Target:
    """The processor that this runs on, as LLVM knows it."""
    return tvm.target.Target(
        {
            "kind": "llvm",
            "mcpu": llvm_get_system_cpu(),
            "num-cores": threads,
            "opt-level": OPTIMIZATION,
        }
    )


def build(
    module: tvm.IRModule,
    threads: int,
    library: Path,
    arrange: Callable[[tirx.PrimFunc], tirx.PrimFunc],
) -> None:
    """Compile ``module`` for this machine and write it as a shared library; ``arrange`` orders the
    loops of one kernel."""
    target = host(threads)
    # The virtual machine calls a kernel with tensors of the shapes it was compiled for; checking
    # them again in every kernel is a third of the code and of the compile time.
    with target, tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        module = tvm.transform.Sequential(FUSE)(module)
        for name, function in module.functions_items():
            if isinstance(function, tirx.PrimFunc):
                module[name] = arrange(function)
        module = tvm.transform.Sequential(FINISH)(module)
        relax.build(module, target, relax_pipeline=None).export_library(str(library))
