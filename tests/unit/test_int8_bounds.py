"""int8 at the edges of its numbers: ranges of zero, silent channels, sums of 32 bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.context import Context
from dlas.data import Data, Split
from dlas.errors import InputError, Refused, SpecError
from dlas.evaluate import scores
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.optimizations.calibration import tap
from dlas.optimizations.int8 import Int8
from dlas.spec import parse_member
from dlas.testing.networks import noise, tiny

#: The most inputs of which each can add 127 · 255, and what the bias may add then.
WIDEST = (2**31 - 1) // (127 * 255)
ROOM = (2**31 - 1) % (127 * 255)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path, tmp_path)


def with_constants(network: Network, constants: dict[str, NDArray[np.float32]]) -> Network:
    model = network.edited()
    for tensor in model.graph.initializer:
        if tensor.name in constants:
            value = np.asarray(constants[tensor.name], np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return Network(model)


def with_images(network: Network, images: NDArray[np.float32]) -> Data:
    labels = np.zeros(len(images), np.int64)
    split = Split(labels, lambda chosen: images[chosen])
    return replace(noise(network), train=split, calibration=split, test=split)


def widest(bias: int) -> tuple[Network, Data]:
    """A dense layer of which every weight is 127 steps, for images of 255 steps of 1; ``bias`` in
    steps."""
    b = Builder((1, 1, WIDEST))
    network = b.network(b.dense(b.flatten("input"), "wide", 2))
    weight = np.stack([np.ones(WIDEST), -np.ones(WIDEST)]).astype(np.float32)
    biases = np.array([bias, 0], np.float32) / 127
    network = with_constants(network, {"wide.weight": weight, "wide.bias": biases})
    return network, with_images(network, np.full((1, 1, 1, WIDEST), 255, np.float32))


def test_a_sum_at_the_bound_is_computed(context: Context) -> None:
    network, data = widest(ROOM)
    quantized = Int8(samples=1).apply(network, data, context)
    (bias,) = [v for n, v in quantized.initializers.items() if n == "wide.bias_quantized"]
    assert np.abs(quantized.initializers[quantized.layers[0].weight]).astype(int).min() == 127
    assert bias.tolist() == [ROOM, 0]
    found = scores(quantized, data.test.images())
    np.testing.assert_allclose(found, scores(network, data.test.images()), rtol=1e-5)


@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_a_sum_beyond_the_bound_is_refused(activations: str, context: Context) -> None:
    network, data = widest(ROOM + 1)
    sentence = r"layer 'wide' could reach 2147483648, .* 32 bits: keep = \('wide',\) leaves it"
    with pytest.raises(Refused, match=sentence):
        Int8(samples=1, activations=activations).apply(network, data, context)  # type: ignore[arg-type]
    kept = Int8(samples=1, keep=("wide",)).apply(network, data, context)
    assert kept.dtype == "float32"


def layer_output(network: Network, layer: str, data: Data) -> NDArray[np.float32]:
    output = {node.name: node.output[0] for node in network.model.graph.node}[layer]
    return tap(network, [output])(data.test.images())[output]


@pytest.mark.parametrize("weight", [0.0, 1e-8, 1e-30])
def test_channels_of_hardly_any_weight_compute_their_bias(weight: float, context: Context) -> None:
    network = tiny("plain")
    weights = network.initializers["conv1.weight"].copy()
    weights[:4] *= np.float32(weight) / np.abs(weights[:4]).max()
    given = {"bn1.running_mean": np.zeros(8), "bn1.bias": np.zeros(8)}
    biases = np.array([0, 0.123456, -7, 1e-6, *np.zeros(4)], np.float32)
    scaled = (
        biases
        / network.initializers["bn1.weight"]
        * np.sqrt(network.initializers["bn1.running_var"] + 1e-5)
    )
    network = with_constants(network, {"conv1.weight": weights, "conv1.bias": scaled, **given})
    quantized = Int8(samples=16).apply(network, noise(network), context)
    found = layer_output(quantized, "conv1", noise(network))
    np.testing.assert_allclose(found[:, :4].mean(axis=(0, 2, 3)), biases[:4], rtol=1e-4, atol=1e-6)


def scales(network: Network) -> list[NDArray[np.float32]]:
    nodes = [n for n in network.model.graph.node if n.op_type.endswith("quantizeLinear")]
    nodes += [n for n in network.model.graph.node if n.op_type == "QuantizeLinear"]
    return [network.initializers[node.input[1]] for node in nodes]


@pytest.mark.parametrize("activations", ["uint8", "int8"])
@pytest.mark.parametrize("calibration", ["min_max", "percentile", "mse", "entropy"])
def test_what_is_constant_has_a_positive_scale(
    calibration: str, activations: str, context: Context
) -> None:
    """Black images; a layer of zeros; a ReLU that never lets anything through."""
    int8 = Int8(samples=4, calibration=calibration, activations=activations)  # type: ignore[arg-type]
    network = tiny("residual")
    black = with_images(network, np.zeros((4, *network.input_shape), np.float32))
    silent = with_constants(network, {"conv2.weight": np.zeros((16, 8, 3, 3), np.float32)})
    shut = with_constants(network, {"bn1.bias": np.full(8, -1e3, np.float32)})
    flat = with_constants(network, {"fc.weight": np.full((10, 16), 1e-44, np.float32)})
    for case, data in (
        (network, black), (silent, noise(network)), (shut, noise(network)), (flat, noise(network)),
    ):  # fmt: skip
        quantized = int8.apply(case, data, context)
        assert all(np.isfinite(s).all() and (s > 0).all() for s in scales(quantized))
        images = data.test.images()[:4]
        np.testing.assert_allclose(
            scores(quantized, images),
            scores(case, images),
            atol=0.1 * np.abs(scores(case, images)).max(),
        )


def test_signed_activations_hold_the_same_values(context: Context) -> None:
    for name in ("residual", "inverted_residual", "squeeze_excite"):
        network = tiny(name)
        signed, unsigned = (
            Int8(samples=16, activations=kind).apply(network, noise(network), context)  # type: ignore[arg-type]
            for kind in ("int8", "uint8")
        )
        zeros = [
            signed.initializers[node.input[2]]
            for node in signed.model.graph.node
            if node.op_type == "QuantizeLinear"
        ]
        assert {zero.dtype for zero in zeros} == {np.dtype(np.int8)}
        images = noise(network, 4, seed=1).test.images()
        expected = scores(unsigned, images)
        np.testing.assert_allclose(
            scores(signed, images), expected, atol=0.05 * float(np.abs(expected).max())
        )


def test_images_of_another_shape(context: Context) -> None:
    network = tiny("plain")
    data = with_images(network, np.zeros((16, 3, 8, 8), np.float32))
    sentence = r"calibration images have shape \(3, 8, 8\), the network takes \(3, 16, 16\)"
    with pytest.raises(InputError, match=sentence):
        Int8(samples=16).apply(network, data, context)


def test_an_activation_that_overflows(context: Context) -> None:
    network = tiny("plain")
    weight = {"fc1.weight": np.full_like(network.initializers["fc1.weight"], 3e38)}
    with pytest.raises(InputError, match=r"fc1\.out holds NaN or infinite values on calibration"):
        Int8(samples=16).apply(with_constants(network, weight), noise(network), context)


@pytest.mark.parametrize(
    "fields,sentence",
    [
        ({"percentile": 99.9}, 'only calibration = "percentile" reads it'),
        ({"calibration": "percentile", "percentile": 100}, "in (50, 100)"),
        ({"calibration": "maximum"}, "one of entropy, min_max, mse, percentile"),
        ({"activations": "int4"}, "one of int8, uint8"),
        ({"keep": "conv1"}, "a list"),
    ],
)
def test_what_int8_cannot_mean(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse_member("optimizations", {"name": "int8", **fields}, "$")
    assert sentence in str(raised.value)
