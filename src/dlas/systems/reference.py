"""``reference``: ONNX's reference evaluator in NumPy. Slow and obvious: it defines the meaning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from dlas.executable import Run
from dlas.systems.base import System

if TYPE_CHECKING:
    from dlas.network import Network
    from dlas.plan import Plan


class Reference(System, frozen=True, kw_only=True):
    """Every operator as the ONNX standard's own NumPy implementation computes it, in the types the
    network states. It uses as many cores as NumPy's BLAS takes; do not time it."""

    name: ClassVar[str] = "reference"
    distributions: ClassVar[tuple[str, ...]] = ("onnx", "numpy")

    def compile(self, network: Network, plan: Plan, folder: Path) -> None:
        network.save(folder)

    def load(self, folder: Path) -> Run:
        from onnx.reference import ReferenceEvaluator

        from dlas.network import Network

        network = Network.open(folder)
        evaluator = ReferenceEvaluator(network.model)
        given = network.input_name

        def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
            (scores,) = evaluator.run(None, {given: images})
            return np.asarray(scores, np.float32)

        return run
