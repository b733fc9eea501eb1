"""``onnxruntime``: ONNX Runtime with its CPU provider; quantized networks run its int8 kernels."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dlas.errors import Refused
from dlas.executable import Run
from dlas.measure.protocol import LayerTime
from dlas.measure.statistics import median
from dlas.systems.attribution import Ran, attributed, open_names, save_names
from dlas.systems.base import System, fixed_batch

if TYPE_CHECKING:
    from dlas.network import Network
    from dlas.plan import Plan

FILE = "optimized.onnx"
#: What a profile's event of an operator is named, behind the operator's name.
KERNEL = "_kernel_time"
#: What optimization puts behind a tensor's name, or before it, in the name of an operator.
BEHIND, BEFORE = ("_nchwc", "_bn"), "InsertedPrecisionFreeCast_"
PRODUCTS = ("Conv", "Gemm", "MatMul")  # in the names of operators that multiply
LAYOUTS = ("ReorderInput", "ReorderOutput", "Transpose", "Reshape", "Flatten", "Squeeze")


class OnnxRuntime(System, frozen=True, kw_only=True):
    """All graph optimizations, done once while compiling; operators run one after another."""

    name: ClassVar[str] = "onnxruntime"
    distributions: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def emulates(self, network: Network) -> str:
        if any(row.dtype == "bfloat16" for row in network.layers):
            return "ONNX Runtime rounds values to bfloat16, but multiplies them in float32"
        machine = platform.machine()
        if network.dtype != "float16" or machine.lower() in ("aarch64", "arm64"):
            return ""
        return f"ONNX Runtime has no float16 kernels for {machine}: it computes in float32"

    def compile(self, network: Network, plan: Plan, folder: Path) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as failures

        options = self._options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(folder / FILE)
        model = fixed_batch(network, self.batch).SerializeToString()
        try:
            onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except (failures.NotImplemented, failures.InvalidGraph) as error:
            raise Refused(f"ONNX Runtime cannot run the network: {error}") from None
        save_names(network, folder)

    def load(self, folder: Path) -> Run:
        session = self._session(folder, self._options())
        given = session.get_inputs()[0].name
        wanted = [session.get_outputs()[0].name]

        def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
            scores: NDArray[np.float32] = session.run(wanted, {given: images})[0]
            return scores

        return run

    def profile(
        self, folder: Path, run: Run, images: NDArray[np.float32], count: int
    ) -> tuple[LayerTime, ...]:
        """By a session of its own, in which ONNX Runtime writes what every operator took, in whole
        microseconds."""
        with TemporaryDirectory() as scratch:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(scratch) / "profile")
            session = self._session(folder, options)
            given = session.get_inputs()[0].name
            for _ in range(count + 1):  # the first one warms up
                session.run(None, {given: images})
            events = json.loads(Path(session.end_profiling()).read_bytes())
        return attributed(ran(events), open_names(folder))

    def _session(self, folder: Path, options: Any) -> Any:
        import onnxruntime

        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(folder / FILE, options, providers=providers)

    def _options(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # warns that optimized files fit one machine: ours do
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        return options


def ran(events: Sequence[Mapping[str, Any]]) -> list[Ran]:
    """The operators of a profile of several runs, the first left out. A name is one operator's."""
    ends = sorted(event["ts"] + event["dur"] for event in events if event["name"] == "model_run")
    operators = sorted(
        (e for e in events if e["name"].endswith(KERNEL) and e["ts"] > ends[0]),
        key=lambda event: float(event["ts"]),
    )
    took: dict[str, list[float]] = {}
    ops: dict[str, str] = {}
    for event in operators:
        name = event["name"].removesuffix(KERNEL)
        took.setdefault(name, []).append(1e-6 * event["dur"])
        ops[name] = event["args"]["op_name"]
    return [
        Ran(
            name, ops[name], median(seconds), (stem(name),),
            multiplies=any(each in ops[name] for each in PRODUCTS) and not is_norm(name),
            layout=ops[name] in LAYOUTS,
        )
        for name, seconds in took.items()
    ]  # fmt: skip


def stem(name: str) -> str:
    """The name in the graph that an operator's name was made of."""
    name = name.removeprefix(BEFORE).removesuffix(BEHIND[0])
    return name.rsplit("_token_", 1)[0]


def is_norm(name: str) -> bool:
    """Whether it is a BatchNormalization written as a convolution of one weight per channel."""
    return name.endswith("".join(reversed(BEHIND)))
