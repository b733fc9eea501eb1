"""Networks compiled for several images at once: every image gets the scores that ONNX Runtime gives
it alone, and no image changes another's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dlas.algorithms.cheapest import Cheapest
from dlas.evaluate import cpu_session
from dlas.executable import Executable, compile_network, load
from dlas.layer import member, table
from dlas.network import Network
from dlas.optimizations.magnitude import magnitude_masks, zeroed
from dlas.spec import parse_member
from dlas.systems.tvm import Tvm
from dlas.testing.networks import DType, noise_images, tiny

#: Relative Euclidean distance of an image's scores.
TOLERANCE = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 1.5e-2, "int8": 5e-2}
#: What is not the default, so that compiling takes no longer than it must.
SETTINGS: dict[str, dict[str, Any]] = {"partitioned": {"stages": 2, "time_budget_s": 0.2}}
#: Of TVM.
DENSE = ("direct", "gemm", "spatial_pack", "grouped_spatial_pack", "depthwise", "winograd",
         "winograd4", "cheapest")  # fmt: skip
NETWORKS = ("grouped", "squeeze_excite", "plain")

Array = NDArray[np.float32]


@pytest.fixture(scope="module", autouse=True)
def unoptimized() -> Iterator[None]:
    if member("systems", "tvm").missing():
        yield
        return
    from dlas.systems.tvm.runtime import quick_import

    quick_import("tvm")
    from dlas.systems.tvm import lower

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lower, "OPTIMIZATION", 0)
        yield


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))


def compiled(system: Any, algorithm: Any, network: Network, folder: Path) -> Executable:
    plan = algorithm.plan(network)
    for reason in (system.missing(), algorithm.refuses(network), system.refuses(network, plan)):
        if reason:
            pytest.skip(reason)
    assert system.combines(algorithm.name) is None
    folder.mkdir()
    compile_network(system, network, plan, folder)
    return load(folder)


def alone(network: Network, images: Array) -> Array:
    """The scores of every image by itself."""
    session = cpu_session(network)
    found = [session.run(None, {network.input_name: image[None]})[0] for image in images]
    return np.concatenate(found)


def check(executable: Executable, network: Network, dtype: str, count: int) -> None:
    images = noise_images(network.input_shape, count, seed=1)
    found, expected = executable.scores(images), alone(network, images)
    assert found.shape == expected.shape
    distances = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert distances.max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("name", [name for name in table("systems")])
def test_every_system_computes_three_images_at_once(name: str, tmp_path: Path) -> None:
    network = tiny("squeeze_excite")
    spec = {"name": name, "batch": 3, **SETTINGS.get(name, {})}
    system: Any = parse_member("systems", spec, "$")
    algorithm: Any = member("algorithms", "vendor" if "vendor" in system.algorithms else "cheapest")
    executable = compiled(system, algorithm(), network, tmp_path / "executable")
    assert "batch=3" in system.label()
    assert executable.header.input_shape == (3, 3, 16, 16)
    assert executable.header.output_shape == (3, 10)
    assert executable.header.system["batch"] == 3
    check(executable, network, "float32", 7)
    # What is not a number in one image stays there.
    images = noise_images(network.input_shape, 3)
    expected = executable(images)
    images[1] = np.nan
    found = executable(images)
    np.testing.assert_array_equal(found[[0, 2]], expected[[0, 2]])
    assert np.isnan(found[1]).all()


def test_a_system_of_many_images_by_several_systems(tmp_path: Path) -> None:
    """The parts of a mixture hand on batches."""
    from dlas.systems.partitioned import Partitioned
    from dlas.systems.partitioned.cut import cut
    from dlas.systems.partitioned.pieces import Pieces
    from dlas.systems.partitioned.record import Part

    network, system = tiny("residual"), Partitioned(systems=("onnxruntime",), batch=3)
    [only] = system.members()
    assert only.batch == 3
    line = cut(network, 2, least_macs=0)
    assert len(line) == 2
    pieces = Pieces(line, Cheapest().plan(network), [only], tmp_path, system.batch)
    assert [len(image) for image in pieces.images] == [3, 3, 3]
    parts = [pieces.part(0, 0, 1), pieces.part(0, 1, 2)]
    assert all(isinstance(part, Part) for part in parts)
    run = pieces.run([part for part in parts if part])
    assert run is not None, pieces.notes
    images = noise_images(network.input_shape, 3, seed=2)
    np.testing.assert_allclose(run(images), alone(network, images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("tuning", ["untuned", "template"])
@pytest.mark.parametrize("name", DENSE)
def test_every_primitive_computes_two_images_at_once(
    name: str, tuning: Any, dtype: DType, tmp_path: Path
) -> None:
    computed = 0
    for threads, drawn in enumerate(NETWORKS, 1):
        network, algorithm = tiny(drawn, dtype), member("algorithms", name)()
        if algorithm.refuses(network):  # type: ignore[attr-defined]
            continue
        system = Tvm(tuning=tuning, trials=1, batch=2, threads=min(threads, 2))
        check(compiled(system, algorithm, network, tmp_path / drawn), network, dtype, 3)
        computed += 1
    if not computed:
        pytest.skip(f"{name} computes no layer of {dtype}")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("drawn", NETWORKS)
def test_half_precision_of_two_images(drawn: str, dtype: DType, tmp_path: Path) -> None:
    network = tiny(drawn, dtype)
    system = Tvm(tuning="template", trials=1, batch=2)
    check(compiled(system, Cheapest(), network, tmp_path / "e"), network, dtype, 3)


@pytest.mark.parametrize("tuning", ["untuned", "template"])
@pytest.mark.parametrize("kind, block", [("csr", (1, 1)), ("bsr_4x1", (4, 1))])
def test_sparse_weights_and_two_images(kind: str, block: Any, tuning: Any, tmp_path: Path) -> None:
    for threads, drawn in enumerate(("plain", "grouped"), 1):
        whole = tiny(drawn)
        network = zeroed(whole, magnitude_masks(whole, 0.9, "layer", block))
        spec = {"name": "direct", "format": kind, "threshold": 0.0}
        algorithm: Any = parse_member("algorithms", spec, "$")
        assert algorithm.plan(network).step("conv1").format == kind
        system = Tvm(tuning=tuning, trials=1, batch=2, threads=threads)
        check(compiled(system, algorithm, network, tmp_path / drawn), network, "float32", 3)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_ways_are_chosen_and_tuned_for_a_batch(dtype: DType, tmp_path: Path) -> None:
    network, best = tiny("plain", dtype), member("algorithms", "best")()
    system = Tvm(tuning="template", trials=2, batch=2)
    check(compiled(system, best, network, tmp_path / "e"), network, dtype, 3)


def test_metaschedule_orders_loops_for_a_batch(tmp_path: Path) -> None:
    network, system = tiny("plain"), Tvm(tuning="auto", trials=2, batch=2)
    check(compiled(system, Cheapest(), network, tmp_path / "e"), network, "float32", 3)
