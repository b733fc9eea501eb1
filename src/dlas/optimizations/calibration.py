"""The ranges of a network's activations, on calibration images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from dlas.context import Context
from dlas.data import Data
from dlas.errors import InputError
from dlas.evaluate import cpu_session
from dlas.network import Network
from dlas.network.layers import tensor_shapes
from dlas.optimizations.clipping import Calibration, Histogram, Range, clipped

#: The most images in one run, and numbers that one run leaves in memory: all its activations.
BATCH = 8
IN_MEMORY = 1 << 26

#: A tensor whose values all lie closer to zero counts as zero: its step may be none in float32.
SMALLEST = 1e-30

Activations = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class CalibrationImages:
    """The first ``samples`` calibration images of a data set, which are a random sample.

    Raises InputError where there are fewer or they have another shape than the network's, and,
    while reading, where a value is not finite."""

    network: Network
    data: Data
    samples: int

    def __post_init__(self) -> None:
        split = self.data.calibration
        if len(split) < self.samples:
            raise InputError(
                f"int8 calibrates on {self.samples} images and the data set has {len(split)}: "
                "lower samples, or give the data set more calibration images"
            )
        shape = split.images(slice(1)).shape[1:]
        if shape != self.network.input_shape:
            raise InputError(
                f"the calibration images have shape {shape}, the network takes "
                f"{self.network.input_shape}: give both the same"
            )

    def batches(self, size: int = BATCH) -> Iterator[NDArray[np.float32]]:
        for start in range(0, self.samples, size):
            images = self.data.calibration.images(slice(start, min(start + size, self.samples)))
            if not np.isfinite(images).all():
                raise InputError("the calibration images hold NaN or infinite values")
            yield images


def activation_ranges(
    network: Network,
    images: CalibrationImages,
    method: Calibration,
    percentile: float,
    context: Context,
) -> dict[str, Range]:
    """(≤ 0, ≥ 0) of every activation, the image among them, by name. What is always zero gets
    (0, 1), so that it has a scale.

    The images go through the network once for the extremes, and again where the method needs
    histograms between them. Raises InputError where an activation is not finite."""
    size = batch_size(network)
    runs = -(-images.samples // size)
    passes = 1 if method == "min_max" else 2

    def activations(before: int) -> Iterator[Activations]:
        names = [name for node in network.model.graph.node for name in node.output if name]
        given = network.input_name
        run = tap(network, names)
        for done, batch in enumerate(images.batches(size), start=before):
            context.progress(done / (passes * runs), "calibrating")
            yield {given: batch, **run(batch)}

    histograms = {name: Histogram(*ends) for name, ends in _extremes(activations(0)).items()}
    if method != "min_max":
        for values in activations(runs):
            for name, histogram in histograms.items():
                histogram.add(values[name])
    return {name: clipped(found, method, percentile) for name, found in histograms.items()}


def channel_peaks(
    network: Network, names: list[str], images: CalibrationImages
) -> dict[str, NDArray[np.float32]]:
    """(C,) the largest absolute value of each channel of these activations, (N, C, ...)."""
    run = tap(network, names)
    found: dict[str, NDArray[np.float32]] = {}
    for batch in images.batches(batch_size(network)):
        for name, values in run(batch).items():
            peaks = np.abs(values).max(axis=(0, *range(2, values.ndim)))
            found[name] = np.maximum(found.get(name, 0), peaks)
    return found


def tap(network: Network, names: list[str]) -> Callable[[NDArray[np.float32]], Activations]:
    """Runs images (n, C, H, W) and gives these tensors, float32 ones only. In one thread, whatever
    the context has: with another number sums round otherwise."""
    model = network.edited()
    known = {value.name for value in model.graph.output}
    added = [name for name in names if name not in known]
    model.graph.output.extend(map(helper.make_empty_tensor_value_info, added))
    session = cpu_session(Network(model))
    given = network.input_name
    floats = {out.name for out in session.get_outputs() if out.type == "tensor(float)"}
    wanted = [name for name in names if name in floats]

    def run(images: NDArray[np.float32]) -> Activations:
        found = session.run(wanted, {given: images}) if wanted else []
        return dict(zip(wanted, found, strict=True))

    return run


def batch_size(network: Network) -> int:
    """Images whose activations may be in memory together."""
    numbers = sum(math.prod(shape) for shape in tensor_shapes(network.model).values())
    return max(1, min(BATCH, IN_MEMORY // max(1, numbers)))


def _extremes(batches: Iterator[Activations]) -> dict[str, Range]:
    found: dict[str, Range] = {}
    for values in batches:
        for name, array in values.items():
            low, high = found.get(name, (0.0, 0.0))
            found[name] = float(array.min(initial=low)), float(array.max(initial=high))
            if not np.isfinite(found[name]).all():
                raise InputError(
                    f"the network's {name} holds NaN or infinite values on calibration images"
                )
    return {
        name: (low, high) if high - low > SMALLEST else (0.0, 1.0)
        for name, (low, high) in found.items()
    }
