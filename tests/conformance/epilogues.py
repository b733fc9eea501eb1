"""What a layer's kernel does with its sums after fusion: add a bias and a residual, activate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dlas.network import LayerRow
from dlas.testing.convolutions import Array

#: In float64.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "ReLU": lambda x: np.maximum(x, 0),
    "ReLU6": lambda x: np.clip(x, 0, 6),
    "SiLU": lambda x: x / (1 + np.exp(-x)),
    "hard-swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
}


@dataclass(frozen=True)
class Epilogue:
    """``bias`` (K), ``residual`` (N, K, P, Q) in the type of the result."""

    activation: str
    bias: Array
    residual: Array

    @classmethod
    def drawn(
        cls, activation: str, row: LayerRow, batch: int = 1, dtype: str = "float32"
    ) -> Epilogue:
        random = np.random.default_rng(1)
        shapes = (row.out_channels,), (batch, row.out_channels, *row.output_hw)
        bias, residual = (random.normal(size=shape).astype(np.float32) for shape in shapes)
        return cls(activation, bias, residual.astype(dtype))

    def of(self, sums: Any, bias: Any, residual: Any) -> Any:
        """As tensor expressions, in either layout: bias (K) or (K/b, b), the others as the sums."""
        from tvm import te, tirx, topi

        from dlas.systems.tvm.blocked import sigmoid

        def shifted(n: Any, k: Any, i: Any, j: Any, *b: Any) -> Any:
            return (sums[(n, k, i, j, *b)] + bias[(k, *b)]).astype(str(residual.dtype))

        x = te.compute(sums.shape, shifted, name="bias")
        x = topi.add(x, residual)
        sixth, half = (tirx.const(each, str(residual.dtype)) for each in (1 / 6, 0.5))
        forms: dict[str, Callable[[], Any]] = {
            "none": lambda: x,
            "ReLU": partial(topi.nn.relu, x),
            "ReLU6": partial(topi.clip, x, 0.0, 6.0),
            "SiLU": lambda: topi.multiply(x, sigmoid(x)),
            "hard-swish": lambda: topi.multiply(
                x, topi.clip(topi.add(topi.multiply(x, sixth), half), 0.0, 1.0)
            ),
        }
        return forms[self.activation]()

    @staticmethod
    def relax_forms(x: Any) -> dict[str, Callable[[], Any]]:
        from tvm import relax

        sixth, half = (relax.const(each, "float32") for each in (1 / 6, 0.5))
        return {
            "none": lambda: x,
            "ReLU": lambda: relax.op.nn.relu(x),
            "ReLU6": lambda: relax.op.clip(x, 0, 6),
            "SiLU": lambda: relax.op.nn.silu(x),
            "hard-swish": lambda: x * relax.op.clip(x * sixth + half, 0, 1),
        }

    def fused(self, function: Any) -> Any:
        """A ``tvm.tirx.PrimFunc``, its last parameters the bias and the output, with the residual
        and the activation fused to it as the system tvm does; the residual is before the output."""
        import tvm
        from tvm import relax

        from dlas.systems.tvm.lower import FUSE

        *given, output = [
            relax.Var(f"x{i}", relax.TensorType([int(n) for n in p.shape], str(p.dtype)))
            for i, p in enumerate(function.params)
        ]
        residual = relax.Var("residual", output.ty)
        builder = relax.BlockBuilder()
        with builder.function("main", [*given, residual]):
            with builder.dataflow():
                sums = relax.call_tir(builder.add_func(function, "kernel"), given, output.ty)
                x = builder.emit(relax.op.add(builder.emit(sums), residual))
                result = builder.emit_output(self.relax_forms(x)[self.activation]())
            builder.emit_func_output(result)
        module = tvm.transform.Sequential(FUSE)(builder.get())
        (kernel,) = (f for _, f in module.functions_items() if isinstance(f, tvm.tirx.PrimFunc))
        return kernel

    def expected(self, sums: Array) -> Array:
        return ACTIVATIONS[self.activation](sums + self.bias[:, None, None] + self.residual)
