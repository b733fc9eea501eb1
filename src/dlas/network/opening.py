"""From a user's ONNX file to the form every layer of dlas reads, or a sentence that says why not.

The form: one input (N, C, H, W) float32, one output (N, classes) float32, the batch symbolic and
named "N", standard operators of opset 18 to 20, every node named, every constant an initializer,
the weights inside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_model
from onnx.inliner import inline_local_functions

from dlas.errors import InputError
from dlas.network.cleanup import drop_unused
from dlas.network.layers import attributes, skeleton, tensor_shapes

OPSET = 20
OPSETS = range(19, OPSET + 1)
IR_VERSION = 10
BATCH = "N"
STANDARD = ("", "ai.onnx")
NOT_TEXT = "it is damaged: a name in it is not text"
CANNOT_CONVERT = (
    onnx.version_converter.ConvertError,
    onnx.shape_inference.InferenceError,
    RuntimeError,
)
#: Operators that exporters put between a weight and its layer.
REARRANGING = ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten")

FLOATING = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)

Tensors = Mapping[str, TensorProto]
_Value = TensorProto | None


def load_model(file: Path) -> onnx.ModelProto:
    """The model in ``file``, its weights inside. InputError names the file and the fault."""
    model = parse_model(file)
    try:
        load_external_data_for_model(model, str(file.parent))
    except (OSError, onnx.checker.ValidationError) as error:
        raise InputError(f"{file}: its weights file cannot be read: {_first_line(error)}") from None
    return model


def parse_model(file: Path) -> onnx.ModelProto:
    """The model as it stands in ``file``, weights in other files left there."""
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except DecodeError:
        raise InputError(f"{file} is not an ONNX file, or is cut short") from None
    if not model.graph.node:
        raise InputError(f"{file} holds no ONNX graph")
    return model


def external_files(file: Path) -> tuple[str, ...]:
    """The names, relative to its folder, of the files that hold the weights of ``file``."""
    try:
        stat = file.stat()
    except OSError:
        return ()  # whoever reads the file will say so
    return _external_files(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _external_files(file: Path, size: int, mtime_ns: int) -> tuple[str, ...]:
    tensors = parse_model(file).graph.initializer
    outside = (t for t in tensors if t.data_location == TensorProto.EXTERNAL)
    return tuple(sorted({e.value for t in outside for e in t.external_data if e.key == "location"}))


def normalized(given: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model in our form; one that has it already comes back equal. InputError says,
    without naming a file, what keeps it from having it."""
    model = onnx.ModelProto()
    model.CopyFrom(given)
    model.ir_version = max(model.ir_version, IR_VERSION)  # since 4, initializers need not be inputs
    _check_text(model.graph)
    _drop_weight_inputs(model.graph)
    if model.functions:
        model = inline_local_functions(model)
    _check_operators(model.graph)
    model = _supported_opset(model)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise InputError(f"the graph is not valid ONNX: {_first_line(error)}") from None
    _check_ends(model.graph)
    _constants_to_initializers(model.graph)
    _check_constants(model.graph)
    _fold_rearranged(model.graph)
    _bypass_copies(model.graph)
    _name_nodes(model.graph)
    _free_reshapes(model)
    drop_unused(model)
    _free_batch(model)
    return model


def _check_text(graph: onnx.GraphProto) -> None:
    """Protobuf hands out bytes where a text is none."""
    texts = [value.name for value in (*graph.input, *graph.output, *graph.initializer)]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(NOT_TEXT)


def _check_operators(graph: onnx.GraphProto) -> None:
    """Only standard operators, no control flow, nothing left in training mode."""
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in graph.node if n.domain not in STANDARD})
    if foreign:
        raise InputError(f"uses operators outside the ONNX standard: {', '.join(foreign)}")
    flow = sorted({n.op_type for n in graph.node} & {"If", "Loop", "Scan"})
    if flow:
        raise InputError(f"uses control flow ({', '.join(flow)}); export a graph without it")
    if any(attributes(n).get("training_mode") for n in graph.node):
        raise InputError("is in training mode; export it in evaluation mode")


