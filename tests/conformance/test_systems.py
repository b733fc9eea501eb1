"""Every system computes what the network says: compiled in one process, loaded in another, against
ONNX's reference evaluator, on tiny networks that hold every construct of the model zoo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from dlas.layer import member, table
from dlas.network import Network
from dlas.testing.networks import DTYPES, TINY, DType, noise_images, tiny

#: Relative Euclidean distance. In int8, rounding in other places moves values by whole steps.
TOLERANCE = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 1e-3, "int8": 5e-2}
#: OpenVINO rounds to bfloat16 where it stores bfloat16, not where the network does.
ROUNDS_ELSEWHERE = {("openvino", "bfloat16"): 5e-3, ("partitioned", "bfloat16"): 5e-3}
#: The same between a network and its float32 original, on images it was not calibrated on.
ROUNDING = {"float32": 0.0, "float16": 5e-3, "bfloat16": 5e-3, "int8": 0.15}
EVERY = [(name, dtype) for name in TINY for dtype in DTYPES]
#: Systems that compute bfloat16 by what they have for float32, and a rounding, get few of it.
ROUNDED = ("residual", "dense_block", "squeeze_excite")
FEW_ROUNDED = [(name, dtype) for name, dtype in EVERY if dtype != "bfloat16" or name in ROUNDED]
#: A system that takes 10 s to compile one gets fewer.
FEWER: dict[str, list[tuple[str, DType]]] = {
    "tvm": FEW_ROUNDED,
    "partitioned": [("squeeze_excite", "float32"), ("residual", "bfloat16"), ("plain", "int8")],
    "inductor": [("squeeze_excite", "float32"), ("plain", "bfloat16"), ("residual", "int8")],
}
#: What only compiling needs: a process that loads must not have it.
HEAVY = {"onnxruntime": "onnx", "openvino": "onnx", "inductor": "torch._inductor.compile_fx"}
#: A contender is a system's own settings and the types that they are tried with.
TEMPLATE: tuple[dict[str, Any], tuple[DType, ...]] = (
    {"tuning": "template", "trials": 1}, ("float16",)
)  # fmt: skip
WITHOUT_BFLOAT16 = tuple(dtype for dtype in DTYPES if dtype != "bfloat16")
#: Of TVM's algorithms one is enough to see how it rounds to bfloat16.
ROUNDS = ("vendor", "gemm")
CONTENDERS = [
    (system, algorithm, {}, DTYPES if algorithm in ROUNDS else WITHOUT_BFLOAT16)
    for system in table("systems")
    for algorithm in member("systems", system).algorithms  # type: ignore[attr-defined]
    if algorithm != "planned"  # a file's, tested on its own
    and member("systems", system)().combines(algorithm) is None  # type: ignore[attr-defined]
] + [("tvm", "cheapest", *TEMPLATE), ("tvm", "best", *TEMPLATE)]

COMPILE = """
import json, sys
from pathlib import Path
import msgspec
from dlas.executable import compile_network
from dlas.layer import member
from dlas.network import Network

system = msgspec.convert(json.loads(sys.argv[4]), member("systems", sys.argv[1]))
algorithm = member("algorithms", sys.argv[2])()
for source, folder in json.loads(sys.argv[3]):
    network = Network.open(Path(source))
    plan = algorithm.plan(network)
    for refuses in (system.combines(algorithm.name), algorithm.refuses(network),
                    system.refuses(network, plan)):
        assert refuses is None, refuses
    Path(folder).mkdir()
    compile_network(system, network, plan, Path(folder))
"""
LOAD = """
import json, sys
from pathlib import Path
import numpy as np
from dlas.errors import InputError
from dlas.executable import load

images = np.load(sys.argv[1])
for folder in json.loads(sys.argv[2]):
    executable = load(folder)
    scores = [executable(image[None]) for image in images]
    assert {s.dtype for s in scores} == {np.dtype(np.float32)}
    np.save(Path(folder) / "scores.npy", np.concatenate(scores))
    try:
        executable(images)
    except InputError as error:
        print(error)
assert sys.argv[3] not in sys.modules, sys.argv[3]
"""


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    return noise_images((3, 16, 16), 4, seed=1)


def python(code: str, *arguments: str) -> str:
    """Run code in a process of its own; what it printed."""
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout


def distance(found: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def reference(network: Network, images: NDArray[np.float32]) -> NDArray[np.float32]:
    (scores,) = ReferenceEvaluator(network.model).run(None, {network.input_name: images})
    return np.asarray(scores)


@pytest.mark.parametrize("system,algorithm,settings,dtypes", CONTENDERS)
def test_agrees_with_the_reference(
    system: str, algorithm: str, settings: dict[str, Any], dtypes: tuple[DType, ...],
    images: NDArray[np.float32], tmp_path: Path,
) -> None:  # fmt: skip
    sentence = member("systems", system).missing()
    if sentence:
        pytest.skip(sentence)
    refuses = member("algorithms", algorithm)().refuses  # type: ignore[attr-defined]
    chosen = [(name, dtype) for name, dtype in FEWER.get(system, EVERY)
              if dtype in dtypes and not refuses(tiny(name, dtype))]  # fmt: skip
    work = []
    for name, dtype in chosen:
        source = tmp_path / "networks" / f"{name}-{dtype}"
        source.mkdir(parents=True)
        tiny(name, dtype).save(source)
        work.append((str(source), str(tmp_path / f"{name}-{dtype}")))
    np.save(tmp_path / "images.npy", images)

    python(COMPILE, system, algorithm, json.dumps(work), json.dumps(settings))
    folders = json.dumps([folder for _, folder in work])
    said = python(LOAD, str(tmp_path / "images.npy"), folders, HEAVY.get(system, ""))

    wrong = "the input has shape (4, 3, 16, 16), this executable takes (1, 3, 16, 16)"
    assert said.splitlines() == [wrong] * len(chosen)
    distances = {
        (name, dtype): distance(
            np.load(Path(folder) / "scores.npy"), reference(tiny(name, dtype), images)
        )
        for (name, dtype), (_, folder) in zip(chosen, work, strict=True)
    }
    tolerances = TOLERANCE | {dtype: t for (s, dtype), t in ROUNDS_ELSEWHERE.items() if s == system}
    assert {k: d for k, d in distances.items() if not d <= tolerances[k[1]]} == {}


@pytest.mark.parametrize("name,dtype", EVERY)
def test_optimized_networks_stay_near_float32(
    name: str, dtype: DType, images: NDArray[np.float32]
) -> None:
    network = tiny(name, dtype)
    assert {row.dtype for row in network.layers} == {dtype}
    assert distance(reference(network, images), reference(tiny(name), images)) <= ROUNDING[dtype]
