"""How far an executable agrees with the reference, which is ONNX Runtime on the same network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dlas.network import Network

#: Steps of 8 bits.
STEPS = 255


def quantization_step(network: Network, expected: NDArray[np.float32]) -> float | None:
    """One quantization step of the network's scores. The scale of the last DequantizeLinear where
    it gives the scores. Where they are not rounded, as ``int8`` leaves them: the step that 8 bits
    would have, the range of the ``expected`` scores, (images, classes), over 255. None where no
    layer is int8."""
    if all(row.dtype != "int8" for row in network.layers):
        return None
    output = network.output_name
    last = next(node for node in network.model.graph.node if output in node.output)
    if last.op_type == "DequantizeLinear":
        return float(network.initializers[last.input[1]].max())
    return float(np.ptp(expected)) / STEPS


def share_within(found: NDArray[np.float32], expected: NDArray[np.float32], step: float) -> float:
    """The share of scores, both (images, classes), that are at most a step apart, in [0, 1]."""
    rounding = 1e-6 * float(np.abs(expected).max(initial=0))
    return float((np.abs(found - expected) <= step + rounding).mean())
