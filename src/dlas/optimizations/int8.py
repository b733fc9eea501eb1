"""``int8``: static post-training quantization, written as ONNX QuantizeLinear/DequantizeLinear."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np

from dlas.context import Context
from dlas.data import Data
from dlas.errors import InputError, SpecError
from dlas.layer import did_you_mean
from dlas.network import Network
from dlas.network.fold import fold_batch_norm
from dlas.optimizations.accumulator import check_accumulators, with_room_for_biases
from dlas.optimizations.base import Optimization
from dlas.optimizations.bias_correction import corrected, with_biases
from dlas.optimizations.calibration import CalibrationImages, activation_ranges, channel_peaks
from dlas.optimizations.clipping import Calibration
from dlas.optimizations.equalization import equalized, pairs
from dlas.optimizations.qdq import Swish, quantized


class Int8(Optimization, frozen=True, kw_only=True):
    """Weights in signed 8 bits, symmetric, a scale per output channel: zeros stay zeros.
    Activations in unsigned or signed 8 bits with a zero point, a scale per tensor (Jacob et al.
    2018, BatchNorm folded as in their section 3.2). Multiplying and adding constants, which is what
    remains of a BatchNorm before its convolution, stays in float32: a scale per channel would be
    lost in one per tensor. So do the scores."""

    name: ClassVar[str] = "int8"
    distributions: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    revision: ClassVar[int] = 2

    samples: Annotated[int, msgspec.Meta(ge=1)] = 128
    calibration: Calibration = "min_max"
    percentile: Annotated[float, msgspec.Meta(gt=50, lt=100)] = 99.99
    activations: Literal["uint8", "int8"] = "uint8"
    swish: Swish = "rounded"
    equalization: bool = False
    bias_correction: bool = False
    keep: tuple[str, ...] = ()

    def check(self, path: str) -> None:
        default = next(f.default for f in msgspec.structs.fields(Int8) if f.name == "percentile")
        if self.calibration != "percentile" and self.percentile != default:
            raise SpecError(
                f"{path}.percentile", 'only calibration = "percentile" reads it; leave one out'
            )

    def refuses(self, network: Network) -> str | None:
        if network.dtype != "float32":
            return f"int8 takes a float32 network; this one's layers are {network.dtype}"
        names = [row.name for row in network.layers]
        unknown = [name for name in self.keep if name not in names]
        if unknown:
            return f"int8 keeps {unknown[0]!r}, which is no layer{did_you_mean(unknown[0], names)}"
        return None

    def apply(self, network: Network, data: Data, context: Context) -> Network:
        """Raises InputError for too few calibration images and for NaN or infinite values."""
        images = CalibrationImages(network, data, self.samples)
        original = Network(fold_batch_norm(network.model))
        _check_finite(original)
        if self.bias_correction:
            original = with_biases(original)
        if self.equalization:
            found = pairs(original, self.keep)
            peaks = channel_peaks(original, [pair.activation for pair in found], images)
            original = equalized(original, found, peaks)
        ranges = activation_ranges(original, images, self.calibration, self.percentile, context)
        network = quantized(original, ranges, self.activations, self.keep, self.swish)
        network = with_room_for_biases(network, original)
        if self.bias_correction:
            network = corrected(network, original, images, context)
        check_accumulators(network)
        return network


def _check_finite(network: Network) -> None:
    for name, array in network.initializers.items():
        if not np.isfinite(array).all():
            raise InputError(f"the network's {name} holds NaN or infinite values")
