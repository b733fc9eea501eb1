"""``bfloat16``: weights and activations rounded to 8 significant bits, sums in float32."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dlas.context import Context
from dlas.data import Data
from dlas.network import Network
from dlas.network.cleanup import drop_unused
from dlas.network.fold import fold_batch_norm
from dlas.network.layers import skeleton
from dlas.optimizations.base import Optimization

#: Their first two operands are multiplied and summed.
LAYERS = frozenset({"Conv", "Gemm", "MatMul"})

#: Computed where their operand is at hand, so that what lies between two of them is never stored.
ELEMENTWISE = frozenset({
    "Abs", "Add", "BatchNormalization", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid",
    "HardSwish", "LeakyRelu", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Relu",
    "Sigmoid", "Softplus", "Sqrt", "Sub", "Tanh",
})  # fmt: skip

#: What they give is among what they are given, or zero: once rounded, it stays so.
SELECTING = frozenset({
    "Concat", "DepthToSpace", "Flatten", "Gather", "MaxPool", "Pad", "Relu", "Reshape", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip

LARGEST = (2 - 2**-7) * 2.0**127


class BFloat16(Optimization, frozen=True, kw_only=True):
    """Rounds the operands of every convolution and dense layer to bfloat16, to nearest even; sums,
    biases and scores stay float32 (Kalamkar et al. 2019, arXiv:1905.12322). The graph stays one of
    float32: a weight is stored as bfloat16 behind a Cast, an activation is rounded by a pair of
    Casts. Products of two bfloat16 numbers are exact in float32, so this is what instructions such
    as ``vdpbf16ps`` compute, up to the order of the sum and numbers below 1e-38.

    An activation is rounded where a compiled network stores it: read by a layer, a pooling or
    another operator that is not elementwise, or by several nodes. Elementwise operators behind a
    layer, the sum with a shortcut among them, work on its float32 sums. BatchNorm is folded first.
    """

    name: ClassVar[str] = "bfloat16"
    distributions: ClassVar[tuple[str, ...]] = ("onnx", "ml_dtypes")

    def refuses(self, network: Network) -> str | None:
        if network.dtype == "float32":
            return None
        return f"bfloat16 takes a float32 network; this one's layers are {network.dtype}"

    def apply(self, network: Network, data: Data, context: Context) -> Network:
        model = fold_batch_norm(network.model)
        rounding = _Rounding(model)
        nodes = [*rounding.weights(), *rounding.activations()]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        drop_unused(model)
        return Network(model)


class _Rounding:
    """Of one graph, in place, but for the order of its nodes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self.readers[name].append(node)
        inferred = onnx.shape_inference.infer_shapes(skeleton(model)).graph
        values = (*inferred.input, *inferred.value_info, *inferred.output)
        self.kinds = {value.name: value.type.tensor_type.elem_type for value in values}
        self.taken = {*self.constants, *self.readers, *self.kinds}
        #: Tensors that hold bfloat16 numbers.
        self.rounded: set[str] = set()

    def weights(self) -> list[onnx.NodeProto]:
        """Casts of the constants that layers multiply; other readers keep the float32 ones."""
        casts = []
        for name, tensor in self.constants.items():
            readers = [n for n in self.readers[name] if n.op_type in LAYERS and name in n.input[:2]]
            if not readers or tensor.data_type != TensorProto.FLOAT:
                continue
            alone = len(readers) == len(self.readers[name])
            stored = name if alone else self._free(f"{name}.bfloat16")
            (tensor if alone else self.graph.initializer.add()).CopyFrom(
                numpy_helper.from_array(nearest(numpy_helper.to_array(tensor)), stored)
            )
            widened = self._free(f"{name}.float32")
            casts.append(_cast(stored, widened, TensorProto.FLOAT))
            self.rounded.add(widened)
            for node in readers:
                _read(node, name, widened, 2)
        return casts

    def activations(self) -> list[onnx.NodeProto]:
        """The nodes in graph order, with Casts of the image and of what is computed."""
        nodes = self._stored(self.graph.input[0].name)
        for node in self.graph.node:
            nodes.append(node)
            if node.op_type in SELECTING and all(map(self._is_rounded, node.input)):
                self.rounded.update(node.output)
            for name in node.output:
                nodes.extend(self._stored(name))
        return nodes

    def _is_rounded(self, name: str) -> bool:
        if name not in self.constants or self.constants[name].data_type != TensorProto.FLOAT:
            return name in self.rounded or name in self.constants or not name
        value = numpy_helper.to_array(self.constants[name])
        return np.array_equal(value, nearest(value).astype(np.float32))

    def _stored(self, name: str) -> list[onnx.NodeProto]:
        """The two Casts of a tensor that is stored, which its readers now read; else none."""
        readers = self.readers[name]
        number = self.kinds.get(name) == TensorProto.FLOAT
        if name in self.rounded or not number or self._stays_inside(readers):
            return []
        narrow, wide = self._free(f"{name}.bfloat16"), self._free(f"{name}.rounded")
        for node in readers:
            _read(node, name, wide, len(node.input))
        self.rounded.add(wide)
        return [_cast(name, narrow, TensorProto.BFLOAT16), _cast(narrow, wide, TensorProto.FLOAT)]

    def _stays_inside(self, readers: list[onnx.NodeProto]) -> bool:
        """Whether one elementwise node reads it, or several of which the last alone reads the
        others' results, as x and sigmoid(x) meet in x · sigmoid(x); or none, as the scores."""
        if any(node.op_type not in ELEMENTWISE for node in readers):
            return False
        last = readers[-1].output if readers else []
        return all(
            [reader.output for reader in self.readers[node.output[0]]] == [last]
            for node in readers
            if node.output != last
        )

    def _free(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


def nearest(values: NDArray[Any]) -> NDArray[Any]:
    """The nearest bfloat16, ties to even; beyond the largest finite one, that one."""
    rounded: NDArray[Any] = np.clip(values, -LARGEST, LARGEST).astype(ml_dtypes.bfloat16)
    return rounded


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], target, to=kind)


def _read(node: onnx.NodeProto, name: str, instead: str, inputs: int) -> None:
    for position in range(min(inputs, len(node.input))):
        if node.input[position] == name:
            node.input[position] = instead
