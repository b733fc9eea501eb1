"""``Network``: an ONNX graph with one image input and one output of class scores, and what can be
counted on it. Never pickle: nothing that dlas loads can run code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.errors import InputError
from dlas.network.channels import dense_with_bias
from dlas.network.layers import LayerRow, attributes, layer_rows
from dlas.network.opening import NOT_TEXT, load_model, normalized

FILE = "network.onnx"
LAYERS_FILE = "layers.json"

#: Where operators keep what training decides: the positions of their inputs.
STATISTICS = {"BatchNormalization": (3, 4)}
TRAINABLE = {
    "Conv": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (1,),
    "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "PRelu": (1,),
    "Cast": (0,),
    "DequantizeLinear": (0,),
}


@dataclass(frozen=True)
class Network:
    """``model``: one input (N, C, H, W) float32, one output (N, classes) float32, opset 18–20,
    batch dimension symbolic, weights inside. Treat it as frozen: ``edited`` gives a changed copy.
    """

    model: onnx.ModelProto

    @classmethod
    def open(cls, path: Path) -> Network:
        """From a file, or from an artifact's folder; see ``adopt``."""
        file = path / FILE if path.is_dir() else path
        return cls.adopt(load_model(file), str(file))

    @classmethod
    def adopt(cls, model: onnx.ModelProto, place: str) -> Network:
        """From a graph that some exporter wrote, brought into our form (``dlas.network.opening``).
        InputError says what of ``place`` keeps it from that, or which layer has no row."""
        try:
            network = cls(normalized(model))
            _ = network.layers
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        except UnicodeDecodeError:
            raise InputError(f"{place}: {NOT_TEXT}") from None
        return network

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
        """Every constant by name, weights among them; neither the table nor the arrays can be
        written to."""
        arrays = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        for array in arrays.values():
            array.flags.writeable = False
        return MappingProxyType(arrays)

    @cached_property
    def layers(self) -> tuple[LayerRow, ...]:
        """A row per convolution and dense layer, in graph order. InputError names a layer that
        has none."""
        return layer_rows(self.model)

    def weight(self, row: LayerRow) -> NDArray[Any]:
        """The weight of one of the layers, (K, C/G, R, S) also of a dense one, as stored: integers
        of int8, but float32 of bfloat16, which is no type of NumPy's."""
        stored = self.initializers[row.weight]
        if row.dtype == "bfloat16":
            stored = stored.astype(np.float32)
        if row.op == "dense" and not self._transposed[row.name]:
            stored = stored.T
        return stored.reshape(row.out_channels, row.in_channels // row.groups, *row.kernel)

    @cached_property
    def _transposed(self) -> Mapping[str, bool]:
        """Whether a dense layer's weight is stored (K, C)."""
        nodes = (node for node in self.model.graph.node if node.op_type in ("Gemm", "MatMul"))
        return {node.name: bool(attributes(node).get("transB", 0)) for node in nodes}

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference, convolutions and dense layers."""
        return sum(row.macs for row in self.layers)

    @property
    def effective_macs(self) -> int:
        """Multiply-accumulates whose weight is not zero."""
        return sum(row.effective_macs for row in self.layers)

    @cached_property
    def trainable(self) -> tuple[str, ...]:
        """Initializers that are weights, biases, scales or shifts."""
        pairs = dense_with_bias(self.model, self.initializers)
        biases = [name for _, add in pairs for name in add.input if name in self.initializers]
        return tuple(dict.fromkeys([*self._read_at(TRAINABLE), *biases]))

    @cached_property
    def statistics(self) -> tuple[str, ...]:
        """Initializers that are running means or variances."""
        return tuple(dict.fromkeys(self._read_at(STATISTICS)))

    @property
    def parameters(self) -> int:
        """Trainable numbers."""
        return sum(self.initializers[name].size for name in self.trainable)

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
        """The type of the layers' operands: float32, float16, bfloat16 or int8; "mixed" where they
        differ."""
        kinds = {row.dtype for row in self.layers}
        return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "float32"

    def _read_at(self, places: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
        for node in self.model.graph.node:
            for position in places.get(node.op_type, ()):
                if position < len(node.input) and node.input[position] in self.initializers:
                    yield node.input[position]
