"""``onnxruntime``: ONNX Runtime with its CPU provider; quantized networks run its int8 kernels."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dlas.errors import Refused
from dlas.executable import Run
from dlas.systems.base import System, fixed_batch

if TYPE_CHECKING:
    from dlas.network import Network
    from dlas.plan import Plan

FILE = "optimized.onnx"


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

    def load(self, folder: Path) -> Run:
        import onnxruntime

        options = self._options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(
            folder / FILE, options, providers=["CPUExecutionProvider"]
        )
        given = session.get_inputs()[0].name
        wanted = [session.get_outputs()[0].name]

        def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
            scores: NDArray[np.float32] = session.run(wanted, {given: images})[0]
            return scores

        return run

    def _options(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # warns that optimized files fit one machine: ours do
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        return options
