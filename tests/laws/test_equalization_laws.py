"""Laws of equalization: the float32 network computes the same, and channels come closer."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from dlas.evaluate import scores
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.network.fold import fold_batch_norm
from dlas.optimizations.calibration import CalibrationImages, channel_peaks, tap
from dlas.optimizations.equalization import WIDEST, Pair, equalized, pairs
from dlas.testing.networks import TINY, noise, randomized, tiny

LAYERS = st.lists(
    st.tuples(
        st.sampled_from(["conv", "depthwise", "grouped"]),
        st.sampled_from(["relu", "relu6", "silu", "max_pool", "average_pool", ""]),
        st.integers(1, 3),
    ),
    min_size=2,
    max_size=5,
)
SEEDS = st.integers(0, 2**16)


def drawn(layers: list[tuple[str, str, int]], seed: int) -> Network:
    """A chain of convolutions whose channels have ranges that differ a thousandfold."""
    b = Builder((2, 9, 9), seed)
    x = b.conv("input", "first", 8, 3, bias=True)
    for index, (kind, activation, kernel) in enumerate(layers):
        name = f"{kind}{index}"
        groups = {"conv": 1, "grouped": 2, "depthwise": b.shapes[x][0]}[kind]
        x = b.conv(x, name, 8, kernel, groups=groups, bias=True)
        if "pool" in activation:
            x = getattr(b, activation)(x, 2, 1)
        elif activation:
            x = getattr(b, activation)(x)
    return spread(b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 4)), seed)


def spread(network: Network, seed: int) -> Network:
    random = np.random.default_rng(seed)
    model = network.edited()
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4 or tensor.name.endswith("bias"):
            factors = 10 ** random.uniform(-1.5, 1.5, tensor.dims[0])
            value = numpy_helper.to_array(tensor) + (0.1 if len(tensor.dims) == 1 else 0)
            factors = factors.reshape(-1, *[1] * (value.ndim - 1)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value * factors, tensor.name))
    return Network(model)


def equalize(network: Network) -> tuple[Network, list[Pair], CalibrationImages]:
    images = CalibrationImages(network, noise(network, 4), 4)
    found = pairs(network)
    peaks = channel_peaks(network, [pair.activation for pair in found], images)
    return equalized(network, found, peaks), found, images


def assert_same_function(network: Network, other: Network) -> None:
    images = 3 * noise(network, 4, seed=1).test.images()
    expected = scores(network, images)
    np.testing.assert_allclose(
        scores(other, images), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )


@settings(max_examples=40, deadline=None)
@given(LAYERS, SEEDS)
def test_the_float_network_stays_the_same(layers: list[tuple[str, str, int]], seed: int) -> None:
    network = drawn(layers, seed)
    before = network.model.SerializeToString(deterministic=True)
    found, _, _ = equalize(network)
    onnx.checker.check_model(found.model, full_check=True)
    assert_same_function(network, found)
    assert network.model.SerializeToString(deterministic=True) == before


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(TINY)), SEEDS)
def test_so_it_does_for_every_construct(name: str, seed: int) -> None:
    network = Network(fold_batch_norm(randomized(tiny(name), seed).model))
    found, _, _ = equalize(network)
    assert_same_function(network, found)


@settings(max_examples=40, deadline=None)
@given(LAYERS, SEEDS)
def test_channels_before_a_depthwise_layer_become_alike(
    layers: list[tuple[str, str, int]], seed: int
) -> None:
    network = drawn(layers, seed)
    found, chains, images = equalize(network)
    depthwise = [pair.activation for pair in chains if pair.depthwise]
    before = channel_peaks(network, depthwise, images)
    for name, peaks in channel_peaks(found, depthwise, images).items():
        near = peaks[before[name] > 1.01 * before[name].max() / WIDEST]
        assert near.size == 0 or near.max() <= near.min() * 1.001, name


@settings(max_examples=20, deadline=None)
@given(LAYERS, SEEDS)
def test_what_is_between_two_pairs_is_only_scaled(
    layers: list[tuple[str, str, int]], seed: int
) -> None:
    network = drawn(layers, seed)
    found, chains, images = equalize(network)
    names = [pair.activation for pair in chains]
    (batch,) = images.batches()
    before, after = tap(network, names)(batch), tap(found, names)(batch)
    for name in names:
        x, y = before[name].swapaxes(0, 1), after[name].swapaxes(0, 1)
        scale = np.abs(x).max(axis=(1, 2, 3)) / np.abs(y).max(axis=(1, 2, 3)).clip(1e-30)
        np.testing.assert_allclose(
            y * scale[:, None, None, None], x, rtol=1e-3, atol=1e-4 * float(np.abs(x).max())
        )
