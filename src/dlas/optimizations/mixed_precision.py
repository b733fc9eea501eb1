"""``mixed_precision``: int8 but for the layers that cost most."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from dlas.context import Context
from dlas.data import Data
from dlas.errors import Refused, SpecError
from dlas.evaluate import scores
from dlas.network import Network
from dlas.optimizations.base import Optimization
from dlas.optimizations.int8 import Int8
from dlas.optimizations.layer_precision import Sensitivity, by_loss, int8_alone, measured

REPORT = "precisions.json"
#: The share of the work that is done when every layer has been measured.
MEASURED = 0.8


class LayerPrecision(msgspec.Struct, frozen=True, kw_only=True):
    """``loss_nats``: the rise of the cross-entropy when this layer alone is int8."""

    layer: str
    macs: int
    loss_nats: float
    dtype: str


class MixedPrecision(Optimization, frozen=True, kw_only=True):
    """Quantizes by ``int8`` and leaves as few layers in float32 as hold ``max_loss``: at most so
    many percent of the first ``samples`` calibration images may get another label than from the
    float32 network. The accuracy on these images cannot fall by more points than that, and may fall
    by less: some of the labels that change were wrong.

    Layers are quantized one at a time; those whose scores move most (Kullback-Leibler divergence)
    stay first, and how many is found by bisection: that more of them never change more labels is an
    assumption, that the result holds ``max_loss`` is not. ``precisions.json`` beside the network
    says what was measured and chosen. Calibrates once per layer, and log₂(layers) times more."""

    name: ClassVar[str] = "mixed_precision"
    distributions: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    max_loss: Annotated[float, msgspec.Meta(ge=0, lt=100)] = 1.0
    int8: Int8 = Int8()
    samples: Annotated[int, msgspec.Meta(ge=1)] = 128

    def check(self, path: str) -> None:
        self.int8.check(f"{path}.int8")
        if self.int8.keep:
            raise SpecError(f"{path}.int8.keep", "mixed_precision chooses what is kept")

    def tools(self) -> dict[str, str]:
        return {**super().tools(), **self.int8.tools()}

    def refuses(self, network: Network) -> str | None:
        return self.int8.refuses(network)

    def apply(self, network: Network, data: Data, context: Context) -> Network:
        """Raises what ``int8`` raises; InputError for too few images; Refused where sums and
        poolings alone, which have no layer to keep, change too many labels."""

        def progress(fraction: float, text: str) -> None:
            context.progress(MEASURED * fraction, text)

        narrowed = {"int8": int8_alone(network, self.int8, data, context)}
        part = replace(context, progress=progress)
        rows = measured(network, data, self.samples, narrowed, part)
        search = _Search(self, network, data, context, tuple(by_loss(rows, "int8")))
        kept, mixed = search.fewest()
        _write_report(context.folder, rows, kept)
        return mixed


class _Search:
    def __init__(
        self, spec: MixedPrecision, network: Network, data: Data, context: Context,
        order: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.spec, self.network, self.data, self.order = spec, network, data, order
        self.context, self.tries = context, 0
        self.images = data.calibration.images(slice(spec.samples))
        self.labels = scores(network, self.images).argmax(axis=1)

    def fewest(self) -> tuple[tuple[str, ...], Network]:
        """Layers that stay float32, and the network."""
        low, high = 0, len(self.order)
        found, changed = self._keeping(high)
        if changed > self.spec.max_loss:
            raise Refused(
                f"with all layers in float32, what lies between them in int8 changes {changed:.3g} "
                f"% of the labels: raise max_loss above {self.spec.max_loss:g}, or calibrate "
                "int8 otherwise"
            )
        while low < high:
            middle = (low + high) // 2
            mixed, changed = self._keeping(middle)
            if changed <= self.spec.max_loss:
                found, high = mixed, middle
            else:
                low = middle + 1
        return self.order[:high], found

    def _keeping(self, number: int) -> tuple[Network, float]:
        """The network with so many layers in float32, and the percentage of other labels."""
        self.tries += 1
        share = self.tries / (len(self.order).bit_length() + 2)
        self.context.progress(MEASURED + (1 - MEASURED) * share, f"{number} layers in float32")
        int8 = msgspec.structs.replace(self.spec.int8, keep=self.order[:number])
        quiet = replace(self.context, progress=lambda fraction, text: None)
        mixed = int8.apply(self.network, self.data, quiet)
        labels = scores(mixed, self.images).argmax(axis=1)
        return mixed, 100 * float(np.mean(labels != self.labels))


def _write_report(folder: Path, rows: tuple[Sensitivity, ...], kept: tuple[str, ...]) -> None:
    reports = [
        LayerPrecision(
            layer=row.layer, macs=row.macs, loss_nats=row.loss_nats["int8"],
            dtype="float32" if row.layer in kept else "int8",
        )
        for row in rows
    ]  # fmt: skip
    (folder / REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(reports), indent=1))
