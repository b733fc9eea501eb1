"""Direct convolution: the definition, seven nested loops on data as it lies.

Source: the "direct" primitive of DLAS (Gibson et al. 2023, arXiv:2311.08909).
"""

from __future__ import annotations

from typing import Any, ClassVar

from dlas.algorithms.primitive import Array, Primitive, Tensor, accumulator, multiply, padded
from dlas.network import LayerRow


class Direct(Primitive, frozen=True, kw_only=True):
    """Applies to every convolution. Weight layout: (K, C/G, R, S), as in the network."""

    name: ClassVar[str] = "direct"

    def pack(self, weight: Array, row: LayerRow) -> Array:
        return weight

    def compute(self, data: Tensor, weight: Tensor, zero: Any, row: LayerRow) -> Tensor:
        """out[n, k, y, x] = Σ c, r, s  data[n, c, y·stride + r·dilation, …] · weight[k, c, r, s]"""
        from tvm import te

        image, dtype = padded(data, zero, row), accumulator(data)
        (sy, sx), (dy, dx) = row.stride, row.dilation
        inputs, outputs = row.in_channels // row.groups, row.out_channels // row.groups
        c = te.reduce_axis((0, inputs), "c")
        r = te.reduce_axis((0, row.kernel[0]), "r")
        s = te.reduce_axis((0, row.kernel[1]), "s")

        def output(n: Any, k: Any, y: Any, x: Any) -> Any:
            pixel = image[n, k // outputs * inputs + c, y * sy + r * dy, x * sx + s * dx]
            return te.sum(multiply(pixel, weight[k, c, r, s], dtype), axis=[c, r, s])

        shape = (data.shape[0], row.out_channels, *row.output_hw)
        return te.compute(shape, output, name="direct")
