"""``int8_qat``: quantization-aware fine-tuning of what ``int8`` makes."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from dlas.context import Context
from dlas.data import Data
from dlas.network import Network
from dlas.optimizations.base import Optimization
from dlas.optimizations.int8 import Int8
from dlas.training import REVISION, Masks, Recipe, train_quantized

#: The share of the work that is done when training begins.
CALIBRATED = 0.1


class Int8Qat(Optimization, frozen=True, kw_only=True):
    """Quantizes by ``int8``, then trains: every pass rounds weights and activations as the network
    will when it runs, and gradients pass through the rounding (Jacob et al. 2018, section 3). The
    result has the form of ``int8``'s.

    ``ranges``: "fixed" keeps those that ``int8`` found; "learned" trains the scales of weights and
    activations with the weights (Esser et al. 2020, "LSQ"), zero points stay. Weights that were
    zero before quantizing stay zero."""

    name: ClassVar[str] = "int8_qat"
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    modules: ClassVar[tuple[str, ...]] = ("torch",)
    extra: ClassVar[str] = "torch"

    int8: Int8 = Int8()
    fine_tune: Recipe = Recipe(epochs=2, lr=0.0005, weight_decay=1e-4)
    ranges: Literal["learned", "fixed"] = "learned"
    seed: int = 0

    def check(self, path: str) -> None:
        self.int8.check(f"{path}.int8")

    def tools(self) -> dict[str, str]:
        return {**super().tools(), **self.int8.tools(), "dlas.training": str(REVISION)}

    def refuses(self, network: Network) -> str | None:
        return self.int8.refuses(network)

    def apply(self, network: Network, data: Data, context: Context) -> Network:
        """Raises what ``int8`` raises, and Refused where training diverges."""

        def progress(begin: float, end: float) -> Context:
            return replace(
                context, progress=lambda f, text: context.progress(begin + f * (end - begin), text)
            )

        start = self.int8.apply(network, data, progress(0, CALIBRATED))
        return train_quantized(
            start, data, self.fine_tune, seed=self.seed, context=progress(CALIBRATED, 1),
            masks=_zeros(network, start), learned=self.ranges == "learned",
        )  # fmt: skip


def _zeros(network: Network, quantized: Network) -> Masks:
    """Where the weights of a pruned layer may differ from zero."""
    given = {row.name: network.initializers[row.weight] != 0 for row in network.layers}
    return {
        row.weight: given[row.name]
        for row in quantized.layers
        if row.name in given and not given[row.name].all()
    }
