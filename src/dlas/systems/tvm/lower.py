"""From Relax to a shared library: fuse, order the loops, generate code for the target, link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax import transform

from dlas.systems.tvm.quantized import legalize_quantize
from dlas.systems.tvm.registers import PIPELINE
from dlas.target import Target, host

#: Puts the loops of a module's kernels in order.
Arrange = Callable[[Sequence[tirx.PrimFunc]], Sequence[tirx.PrimFunc]]

#: -O2 compiles in two thirds of -O3's time, and the kernels run as fast.
OPTIMIZATION = 2

FUSE = (
    transform.LegalizeOps({"relax.quantize": legalize_quantize}),
    transform.AnnotateTIROpPattern(),
    transform.FoldConstant(),
    transform.FuseOps(),
    transform.FuseTIR(),
)
VIEWS = (
    transform.RewriteDataflowReshape(),
    transform.DeadCodeElimination(),  # the kernels of reshapes that became views
)
FINISH = (
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


#: ISA → LLVM's triple; what is not here is compiled for the machine that compiles.
TRIPLES = {
    "x86-64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
}


def llvm_target(machine: Target, threads: int) -> tvm.target.Target:
    """``machine`` as TVM's LLVM backend takes it: this one, or one to compile for from here."""
    options: dict[str, object] = {
        "kind": "llvm",
        "mattr": list(machine.llvm_features),
        "num-cores": threads,
        "opt-level": OPTIMIZATION,
    }
    if machine.llvm_cpu is not None:
        options["mcpu"] = machine.llvm_cpu
    if machine.isa != host().isa and machine.isa in TRIPLES:
        options["mtriple"] = TRIPLES[machine.isa]
    if machine.isa == "aarch64" and machine.vector_bits > 128:
        # Without a width to rely on, LLVM cuts vectors for NEON also where there is SVE.
        options["cl-opt"] = [f"-aarch64-sve-vector-bits-min:uint={machine.vector_bits}"]
    if machine.isa == "x86-64" and machine.vector_bits == 512:
        # LLVM halves vectors for Intel processors, of which older ones slowed down for whole ones.
        options["mattr"] = [*machine.llvm_features, "-prefer-256-bit"]
    if machine.isa == "riscv64":
        options["mabi"] = "lp64d"
        # Where TVM sees "v" it makes every vector a masked loop over memory. These two are what
        # "v" guarantees, and leave vectors as the schedules made them.
        vectors = {"+v": ["+zve64d", "+zvl128b"]}
        options["mattr"] = [a for name in machine.llvm_features for a in vectors.get(name, [name])]
    return tvm.target.Target(options)


def compiled(kernels: tvm.IRModule, machine: Target, threads: int) -> tvm.runtime.Executable:
    """Kernels with their loops in order, as code for ``machine``."""
    return tvm.compile(kernels, llvm_target(machine, threads), tir_pipeline=PIPELINE)


def fused(module: tvm.IRModule, machine: Target, threads: int) -> tvm.IRModule:
    """The module with every kernel as it will be compiled, but for the order of its loops."""
    with llvm_target(machine, threads), tvm.transform.PassContext(opt_level=3):
        return tvm.transform.Sequential(FUSE)(module)


def kernels_of(module: tvm.IRModule) -> dict[Any, tirx.PrimFunc]:
    """By their global variables."""
    functions = module.functions_items()
    return {name: each for name, each in functions if isinstance(each, tirx.PrimFunc)}


def build(
    module: tvm.IRModule,
    machine: Target,
    threads: int,
    library: Path,
    arrange: Arrange,
) -> tvm.IRModule:
    """Compile ``module`` for ``machine`` and write it as a shared library. Returns it as it was
    before it was lowered: the calls of kernels that the library makes."""
    module, target = fused(module, machine, threads), llvm_target(machine, threads)
    # The virtual machine calls a kernel with tensors of the shapes it was compiled for; checking
    # them again in every kernel is a third of the code and of the compile time.
    with target, tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        kernels = kernels_of(module)
        for name, kernel in zip(kernels, arrange(list(kernels.values())), strict=True):
            module[name] = kernel
        module = tvm.transform.Sequential(VIEWS)(module)
        lowered = tvm.transform.Sequential(FINISH)(module)
        built = relax.build(lowered, target, relax_pipeline=None, tir_pipeline=PIPELINE)
        built.export_library(str(library))
    return module
