"""``int8``: static post-training quantization, written as ONNX QuantizeLinear/DequantizeLinear."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from dlas.context import Context
from dlas.data import Data
from dlas.errors import InputError
from dlas.network import Network
from dlas.network.fold import fold_batch_norm
from dlas.optimizations.base import Optimization

BATCH = 8

#: What is computed on 8-bit values. Not Concat: values that one branch quantized would be rounded
#: again to the range of all (and OpenVINO 2026.4 crashes on a quantized one before a Mul).
QUANTIZED = (
    "Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "Sigmoid", "MaxPool", "AveragePool",
    "GlobalAveragePool", "Pad", "Slice", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze",
)  # fmt: skip


class Int8(Optimization, frozen=True, kw_only=True):
    """Weights in signed 8 bits, symmetric, a scale per output channel: zeros stay zeros.
    Activations in unsigned 8 bits with a zero point, a scale per tensor (Jacob et al. 2018,
    BatchNorm folded as in their section 3.2). Multiplying and adding constants, which is what
    remains of a BatchNorm before its convolution, stays in float32: a scale per channel would be
    lost in one per tensor. So do the scores.

    Ranges come from the first ``samples`` calibration images. They hold ``percentile`` % of a
    tensor's values, by a histogram; at 100 they reach from the smallest to the largest."""

    name: ClassVar[str] = "int8"
    distributions: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    samples: Annotated[int, msgspec.Meta(ge=1)] = 128
    percentile: Annotated[float, msgspec.Meta(gt=50, le=100)] = 100.0

    def refuses(self, network: Network) -> str | None:
        if network.dtype == "float32":
            return None
        return f"int8 takes a float32 network; this one's layers are {network.dtype}"

    def apply(self, network: Network, data: Data, context: Context) -> Network:
        """Raises InputError for too few calibration images and for NaN or infinite values."""
        from onnxruntime import quantization as ort
        from onnxruntime.quantization.quant_utils import add_pre_process_metadata

        extremes = self.percentile == 100
        method = ort.CalibrationMethod.MinMax if extremes else ort.CalibrationMethod.Percentile
        images = _Batches(network.input_name, data, self.samples, context)
        folded = fold_batch_norm(network.model)
        _check_finite(folded)
        metadata = list(folded.metadata_props)
        add_pre_process_metadata(folded)
        with tempfile.TemporaryDirectory() as folder, _quiet():
            file = Path(folder) / "quantized.onnx"
            ort.quantize_static(
                folded, file, images, quant_format=ort.QuantFormat.QDQ, per_channel=True,
                activation_type=ort.QuantType.QUInt8, weight_type=ort.QuantType.QInt8,
                op_types_to_quantize=list(QUANTIZED), nodes_to_exclude=_affine_nodes(folded.graph),
                calibrate_method=method,
                extra_options={"CalibStridedMinMax": 1, "CalibPercentile": self.percentile},
            )  # fmt: skip
            model = onnx.load(file)
        _release_scores(model.graph)
        del model.graph.value_info[:]
        del model.metadata_props[:]
        model.metadata_props.extend(metadata)
        return Network(model)


class _Batches:
    """The calibration images as ONNX Runtime asks for them: in portions, of one batch each, so
    that the activations of one batch at a time are in memory."""

    def __init__(self, name: str, data: Data, samples: int, context: Context) -> None:
        if len(data.calibration) < samples:
            raise InputError(
                f"int8 calibrates on {samples} images and the data set has {len(data.calibration)}:"
                f" lower samples, or give the data set more calibration images"
            )
        self.name, self.split, self.samples, self.context = name, data.calibration, samples, context
        self.portion = iter(range(len(self)))

    def __len__(self) -> int:
        return -(-self.samples // BATCH)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.portion = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """One batch; None after the last of the portion."""
        batch = next(self.portion, None)
        if batch is None:
            return None
        self.context.progress(batch / len(self), "calibrating")
        chosen = slice(batch * BATCH, min((batch + 1) * BATCH, self.samples))
        images = self.split.images(chosen)
        if not np.isfinite(images).all():
            raise InputError("the calibration images hold NaN or infinite values")
        return {self.name: images}


def _check_finite(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if not np.isfinite(onnx.numpy_helper.to_array(tensor)).all():
            raise InputError(f"the network's {tensor.name} holds NaN or infinite values")


def _affine_nodes(graph: onnx.GraphProto) -> list[str]:
    """The names of the nodes that multiply by or add a constant."""
    constants = {tensor.name for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type in ("Mul", "Add") and constants.intersection(node.input)
    ]


def _release_scores(graph: onnx.GraphProto) -> None:
    """Take the last rounding away: 256 steps would tie the scores of many classes."""
    scores = graph.output[0].name
    producers = {name: node for node in graph.node for name in node.output}
    back = producers[scores]
    there = producers.get(back.input[0])
    if back.op_type != "DequantizeLinear" or there is None or there.op_type != "QuantizeLinear":
        return
    unrounded = there.input[0]
    last = producers[unrounded]
    if any(unrounded in node.input for node in graph.node if node != there):
        return
    last.output[list(last.output).index(unrounded)] = scores
    graph.node.remove(back)
    graph.node.remove(there)
    used = {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)


@contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's quantizer prints, and logs by the root logger, which sets logging up."""
    root, handler = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
