"""Layer 5, systems software: what a member is."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.errors import Refused
from dlas.executable import Run
from dlas.layer import Member
from dlas.measure.protocol import LayerTime
from dlas.target import host

if TYPE_CHECKING:  # loading an executable needs no onnx
    from onnx import ModelProto

    from dlas.network import Network
    from dlas.plan import Plan


class System(Member, frozen=True, kw_only=True):
    """Turns a network and a plan into an executable for this target.

    ``threads``: the cores that one inference uses. ``batch``: the images that it computes. Both are
    fixed when it is compiled."""

    #: The algorithms it can follow; ("vendor",) for systems that choose their own kernels.
    algorithms: ClassVar[tuple[str, ...]] = ("vendor",)

    threads: Annotated[int, msgspec.Meta(ge=1)] = 1
    batch: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1

    def combines(self, algorithm: str) -> str | None:
        """Why it cannot follow that algorithm, whatever the network; None when it can."""
        if algorithm in self.algorithms:
            return None
        if self.algorithms == ("vendor",):
            return f"{self.name} chooses its own kernels: algorithm = 'vendor'"
        return f"{self.name} follows {', '.join(self.algorithms)}, not {algorithm!r}"

    def tools(self) -> dict[str, str]:
        """Code is generated for this machine's processor, so it takes part in the key."""
        return {**super().tools(), "target": host().name}

    def refuses(self, network: Network, plan: Plan) -> str | None:
        """Why it cannot run this network, as a sentence."""
        return None

    def emulates(self, network: Network) -> str:
        """Where it computes in another type than the network states, as a sentence; else "".
        Asked on the machine that compiles."""
        return ""

    def emulated(self, network: Network, folder: Path) -> str:
        """The same of what ``compile`` wrote into ``folder``, where that decides what computes."""
        return self.emulates(network)

    def facts(self, folder: Path) -> dict[str, str]:
        """What there is to tell of what ``compile`` wrote into ``folder``, by name."""
        return {}

    @abc.abstractmethod
    def compile(self, network: Network, plan: Plan, folder: Path) -> None:
        """Write all that ``load`` needs into ``folder``. Raises Refused with a sentence for what
        only shows while compiling (an operator without translation)."""
        raise NotImplementedError

    @abc.abstractmethod
    def load(self, folder: Path) -> Run:
        """The compiled network, ready to run, in any process of a machine with this target.
        Import nothing that only compiling needs."""
        raise NotImplementedError

    def profile(
        self, folder: Path, run: Run, images: NDArray[np.float32], count: int
    ) -> tuple[LayerTime, ...]:
        """Where the time of one run goes, in the order of computing: medians over ``count`` runs
        of what ``load`` gave. Raises Refused with a sentence where the system cannot tell."""
        raise Refused(f"{self.name} does not tell what its operators take")


def fixed_batch(network: Network, batch: int) -> ModelProto:
    """The graph for exactly so many images at once, so that every shape in it is known."""
    model = network.edited()
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]
    return model


def batch_of(network: Network) -> int:
    """How many images a graph takes at once; 1 where its batch is not fixed."""
    batch = network.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return int(batch) or 1
