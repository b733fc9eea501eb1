"""``Network``: an ONNX graph with one image input and one output of class scores, and what can be
counted on it. Never pickle: nothing that dlas loads can run code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.errors import InputError
from dlas.network.layers import LayerRow, layer_rows

FILE = "network.onnx"
LAYERS_FILE = "layers.json"
OPSET = 20


@dataclass(frozen=True)
class Network:
    """``model``: one input (N, C, H, W) float32, one output (N, classes) float32, opset 18–20,
    batch dimension symbolic, weights inside. Treat it as frozen: ``edited`` gives a changed copy.
    """

    model: onnx.ModelProto

    @classmethod
    def open(cls, path: Path) -> Network:
        """From a file, or from an artifact's folder. InputError where it is not such a network."""
        file = path / FILE if path.is_dir() else path
        try:
            model = onnx.load(file)
        except FileNotFoundError:
            raise InputError(f"{file}: there is no such file") from None
        except Exception as error:  # protobuf's DecodeError has no stable public place
            raise InputError(f"{file} is not an ONNX file: {error}") from None
        return cls(model)

    def save(self, folder: Path) -> None:
        """Write ``network.onnx`` and ``layers.json`` into ``folder``."""
        (folder / FILE).write_bytes(self.model.SerializeToString(deterministic=True))
        rows = msgspec.json.encode(self.layers)
        (folder / LAYERS_FILE).write_bytes(msgspec.json.format(rows, indent=1))

    def edited(self) -> onnx.ModelProto:
        """A copy of the graph to change."""
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        return copy

    @property
    def input_name(self) -> str:
        return str(self.model.graph.input[0].name)

    @property
    def output_name(self) -> str:
        return str(self.model.graph.output[0].name)

    @cached_property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        dims = self.model.graph.input[0].type.tensor_type.shape.dim
        c, h, w = (int(d.dim_value) for d in dims[1:])
        return c, h, w

    @cached_property
    def classes(self) -> int:
        return int(self.model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value)

    @cached_property
    def initializers(self) -> Mapping[str, NDArray[Any]]:
        """Every constant by name, weights among them."""
        return {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}

    @cached_property
    def layers(self) -> tuple[LayerRow, ...]:
        """A row per convolution and dense layer, in graph order."""
        return layer_rows(self.model)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference, convolutions and dense layers."""
        return sum(row.macs for row in self.layers)

    @property
    def effective_macs(self) -> int:
        """Multiply-accumulates whose weight is not zero."""
        return sum(row.effective_macs for row in self.layers)

    @property
    def parameters(self) -> int:
        """Trainable numbers: weights, biases, BatchNorm scales and shifts."""
        return _parameters(self.model, self.initializers)

    @property
    def nonzeros(self) -> int:
        """Weights of convolutions and dense layers that are not zero."""
        return sum(row.nonzeros for row in self.layers)

    @property
    def sparsity(self) -> float:
        """Share of zero weights in convolutions and dense layers, in [0, 1]."""
        return 1 - self.nonzeros / max(1, sum(row.weights for row in self.layers))

    @property
    def size_bytes(self) -> int:
        """Bytes of ``network.onnx``."""
        return int(self.model.ByteSize())

    @property
    def sparse_bytes(self) -> int:
        """Bytes of the weights when each layer takes the smaller of dense and CSR."""
        return sum(row.sparse_bytes for row in self.layers)

    @property
    def dtype(self) -> str:
        """The type the layers compute in: float32, float16 or int8."""
        kinds = {row.dtype for row in self.layers}
        return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "float32"


def _parameters(model: onnx.ModelProto, arrays: Mapping[str, NDArray[Any]]) -> int:
    counted: set[str] = set()
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul", "DequantizeLinear"):
            first = 0 if node.op_type == "DequantizeLinear" else 1
            stop = 1 if node.op_type == "DequantizeLinear" else 3
            counted.update(name for name in node.input[first:stop] if name in arrays)
        elif node.op_type == "BatchNormalization":
            counted.update(node.input[1:3])
    return sum(int(np.prod(arrays[name].shape)) for name in counted)
