"""From a network and its plan to Relax: TVM's own ONNX importer, with the layers that the plan
names replaced, while they are read, by the primitive it names.

Replacing them here, and not in the finished module, needs no matching: the importer hands over
every node with its name, its attributes and the expressions it reads, and what a DequantizeLinear
reads is still in sight.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import tvm
from onnx import TensorProto
from tvm import relax, te, tirx
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

from dlas.errors import Refused
from dlas.layer import member
from dlas.network import LayerRow, Network
from dlas.network.fold import fold_batch_norm
from dlas.plan import Plan
from dlas.systems.base import batch_of
from dlas.systems.tvm.calls import OWNERS, constants_of
from dlas.systems.tvm.layers import float_kernel, integer_kernel
from dlas.systems.tvm.quantized import constant, quantized, vector
from dlas.systems.tvm.sparse import SparseLayers
from dlas.target import host

#: What TVM's importer raises for an operator that it does not take: it has no class of its own.
REFUSALS = (
    AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError,
)  # fmt: skip

#: Operators whose sums are kept in float32, as those of layers are.
AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")


def translate(network: Network, plan: Plan, sparse: SparseLayers | None = None) -> tvm.IRModule:
    """The network, at the batch that its graph fixes or else 1, as a Relax module whose function
    ``main`` takes the images. ``sparse`` makes the layers that are stored sparsely; None: for one
    thread of this machine. Raises Refused where TVM has no translation."""
    network = Network(fold_batch_norm(network.model))
    return imported(Importer(network, plan, sparse), network)


def imported(importer: Importer, network: Network) -> tvm.IRModule:
    """What an importer makes of the network."""
    opset = max(entry.version for entry in network.model.opset_import)
    try:
        # The importer prints what it fails on, besides raising.
        with contextlib.redirect_stdout(io.StringIO()):
            module = importer.from_onnx(network.model.graph, opset)
    except tvm.error.OpNotImplemented as error:  # raised before it looks at any node
        raise Refused(f"TVM cannot read the network: {last_line(error)}") from error
    return module.with_attr(OWNERS, importer.owners)


class Importer(ONNXGraphImporter):  # type: ignore[misc]  # tvm has no type information
    def __init__(self, network: Network, plan: Plan, sparse: SparseLayers | None) -> None:
        shapes = {network.input_name: [batch_of(network), *network.input_shape]}
        super().__init__(shapes, "float32", sanitize=False)
        self.rows = {row.name: row for row in network.layers}
        self.plan = plan
        self.sparse = sparse or SparseLayers(host(), threads=1)
        #: The layers of constants, by the addresses of their values.
        self.owners: dict[str, str] = {}

    def _convert_operator(
        self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int
    ) -> relax.Expr:
        name = attrs["tvm_custom"]["name"]
        if op_name in ("QuantizeLinear", "DequantizeLinear"):
            inputs[1:3] = map(vector, inputs[1:3])
        replaced = None
        rounded = op_name in AVERAGES and str(inputs[0].ty.dtype) == "float16"
        if rounded:
            inputs[0] = self.bb.normalize(relax.op.astype(inputs[0], "float32"))
        if op_name == "Clip":
            replaced = clip(*inputs)
        elif op_name == "Cast" and attrs["to"] == TensorProto.BFLOAT16:
            replaced = self.bb.emit_te(nearest_bfloat16, *inputs, primfunc_name_hint="rounded")
        elif op_name == "Cast" and attrs["to"] == TensorProto.FLOAT:
            replaced = widened(*inputs)
        elif name in self.rows:
            replaced = self.layer(self.rows[name], inputs, attrs)
        elif op_name == "Conv":
            raise Refused(f"the weights of the convolution {name!r} are not constants")
        if replaced is not None:
            result = self.bb.normalize(replaced)
            if name in self.rows:
                self.owners |= dict.fromkeys(constants_of(self.bb, result), name)
            return result
        try:
            result = super()._convert_operator(op_name, inputs, attrs, opset)
        except REFUSALS as error:
            raise Refused(f"TVM cannot read {op_name} {name!r}: {last_line(error)}") from error
        return self.bb.normalize(relax.op.astype(result, "float16")) if rounded else result

    def layer(self, row: LayerRow, inputs: Any, attrs: dict[str, Any]) -> relax.Expr | None:
        """The layer by its primitive; None for a dense layer that is more than x · W + bias."""
        if row.op == "dense" and not plain_product(inputs[0], attrs):
            return None
        weight = constant(inputs[1])
        bias = np.zeros(1) if inputs[2] is None else constant(inputs[2])
        if weight is None or bias is None or bias.size not in (1, row.out_channels):
            raise Refused(f"the weights of {row.name!r} are not constants")
        primitive = member("algorithms", self.plan.primitive(row.name))()
        bias = np.broadcast_to(bias.reshape(-1), row.out_channels)
        axis = 0 if row.op == "conv" or attrs.get("transB") else 1  # of the output channels
        step = self.plan.step(row.name)
        if step.is_sparse:
            weight = np.moveaxis(weight, axis, 0)
            return self.sparse.emit(self.bb, step, row, inputs[0], weight, bias)
        data, integers = quantized(inputs[0]), quantized(inputs[1])
        whole = data and integers and data.scale.size == 1 and integers.varies_along(axis)
        if data and integers and whole and not step.precision:
            scale, weight = data.scale * integers.scale, np.moveaxis(integers.centred(), axis, 0)
            kernel = integer_kernel(primitive, row, data, weight, scale, bias)
        else:
            kernel = float_kernel(primitive, row, inputs[0], np.moveaxis(weight, axis, 0), bias)
        return kernel.emit(self.bb)


def clip(data: relax.Expr, *bounds: relax.Expr) -> relax.Expr | None:
    """Clip between two constants, as numbers in the code; None for another Clip. The importer's own
    translation guards against NaN in operators that would be compiled only to be folded."""
    limits = [constant(bound) for bound in bounds]
    if len(limits) != 2 or any(limit is None or np.isnan(limit) for limit in limits):
        return None
    low, high = (float(limit) for limit in limits if limit is not None)
    return relax.op.clip(data, low, high)


def widened(data: relax.Expr) -> relax.Expr | None:
    """A constant of bfloat16 as one of float32; None for anything else."""
    known = constant(data)
    if known is None or str(known.dtype) != "bfloat16":
        return None
    return relax.const(known.astype(np.float32))


def nearest_bfloat16(data: te.Tensor) -> te.Tensor:
    """float32 rounded to a number that bfloat16 has, ties to even; still float32, because TVM takes
    a cast to bfloat16 and back for a detour. Half of the last place that stays is added, less one
    unit where that place is even, and what is behind it cut off."""

    def element(*at: Any) -> Any:
        bits = tirx.reinterpret("uint32", data[at])
        number = [tirx.const(value, "uint32") for value in (16, 1, 0x7FFF, 0xFFFF0000)]
        shift, one, half, kept = number
        bits = bits + half + ((bits >> shift) & one)
        return tirx.reinterpret("float32", bits & kept)

    return te.compute(data.shape, element, name="rounded")


def plain_product(data: relax.Expr, attrs: dict[str, Any]) -> bool:
    """Whether a Gemm or MatMul is a matrix times a constant matrix, without factors."""
    return has_no_factors(attrs) and bool(data.ty.ndim == 2)


def has_no_factors(attrs: dict[str, Any]) -> bool:
    factors = attrs.get("alpha", 1.0), attrs.get("beta", 1.0), attrs.get("transA", 0)
    return factors == (1.0, 1.0, 0)


def last_line(error: Exception) -> str:
    """TVM's messages may begin with a trace of its own."""
    return str(error).strip().splitlines()[-1]
