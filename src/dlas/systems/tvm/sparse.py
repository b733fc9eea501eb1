"""Layers whose weights are stored in a sparse format: kernels given as loops, their tile chosen
with the layer's own weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax

from dlas.layer import member
from dlas.network import LayerRow
from dlas.plan import Step
from dlas.systems.tvm.quantized import Array
from dlas.target import Target

if TYPE_CHECKING:
    from dlas.algorithms.sparse.kernel import Kernel

#: Of a layer's kernels, which differ in their tiles only, the one to take.
Choose = Callable[[str, Sequence["Kernel"]], "Kernel"]


@dataclass(frozen=True)
class SparseLayers:
    """``choose`` takes one of the ``most`` cheapest by estimate; None: that of no choices."""

    target: Target
    threads: int
    choose: Choose | None = None
    most: int = 1

    def emit(
        self, builder: relax.BlockBuilder, step: Step, row: LayerRow, data: relax.Expr,
        weight: Array, bias: Array,
    ) -> relax.Expr:  # fmt: skip
        """data (N, C, H, W), or (N, C) of a dense layer; weight (K, C/G, R, S) or (K, C)."""
        batch = int(data.ty.shape[0])
        kernel = self.kernel(step, row, weight.reshape(*weight.shape[:2], *row.kernel), batch)
        if row.op == "dense":
            data = builder.emit(relax.op.reshape(data, (batch, row.in_channels, 1, 1)))
        constants = (*kernel.packed.arrays, bias.astype(np.float32))
        function = builder.add_func(kernel.function(), f"{step.primitive}_{step.format}")
        shape = (batch, row.out_channels, *row.output_hw)
        call = relax.call_tir(
            function, [data, *map(relax.const, constants)], relax.TensorType(shape, "float32")
        )
        scores = builder.emit(call)
        if row.op == "dense":
            return builder.emit(relax.op.reshape(scores, (batch, row.out_channels)))
        return scores

    def kernel(self, step: Step, row: LayerRow, weight: Array, batch: int) -> Kernel:
        primitive: Any = member("algorithms", step.primitive)()
        stored = primitive.stored(step.format, weight, row.groups)
        form = primitive.sparse
        if self.choose is None:
            found: Kernel = form.simplest(stored, row, self.target, self.threads, batch)
            return found
        kernels = form.kernels(stored, row, self.target, self.threads, self.most, batch)
        return self.choose(row.name, kernels)
