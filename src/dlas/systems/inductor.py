"""``inductor``: PyTorch's compiler, TorchInductor, ahead of time into a shared library."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dlas.executable import Run
from dlas.systems.base import System
from dlas.systems.pytorch import emulation

if TYPE_CHECKING:
    from dlas.network import Network
    from dlas.plan import Plan

FILE = "network.pt2"


class Inductor(System, frozen=True, kw_only=True):
    """An AOTInductor package, weights frozen in: the kernels of ``torch.compile`` with freezing,
    without its Python at run time. Loading runs the library that compiling wrote."""

    name: ClassVar[str] = "inductor"
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    modules: ClassVar[tuple[str, ...]] = ("torch",)
    extra: ClassVar[str] = "torch"

    @classmethod
    def missing(cls) -> str | None:
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        if shutil.which(compiler) is None:
            return (
                f"inductor needs a C++ compiler, and there is no {compiler}: install it, or set CXX"
            )
        return super().missing()

    def emulates(self, network: Network) -> str:
        return emulation(network)

    def compile(self, network: Network, plan: Plan, folder: Path) -> None:
        import torch
        import torch._inductor

        from dlas.network.torch_module import to_torch

        module = to_torch(network, trainable=False)
        options: dict[str, Any] = {"freezing": True}
        if any(row.dtype == "bfloat16" for row in network.layers):
            # A cast there and back rounds; by default Inductor takes it for a detour.
            options["emulate_precision_casts"] = True
        image = torch.zeros(self.batch, *network.input_shape)
        threads = torch.get_num_threads()
        torch.set_num_threads(self.threads)  # the number is written into the generated loops
        try:
            with torch.no_grad():
                program = torch.export.export(module, (image,))
                torch._inductor.aoti_compile_and_package(
                    program, package_path=str(folder / FILE), inductor_configs=options
                )
        finally:
            torch.set_num_threads(threads)

    def load(self, folder: Path) -> Run:
        import torch

        torch.set_num_threads(self.threads)
        # What torch._inductor.aoti_load_package wraps; importing that costs 1 s and 80 MB, which
        # would be measured as the network's.
        loader = torch._C._aoti.AOTIModelPackageLoader(str(folder / FILE), "model", False, 1, -1)

        def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
            scores: NDArray[np.float32] = loader.run([torch.from_numpy(images)])[0].numpy()
            return scores

        return run
