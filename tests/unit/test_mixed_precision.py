"""mixed_precision: the layers that cost most stay in float32, as few as hold the loss; and what
one layer alone loses."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx import numpy_helper

from dlas.algorithms.direct import Direct
from dlas.algorithms.vendor import Vendor
from dlas.context import Context
from dlas.errors import InputError, Refused, SpecError
from dlas.evaluate import scores
from dlas.network import Network
from dlas.optimizations.bfloat16 import nearest
from dlas.optimizations.int8 import Int8
from dlas.optimizations.layer_precision import bfloat16_alone, int8_alone, measured
from dlas.optimizations.mixed_precision import REPORT, LayerPrecision, MixedPrecision
from dlas.spec import parse_member
from dlas.systems.base import System
from dlas.systems.openvino import OpenVino
from dlas.systems.pytorch import PyTorch
from dlas.systems.tvm import Tvm
from dlas.testing.networks import noise, noise_images, tiny

INT8 = Int8(samples=16)
#: Labels of 256 images of noise.
SAMPLES, IMAGES = 256, 256
#: What lies between these two is rounded when either is int8.
SPOILED = {"conv2", "conv3"}


@cache
def uneven() -> Network:
    """The same function as ``residual``, with one channel before conv3 a thousand times as large:
    it alone has numbers in 8 bits for the tensor. Scores are shifted until classes vary."""
    mean = scores(tiny("residual"), noise_images((3, 16, 16), IMAGES)).mean(axis=0)
    model = tiny("residual").edited()
    factors = np.ones(16, np.float32)
    factors[0] = 1000
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.name in ("bn2.weight", "bn2.bias"):
            tensor.CopyFrom(numpy_helper.from_array(value * factors, tensor.name))
        if tensor.name == "fc.bias":
            tensor.CopyFrom(numpy_helper.from_array(value - mean, tensor.name))
        if tensor.name == "conv3.weight":
            spread = factors[:, None, None]
            tensor.CopyFrom(numpy_helper.from_array(value / spread, tensor.name))
    return Network(model)


def mixed(max_loss: float, folder: Path) -> Network:
    spec = MixedPrecision(max_loss=max_loss, int8=INT8, samples=SAMPLES)
    return spec.apply(uneven(), noise(uneven(), IMAGES), Context(folder, folder))


def changed(network: Network) -> float:
    """Percent of the labels that differ from the float32 network's."""
    images = noise_images(network.input_shape, IMAGES)
    labels = [scores(n, images).argmax(axis=1) for n in (network, uneven())]
    return 100 * float((labels[0] != labels[1]).mean())


def test_the_layers_that_cost_most_stay(tmp_path: Path) -> None:
    naive = changed(INT8.apply(uneven(), noise(uneven(), IMAGES), Context(tmp_path, tmp_path)))
    allowed = naive / 2
    found = mixed(allowed, tmp_path)
    assert changed(found) <= allowed < naive
    assert {row.name for row in found.layers if row.dtype == "float32"} == SPOILED
    assert found.dtype == "mixed"
    report = msgspec.json.decode((tmp_path / REPORT).read_bytes(), type=list[LayerPrecision])
    assert {row.layer: row.dtype for row in report} == {r.name: r.dtype for r in found.layers}
    most = sorted(report, key=lambda row: -row.loss_nats)[:2]
    assert {row.layer for row in most} == SPOILED
    assert [row.macs for row in report] == [row.macs for row in uneven().layers]


def test_nothing_stays_that_need_not(tmp_path: Path) -> None:
    assert mixed(99, tmp_path).dtype == "int8"


def test_what_has_no_layer_to_keep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"with all layers in float32, .*: raise max_loss above 0,"):
        mixed(0, tmp_path)


def test_spec() -> None:
    given = {"name": "mixed_precision", "max_loss": 2, "int8": {"samples": 16}}
    assert parse_member("optimizations", given, "$") == MixedPrecision(max_loss=2, int8=INT8)
    given = {"name": "mixed_precision", "int8": {"keep": ["conv1"]}}
    with pytest.raises(SpecError, match=r"\$\.int8\.keep: mixed_precision chooses what is kept"):
        parse_member("optimizations", given, "$")
    assert "takes a float32 network" in str(MixedPrecision().refuses(tiny("plain", "int8")))


def test_too_few_images_are_told(tmp_path: Path) -> None:
    spec = MixedPrecision(int8=INT8, samples=17)
    with pytest.raises(InputError, match="measured on 17 images and the data set has 16"):
        spec.apply(uneven(), noise(uneven()), Context(tmp_path, tmp_path))


# -- one layer alone -------------------------------------------------------------------------------


def test_only_the_layer_is_narrower(tmp_path: Path) -> None:
    network, context = tiny("squeeze_excite"), Context(tmp_path, tmp_path)
    narrowed = int8_alone(network, INT8, noise(network), context)
    for row in network.layers:
        found = narrowed(row.name)
        assert [r.name for r in found.layers if r.dtype == "int8"] == [row.name]
        kinds = [node.op_type for node in found.model.graph.node]
        assert kinds.count("QuantizeLinear") <= 2, "the layer's data, and what it gives"
    for row in network.layers:
        found = bfloat16_alone(network)(row.name)
        assert [node.op_type for node in found.model.graph.node].count("Cast") == 2
        before = {r.name: tiny("squeeze_excite", "bfloat16").weight(r) for r in network.layers}
        for other in found.layers:
            weight = found.weight(other)
            assert np.array_equal(weight, nearest(weight)) == (other.name == row.name)
            assert other.name != row.name or np.array_equal(weight, before[row.name])


def test_losses_grow_with_the_rounding(tmp_path: Path) -> None:
    network, context = tiny("residual"), Context(tmp_path, tmp_path)
    data = noise(network)
    narrowed = {
        "float32": lambda layer: network,
        "int8": int8_alone(network, INT8, data, context),
        "bfloat16": bfloat16_alone(network),
    }
    rows = measured(network, data, 16, narrowed, context)
    assert [row.layer for row in rows] == [row.name for row in network.layers]
    for row in rows:
        assert row.loss_nats["float32"] == 0
        assert 0 < row.loss_nats["bfloat16"] < row.loss_nats["int8"] < 1


# -- what runs it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("system", [PyTorch(), OpenVino(), Tvm()], ids=lambda s: s.name)
def test_systems_run_it(system: System, tmp_path: Path) -> None:
    missing = system.missing()
    if missing:
        pytest.skip(missing)
    network = msgspec.structs.replace(INT8, keep=("conv3",)).apply(
        tiny("residual"), noise(tiny("residual")), Context(tmp_path, tmp_path)
    )
    algorithm: Any = Direct() if system.name == "tvm" else Vendor()
    system.compile(network, algorithm.plan(network), tmp_path)
    image = noise_images(network.input_shape, 1)
    expected, found = scores(network, image), system.load(tmp_path)(image)
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
    if system.name == "openvino":
        assert system.emulates(network) == ""
