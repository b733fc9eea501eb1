"""An executable as a folder: what loading checks before it trusts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlas.algorithms.vendor import Vendor
from dlas.errors import InputError
from dlas.executable import FILE, compile_network, load, read_header
from dlas.plan import Plan, open_plan
from dlas.systems.onnxruntime import OnnxRuntime
from dlas.testing.networks import noise_images, tiny

IMAGE = noise_images((3, 16, 16), 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = tiny("oblong")
    compile_network(OnnxRuntime(threads=2), network, Vendor().plan(network), tmp_path)
    return tmp_path


def test_header(folder: Path) -> None:
    header = read_header(folder)
    assert header.system == {"name": "onnxruntime", "threads": 2, "batch": 1}
    assert (header.input_shape, header.output_shape) == ((1, 3, 16, 16), (1, 10))
    assert (header.threads, header.emulated) == (2, "")
    assert set(header.tools) == {"dlas.onnxruntime", "onnxruntime", "target"}
    assert set(header.files) == {"names.json", "optimized.onnx"}


def test_code_for_another_processor_is_not_tried(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        OnnxRuntime, "tools", lambda self: {**read_header(folder).tools, "target": "x"}
    )
    with pytest.raises(InputError, match="and this is x: compile it here"):
        load(folder)


def test_takes_any_array_of_the_shape(folder: Path) -> None:
    executable = load(str(folder))
    expected = executable(IMAGE)
    frozen = IMAGE.copy()
    frozen.flags.writeable = False
    for image in (IMAGE.astype(np.float64), np.asfortranarray(IMAGE), frozen):
        np.testing.assert_array_equal(executable(image), expected)


def test_another_shape_is_named(folder: Path) -> None:
    message = r"the input has shape \(1, 1, 28, 28\), this executable takes \(1, 3, 16, 16\)"
    with pytest.raises(InputError, match=message):
        load(folder)(np.zeros((1, 1, 28, 28), np.float32))


def test_scores_of_any_number_of_images_are_those_of_each(folder: Path, tmp_path: Path) -> None:
    network = tiny("oblong")
    single = load(folder)
    system = OnnxRuntime(batch=3)
    (tmp_path / "three").mkdir()
    compile_network(system, network, Vendor().plan(network), tmp_path / "three")
    three = load(tmp_path / "three")
    assert three.header.input_shape == (3, 3, 16, 16)
    assert three.header.output_shape == (3, 10)
    images = np.random.default_rng(0).standard_normal((7, 3, 16, 16), dtype=np.float32)
    expected = np.concatenate([single(image[None]) for image in images])
    for count in range(1, 8):
        found = three.scores(images[:count])
        assert found.shape == (count, 10)
        np.testing.assert_allclose(found, expected[:count], rtol=1e-4, atol=1e-5)
    message = r"the input has shape \(1, 3, 16, 16\), this executable takes \(3, 3, 16, 16\)"
    with pytest.raises(InputError, match=message):
        three(images[:1])


@pytest.mark.parametrize("content", [None, b"", b'{"system": 1}', b"\xff"])
def test_no_header_or_a_damaged_one(folder: Path, content: bytes | None) -> None:
    (folder / FILE).unlink()
    if content is not None:
        (folder / FILE).write_bytes(content)
    with pytest.raises(InputError, match="holds no executable of dlas, or a damaged one"):
        load(folder)


def test_damaged_file(folder: Path) -> None:
    file = folder / "optimized.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"optimized.onnx is damaged: compile the network again"):
        load(folder)


def test_missing_file(folder: Path) -> None:
    (folder / "optimized.onnx").unlink()
    with pytest.raises(InputError, match=r"optimized.onnx: there is no such file"):
        load(folder)


def test_compiled_by_another_version(folder: Path) -> None:
    header: dict[str, Any] = json.loads((folder / FILE).read_bytes())
    header["tools"]["onnxruntime"] = "0.1"
    (folder / FILE).write_text(json.dumps(header))
    with pytest.raises(InputError, match=r"was compiled with onnxruntime 0.1, and here it is \d"):
        load(folder)


def test_vendor_plans_every_layer_and_plans_are_kept(tmp_path: Path) -> None:
    network = tiny("residual")
    plan = Vendor().plan(network)
    assert [step.layer for step in plan.steps] == [row.name for row in network.layers]
    assert plan.primitive("fc") == "vendor"
    plan.save(tmp_path)
    assert open_plan(tmp_path) == plan


@pytest.mark.parametrize("content", [None, b"", b'{"algorithm": 1}'])
def test_no_plan_or_a_damaged_one(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match="holds no plan of dlas, or a damaged one"):
        open_plan(tmp_path)


def test_an_empty_plan_is_a_plan(tmp_path: Path) -> None:
    Plan("vendor", ()).save(tmp_path)
    assert open_plan(tmp_path).steps == ()