def _supported_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in an opset of ``OPSETS``, converted where it has another."""
    versions = [o.version for o in model.opset_import if o.domain in STANDARD]
    if not versions:
        raise InputError("the graph is not valid ONNX: it names no opset")
    if versions[0] in OPSETS:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except CANNOT_CONVERT as error:
        raise InputError(
            f"its opset {versions[0]} cannot be converted; export it with one "
            f"from {OPSETS[0]} to {OPSETS[-1]}: {_first_line(error)}"
        ) from None


def _drop_weight_inputs(graph: onnx.GraphProto) -> None:
    weights = {t.name for t in graph.initializer}
    images = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(images)


def _check_ends(graph: onnx.GraphProto) -> None:
    """One image in, one row of scores out."""
    for what, values in (("input", graph.input), ("output", graph.output)):
        if len(values) != 1:
            names = ", ".join(value.name for value in values)
            raise InputError(f"has {len(values)} {what}s ({names}); dlas needs one")
    image = graph.input[0]
    _check_float(image, "input")
    dims = image.type.tensor_type.shape.dim
    if len(dims) != 4:
        raise InputError(f"the input {image.name!r} has shape {_shape(image)}, not (N, C, H, W)")
    if not all(d.dim_value > 0 for d in dims[1:]):
        raise InputError(
            f"the input {image.name!r} has shape {_shape(image)}; "
            "export it with fixed channels, height and width"
        )
    _check_float(graph.output[0], "output")


def _check_float(value: onnx.ValueInfoProto, what: str) -> None:
    kind = value.type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        known = kind in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(kind).lower() if known else f"of unknown type {kind}"
        raise InputError(f"the {what} {value.name!r} is {name}, dlas passes float32")


def _check_constants(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        try:
            array = numpy_helper.to_array(tensor)
        except (KeyError, TypeError, ValueError):
            raise InputError(f"the constant {tensor.name!r} is damaged") from None
        if tensor.data_type in FLOATING and np.isnan(array).any():
            raise InputError(f"the constant {tensor.name!r} holds NaN")


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    _replace(graph, lambda node, _: _constant(node) if node.op_type == "Constant" else None)


def _fold_rearranged(graph: onnx.GraphProto) -> None:
    """What exporters put between a weight and its layer becomes part of the weight."""
    _replace(graph, _rearranged)


def _replace(graph: onnx.GraphProto, value: Callable[[onnx.NodeProto, Tensors], _Value]) -> None:
    """Put an initializer in the place of every node of which ``value`` knows the output, given the
    constants so far."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        tensor = value(node, constants)
        if tensor is None:
            kept.append(node)
        else:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
            constants[tensor.name] = tensor
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)


def _rearranged(node: onnx.NodeProto, constants: Tensors) -> _Value:
    if node.op_type not in REARRANGING or not constants.keys() >= set(node.input):
        return None
    from onnx.reference import ReferenceEvaluator

    feeds = {name: numpy_helper.to_array(constants[name]) for name in node.input}
    (value,) = ReferenceEvaluator(node).run(None, feeds)
    return numpy_helper.from_array(np.asarray(value))


def _constant(node: onnx.NodeProto) -> _Value:
    """None for text and sparse values, which no layer's arithmetic uses."""
    ((kind, value),) = attributes(node).items()
    if kind == "value":
        copy = TensorProto()
        copy.CopyFrom(value)
        return copy
    if kind in ("value_float", "value_floats"):
        return numpy_helper.from_array(np.asarray(value, np.float32))
    if kind in ("value_int", "value_ints"):
        return numpy_helper.from_array(np.asarray(value, np.int64))
    return None


def _bypass_copies(graph: onnx.GraphProto) -> None:
    """Read past Identity and Dropout, which change nothing at inference."""
    source: dict[str, str] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = source.get(name, name)
        if node.op_type in ("Identity", "Dropout") and node.output[0] != graph.output[0].name:
            source[node.output[0]] = node.input[0]


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Every node gets a name of its own; those that have one keep it."""
    given = Counter(node.name for node in graph.node)
    taken = set(given)
    for index, node in enumerate(graph.node):
        if node.name and given[node.name] == 1:
            continue
        fresh = f"{node.name or node.op_type.lower()}_{index}"
        while fresh in taken:
            fresh += "_"
        node.name = fresh
        taken.add(fresh)


def _free_reshapes(model: onnx.ModelProto) -> None:
    """Let every Reshape that treats images one by one take its batch from its input.

    Exporters write the batch they saw, or compute it by Shape, Gather and Concat. Where a batch
    stays one, the other sizes are constant and 0 stands for the batch."""
    graph = model.graph
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_value or 2
    shapes = tensor_shapes(model, batch)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "Reshape":
            continue
        before, after = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
        if before[:1] != (batch,) or after[:1] != (batch,) or 0 in after:
            continue
        target = constants.get(node.input[1])
        if target is None or numpy_helper.to_array(target)[0] == batch:
            name = f"{node.name}.shape"
            sizes = np.array([0, *after[1:]], np.int64)
            graph.initializer.append(numpy_helper.from_array(sizes, name))
            node.input[1] = name
            del node.attribute[:]  # allowzero would give 0 another meaning


def _free_batch(model: onnx.ModelProto) -> None:
    """Make the batch symbolic and write the output's shape."""
    graph = model.graph
    declared = graph.output[0].type.tensor_type.shape.dim
    classes = declared[1].dim_value if len(declared) == 2 else 0
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    graph.output[0].type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(
            skeleton(model), strict_mode=True, data_prop=True
        )
    except onnx.shape_inference.InferenceError as error:
        raise InputError(f"its shapes do not fit together: {_first_line(error)}") from None
    output = inferred.graph.output[0]
    dims = output.type.tensor_type.shape.dim
    if len(dims) != 2 or not (dims[1].dim_value or classes):
        raise InputError(f"the output {output.name!r} has shape {_shape(output)}, not (N, classes)")
    if dims[0].dim_value:
        raise InputError(
            f"computes batches of {dims[0].dim_value} only; export it with a dynamic batch"
        )
    shape = graph.output[0].type.tensor_type.shape
    shape.dim.add().dim_param = BATCH
    shape.dim.add().dim_value = dims[1].dim_value or classes


def _shape(value: onnx.ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    return f"({', '.join(str(d.dim_value or d.dim_param or '?') for d in dims)})"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
