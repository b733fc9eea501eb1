"""Layers on narrow numbers: kernels given as loops, of which one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tvm import relax

from dlas.errors import Refused
from dlas.network import LayerRow
from dlas.systems.tvm.quantized import Array
from dlas.target import Target

if TYPE_CHECKING:
    from dlas.algorithms.dot.form import DotForm
    from dlas.algorithms.dot.kernel import Kernel
    from dlas.systems.tvm.images import Image

#: Of a layer's kernels, the one to take.
Choose = Callable[[str, Sequence["Kernel"]], "Kernel"]
#: What an int32 holds.
LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Weights:
    """values (K, C/G, R, S), as stored; ``scale`` (K) of integers; bias (K). ``unit``: what the
    layer's outputs are divided by."""

    values: Array
    bias: Array
    scale: Array | None = None
    unit: float = 1.0


@dataclass(frozen=True)
class DotLayers:
    """``choose`` takes one of the ``most`` cheapest by estimate."""

    target: Target
    choose: Choose
    most: int

    def integers(
        self, row: LayerRow, weight: Array, scale: Array, bias: Array, unit: float
    ) -> Weights:
        """Raises Refused where sums may leave int32."""
        largest = int(np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(1).max()) * 255
        if largest > LARGEST:
            raise Refused(
                f"the sums of layer {row.name!r} may reach {largest}, more than int32 holds: keep "
                "it in float32, or give it fewer input channels"
            )
        return Weights(weight, bias, scale, unit)

    def floats(self, row: LayerRow, weight: Array, bias: Array) -> Weights:
        """The weights as bits of bfloat16, which they must be."""
        bits = np.ascontiguousarray(weight, np.float32).view(np.uint32)
        return Weights((bits >> 16).astype(np.uint16), bias)

    def emit(
        self, builder: relax.BlockBuilder, form: DotForm, row: LayerRow, image: Image,
        weights: Weights,
    ) -> relax.Expr | None:  # fmt: skip
        """The layer's outputs (N, 1, P, Q, K filled up), float32; None where it has no kernel."""
        affine, zero = form.affine(weights.bias), 0
        if weights.scale is not None and image.steps is not None:
            step, zero = image.steps
            totals = weights.values.reshape(len(weights.values), -1).sum(1, dtype=np.int64)
            offset = (-zero * totals).astype(np.int32)
            factor = np.float64(step) * weights.scale / weights.unit
            shift = weights.bias.astype(np.float64) / weights.unit
            affine = form.affine(offset, factor.astype(np.float32), shift.astype(np.float32))
        stored = image.number, image.shape[-1], zero
        given = row, stored, weights.values, affine
        kernels = form.kernels(*given, self.target, self.most, image.shape[0])
        if not kernels:
            return None
        kernel = self.choose(row.name, kernels)
        function = builder.add_func(kernel.function(), kernel.stage)
        constants = [relax.const(array) for array in kernel.constants.values()]
        arguments = [image.expression, *constants]
        return builder.emit(
            relax.call_tir(function, arguments, relax.TensorType(kernel.output_shape, "float32"))
        )


def weight_of(weight: Array, axis: int, row: LayerRow) -> Array:
    """(K, C/G, R, S)."""
    moved = np.moveaxis(weight, axis, 0)
    return moved.reshape(*moved.shape[:2], *row.kernel)
