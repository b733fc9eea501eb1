"""``openvino``: OpenVINO's CPU plugin; quantized networks run its int8 kernels."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from dlas.errors import Refused
from dlas.executable import Run
from dlas.measure.protocol import LayerTime
from dlas.systems.attribution import Ran, attributed, open_names, save_names
from dlas.systems.base import System, fixed_batch

if TYPE_CHECKING:
    from onnx import ModelProto

    from dlas.network import Network
    from dlas.plan import Plan

FILE = "network.blob"
_HINTS = {"float32": "f32", "float16": "f16"}
BFLOAT16 = 16  # ONNX's number of the type
PRODUCTS = ("Convolution", "FullyConnected", "MatMul")  # in the names of operators that multiply
LAYOUTS = ("Reorder", "Reshape", "Transpose")
#: Instead of a kernel: what was fused to another operator, and what only has a name.
NO_KERNEL = ("undef", "unknown")
#: OpenVINO puts what it made of an operator behind its name.
DERIVED = "/"


class OpenVino(System, frozen=True, kw_only=True):
    """``precision``: what floating-point layers compute in. ``float32`` as the other systems do;
    ``float16`` needs a CPU with such arithmetic; ``default`` leaves it to OpenVINO, which takes
    bfloat16 where the CPU has it."""

    name: ClassVar[str] = "openvino"
    distributions: ClassVar[tuple[str, ...]] = ("openvino",)
    modules: ClassVar[tuple[str, ...]] = ("openvino",)
    extra: ClassVar[str] = "openvino"

    precision: Literal["float32", "float16", "default"] = "float32"

    def refuses(self, network: Network, plan: Plan) -> str | None:
        if self.precision != "float16":
            return None
        if "FP16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return None
        return "this CPU has no float16 arithmetic: precision = 'float32' or 'default'"

    def emulates(self, network: Network) -> str:
        chosen: str = self.precision
        if self.precision == "default":
            kind = _core().get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
            chosen = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}.get(kind, kind)
        others = {row.dtype for row in network.layers} - {chosen, "int8"}
        if not others:
            return ""
        stated = " and ".join(sorted(others))
        return f"{stated} is computed in {chosen}, as precision = {self.precision!r} says"

    def compile(self, network: Network, plan: Plan, folder: Path) -> None:
        core = _core()
        try:
            graph = _without_rounding(fixed_batch(network, self.batch))
            model = core.read_model(graph.SerializeToString())
            compiled = core.compile_model(model, "CPU", self._options())
        except RuntimeError as error:
            raise Refused(f"OpenVINO cannot compile the network: {_reason(error)}") from None
        (folder / FILE).write_bytes(compiled.export_model().getvalue())
        save_names(network, folder)

    def load(self, folder: Path) -> Run:
        compiled = self._imported(folder, self._options())
        request = compiled.create_infer_request()
        # Buffers bound once save 20 us of Python per inference.
        image = request.get_input_tensor().data
        scores = request.get_output_tensor().data

        def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
            image[...] = images
            request.infer()
            result: NDArray[np.float32] = scores.copy()
            return result

        return run

    def profile(
        self, folder: Path, run: Run, images: NDArray[np.float32], count: int
    ) -> tuple[LayerTime, ...]:
        """By OpenVINO's counters, in whole microseconds, in a second copy that has them. It keeps
        means since loading, of which the first run, which generates code, is taken out."""
        compiled = self._imported(folder, {**self._options(), "PERF_COUNT": True})
        request = compiled.create_infer_request()
        request.get_input_tensor().data[...] = images
        request.infer()
        first = request.get_profiling_info()
        for _ in range(count):
            request.infer()
        last = request.get_profiling_info()
        seconds = [
            max(0.0, ((count + 1) * mean.real_time - one.real_time).total_seconds() / count)
            for one, mean in zip(first, last, strict=True)
        ]
        operators = ran(last, seconds, compiled.get_runtime_model())
        return attributed(operators, open_names(folder))

    def _imported(self, folder: Path, options: dict[str, Any]) -> Any:
        return _core().import_model((folder / FILE).read_bytes(), "CPU", options)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_CPU_PINNING": False,  # the process that measures pins itself
        }
        if self.precision != "default":
            options["INFERENCE_PRECISION_HINT"] = _HINTS[self.precision]
        return options


def ran(counters: Sequence[Any], seconds: Sequence[float], model: Any) -> list[Ran]:
    """The operators that ran, by OpenVINO's counters. What was fused to one follows it, not run."""
    shapes = {op.get_friendly_name(): op for op in model.get_ordered_ops()}
    found: list[Ran] = []
    for counter, took in zip(counters, seconds, strict=True):
        name, kind = counter.node_name, counter.node_type
        alias = name.split(DERIVED)[0]
        if not counter.exec_type.startswith(NO_KERNEL):
            multiplies = any(each in kind for each in PRODUCTS)
            hw, weights = _shape(shapes.get(name)) if multiplies else (None, None)
            layout = kind in LAYOUTS
            found.append(Ran(name, kind, took, (alias,), multiplies, layout, hw, weights))
        elif found and counter.exec_type == NO_KERNEL[0]:
            found[-1] = replace(found[-1], names=(*found[-1].names, alias))
    return found


def _shape(op: Any) -> tuple[tuple[int, int] | None, int | None]:
    """Height and width of the output, and the number of weights."""
    if op is None:
        return None, None
    output = op.get_output_shape(0)
    hw = (int(output[2]), int(output[3])) if len(output) == 4 else (1, 1)
    weights = op.input_value(1).get_shape() if op.get_input_size() > 1 else None
    return hw, None if weights is None else math.prod(weights)


def _without_rounding(model: ModelProto) -> ModelProto:
    """The graph without pairs of casts to bfloat16 and back: OpenVINO rounds where it stores a
    narrow type, as ``precision`` says, and with the pairs it would truncate as well."""
    producers = {node.output[0]: node for node in model.graph.node}
    source: dict[str, str] = {}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = source.get(name, name)
        there = producers.get(node.input[0]) if node.op_type == "Cast" else None
        if there is not None and there.op_type == "Cast" and there.attribute[0].i == BFLOAT16:
            source[node.output[0]] = there.input[0]
    return model


def _reason(error: RuntimeError) -> str:
    """The line that tells, of a message that begins with places in OpenVINO's own sources."""
    lines = [line.strip("- ") for line in str(error).splitlines() if line.strip("- ")]
    return lines[lines.index("Summary:") + 1] if "Summary:" in lines[:-1] else lines[-1]


def _core() -> Any:
    """OpenVINO's core. Importing openvino alone would write into the home folder and send an event
    to its makers; it does neither where it does not find its telemetry package."""
    cast(dict[str, Any], sys.modules).setdefault("openvino_telemetry", None)
    from openvino import Core

    return Core()
