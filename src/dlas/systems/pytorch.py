"""``pytorch``: PyTorch in eager mode, one library call per operator."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dlas.executable import Run
from dlas.measure.protocol import LayerTime
from dlas.systems.base import System

if TYPE_CHECKING:
    from torch import Tensor

    from dlas.network import Network
    from dlas.network.torch_module import TorchNetwork
    from dlas.plan import Plan


class PyTorch(System, frozen=True, kw_only=True):
    """``memory_format``: how images and weights lie in memory. channels_last is the faster one for
    most convolutions, depthwise and half-precision ones above all."""

    name: ClassVar[str] = "pytorch"
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    modules: ClassVar[tuple[str, ...]] = ("torch",)
    extra: ClassVar[str] = "torch"

    memory_format: Literal["channels_last", "contiguous"] = "channels_last"

    def emulates(self, network: Network) -> str:
        return emulation(network)

    def compile(self, network: Network, plan: Plan, folder: Path) -> None:
        from dlas.network.torch_module import to_torch

        to_torch(network, trainable=False)  # raises Refused for an operator without translation
        network.save(folder)

    def load(self, folder: Path) -> Eager:
        import torch

        from dlas.network import Network
        from dlas.network.torch_module import to_torch

        torch.set_num_threads(self.threads)
        module = to_torch(Network.open(folder), trainable=False)
        if self.memory_format == "channels_last":
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # in no stub

        return Eager(module, torch.from_numpy, torch.inference_mode)

    def profile(
        self, folder: Path, run: Run, images: NDArray[np.float32], count: int
    ) -> tuple[LayerTime, ...]:
        from dlas.network import Network
        from dlas.systems.torch_profile import profile

        assert isinstance(run, Eager)
        return profile(run.module, Network.open(folder), images, count)


@dataclass(frozen=True)
class Eager:
    """A module as a function of arrays."""

    module: TorchNetwork
    tensor: Callable[[NDArray[np.float32]], Tensor]
    inference_mode: Callable[[], AbstractContextManager[object]]

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        with self.inference_mode():
            scores: NDArray[np.float32] = self.module(self.tensor(images)).numpy()
        return scores


#: What a CPU with float16 arithmetic can do, as PyTorch names it.
FLOAT16_ARITHMETIC = ("avx512_fp16", "amx_fp16", "fp16_arith")


def emulation(network: Network) -> str:
    """Where PyTorch on a CPU computes in a wider type than the network states."""
    import torch

    kinds = {row.dtype for row in network.layers}
    if "int8" in kinds:
        return "quantized values are rounded to 8 bits, but multiplied and added in float32"
    if "bfloat16" in kinds:
        return "values are rounded to bfloat16, but multiplied in float32"
    capabilities = torch.cpu.get_capabilities()
    if "float16" in kinds and not any(map(capabilities.get, FLOAT16_ARITHMETIC)):
        return "float16 is multiplied and added in float32: this CPU has no float16 arithmetic"
    return ""
