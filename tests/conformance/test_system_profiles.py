"""Every system tells where the time of a run goes and names every layer once, or says in a
sentence that it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from dlas.errors import Refused
from dlas.executable import Executable, compile_network, load
from dlas.layer import member, table
from dlas.measure.protocol import LayerTime
from dlas.network import Network
from dlas.testing.networks import DType, tiny

#: Those that tell; ``partitioned`` tells what its parts tell.
TELL = {"tvm", "onnxruntime", "openvino", "pytorch", "partitioned"}
#: Branches whose convolutions have outputs of one shape, BatchNormalizations that stay, gates,
#: groups, pooling and two dense layers.
NETWORKS = ("residual", "dense_block", "squeeze_excite", "grouped", "plain")


def executable(folder: Path, name: str, network: Network, **settings: Any) -> Executable:
    kind: Any = member("systems", name)
    missing = kind.missing()
    if missing is not None:
        pytest.skip(missing)
    system = kind(**settings)
    algorithm: Any = member("algorithms", "cheapest" if name == "tvm" else "vendor")()
    compile_network(system, network, algorithm.plan(network), folder)
    return load(folder)


def profile(made: Executable) -> tuple[LayerTime, ...]:
    images = np.random.default_rng(0).standard_normal(made.header.input_shape, dtype=np.float32)
    expected = made.run(images)
    found = made.profile(images, 3)
    np.testing.assert_array_equal(made.run(images), expected)  # it runs on as before
    return found


def check(found: tuple[LayerTime, ...], network: Network) -> None:
    layers = [layer for row in found for layer in row.layers]
    assert sorted(layers) == sorted(row.name for row in network.layers)
    for row in found:
        assert row.name
        assert row.op
        assert row.seconds >= 0
        assert (row.kind == "layer") == bool(row.layers)
    assert any(row.seconds > 0 for row in found if row.layers)
    assert msgspec.convert(msgspec.to_builtins(found), tuple[LayerTime, ...]) == found


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", sorted(TELL - {"partitioned"}))
def test_every_layer_is_named_once(name: str, network: str, dtype: DType, tmp_path: Path) -> None:
    built = tiny(network, dtype)
    check(profile(executable(tmp_path, name, built)), built)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_kernels_of_templates_name_their_layers(dtype: DType, tmp_path: Path) -> None:
    network = tiny("residual", dtype)
    made = executable(tmp_path, "tvm", network, tuning="template", trials=1)
    check(profile(made), network)


def test_a_system_in_parts_tells_part_by_part(tmp_path: Path) -> None:
    network = tiny("residual")
    settings = {"systems": ("onnxruntime",), "stages": 2, "time_budget_s": 1.0}
    check(profile(executable(tmp_path, "partitioned", network, **settings)), network)


@pytest.mark.parametrize("name", sorted(set(table("systems")) - TELL))
def test_the_others_say_so(name: str, tmp_path: Path) -> None:
    made = executable(tmp_path, name, tiny("plain"))
    with pytest.raises(Refused, match=f"{name} does not tell what its operators take"):
        made.profile(np.zeros(made.header.input_shape, np.float32), 3)


@pytest.mark.parametrize("name", ["tvm", "onnxruntime", "openvino"])
def test_executables_of_earlier_versions_tell_operators_without_layers(
    name: str, tmp_path: Path
) -> None:
    made = executable(tmp_path, name, tiny("plain"))
    (tmp_path / ("kernels.json" if name == "tvm" else "names.json")).unlink()
    found = profile(made)
    assert found
    assert not any(row.layers for row in found)
