"""What the systems with kernels of their own say about themselves, and that they call nobody."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto

from dlas.algorithms.vendor import Vendor
from dlas.errors import Refused
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.systems.base import System
from dlas.systems.inductor import Inductor
from dlas.systems.onnxruntime import OnnxRuntime
from dlas.systems.openvino import OpenVino
from dlas.systems.pytorch import PyTorch
from dlas.systems.reference import Reference
from dlas.testing.networks import tiny

X86 = platform.machine().lower() in ("x86_64", "amd64")
needs_torch = pytest.mark.skipif(PyTorch.missing() is not None, reason=str(PyTorch.missing()))
needs_openvino = pytest.mark.skipif(OpenVino.missing() is not None, reason=str(OpenVino.missing()))


def compiled(system: System, network: Network, folder: Path) -> None:
    system.compile(network, Vendor().plan(network), folder)


def test_they_follow_no_algorithm() -> None:
    assert Reference().combines("vendor") is None
    expected = "onnxruntime chooses its own kernels: algorithm = 'vendor'"
    assert OnnxRuntime().combines("direct") == expected


def test_inductor_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "needs a C++ compiler, and there is no no-such-compiler" in str(Inductor.missing())


@pytest.mark.skipif(not X86, reason="what x86 processors compute float16 in")
def test_onnxruntime_names_its_float16() -> None:
    sentence = OnnxRuntime().emulates(tiny("plain", "float16"))
    assert sentence.startswith("ONNX Runtime has no float16 kernels for")
    assert (
        OnnxRuntime().emulates(tiny("plain")) == OnnxRuntime().emulates(tiny("plain", "int8")) == ""
    )


@needs_torch
def test_pytorch_names_its_int8() -> None:
    assert PyTorch().emulates(tiny("plain")) == ""
    assert "multiplied and added in float32" in PyTorch().emulates(tiny("plain", "int8"))


@needs_openvino
def test_openvino_refuses_what_it_cannot_translate(tmp_path: Path) -> None:
    b = Builder((3, 16, 16))
    scores = b.node("Det", ["input"])
    b.shapes[scores] = (3,)
    with pytest.raises(Refused, match=r"^OpenVINO cannot compile .*: No conversion .* Det-20$"):
        compiled(OpenVino(), b.network(scores), tmp_path)


def test_onnxruntime_refuses_what_it_has_no_kernel_for(tmp_path: Path) -> None:
    b = Builder((3, 16, 16))
    x = b.node("Cast", ["input"], to=TensorProto.BFLOAT16)
    x = b.node("Cast", [b.node("HardSwish", [x])], to=TensorProto.FLOAT)
    b.shapes[x] = (3, 16, 16)
    network = b.network(b.flatten(b.global_average_pool(x)))
    with pytest.raises(Refused, match=r"^ONNX Runtime cannot run the network: .*HardS"):
        compiled(OnnxRuntime(), network, tmp_path)


@needs_openvino
def test_openvino_names_its_precision() -> None:
    assert OpenVino().emulates(tiny("plain")) == OpenVino().emulates(tiny("plain", "int8")) == ""
    expected = "float16 is computed in float32, as precision = 'float32' says"
    assert OpenVino().emulates(tiny("plain", "float16")) == expected


@needs_openvino
def test_openvino_sends_nothing(tmp_path: Path) -> None:
    code = """
import sys
calls = []
def hook(event, _):
    if event.startswith(("socket", "urllib")):
        calls.append(event)
sys.addaudithook(hook)
from pathlib import Path
from dlas.algorithms.vendor import Vendor
from dlas.executable import compile_network, load
from dlas.systems.openvino import OpenVino
from dlas.testing.networks import tiny
folder, network = Path(sys.argv[1]) / "executable", tiny("oblong")
folder.mkdir()
compile_network(OpenVino(), network, Vendor().plan(network), folder)
load(folder)
assert "openvino" in sys.modules and not calls, calls
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment)
    assert not list(home.iterdir()), "nothing is left in the home folder"
