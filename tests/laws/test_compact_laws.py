"""Laws of ``compact``: the scores stay, what is needed stays, and there is nothing left to do."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from dlas.evaluate import scores
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.network.cleanup import drop_unused
from dlas.network.compact import compact, kept
from dlas.testing.networks import noise_images, randomized

IMAGES = noise_images((3, 8, 8), 2)
ACTIVATIONS = ("relu", "relu6", "silu", "hard_swish", "sigmoid")


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Up to eight steps, each of which reads any earlier feature map of its size."""
    b = Builder((3, 8, 8), seed=draw(st.integers(0, 99)))
    widths = st.sampled_from([2, 4, 6])
    maps = [b.relu(b.batch_norm(b.conv("input", "conv0", draw(widths), 3, bias=True), "bn0"))]
    for index in range(1, draw(st.integers(1, 8)) + 1):
        x = maps[draw(st.integers(0, len(maps) - 1))]
        step = draw(st.sampled_from(sorted(STEPS)))
        maps.append(STEPS[step](b, x, maps, index, draw))
    x = maps[-1]
    if draw(st.booleans()):
        x = b.global_average_pool(x)
    drawn = randomized(b.network(b.dense(b.flatten(x), "fc", 5)))
    drop_unused(drawn.model)
    return drawn


def convolve(b: Builder, x: str, maps: list[str], index: int, draw: st.DrawFn) -> str:
    channels, kernel = draw(st.sampled_from([1, 3, 4, 6])), draw(st.sampled_from([1, 3]))
    y = b.conv(x, f"conv{index}", channels, kernel, bias=draw(st.booleans()))
    if draw(st.booleans()):
        y = b.batch_norm(y, f"bn{index}")
    return getattr(b, draw(st.sampled_from(ACTIVATIONS)))(y)  # type: ignore[no-any-return]


def pre_activate(b: Builder, x: str, maps: list[str], index: int, draw: st.DrawFn) -> str:
    return b.relu(b.batch_norm(x, f"bn{index}"))


def depthwise(b: Builder, x: str, maps: list[str], index: int, draw: st.DrawFn) -> str:
    inputs = b.shapes[x][0]
    outputs = inputs * draw(st.sampled_from([1, 1, 2]))
    return b.relu(b.conv(x, f"conv{index}", outputs, 3, groups=inputs, bias=draw(st.booleans())))


def in_groups(b: Builder, x: str, maps: list[str], index: int, draw: st.DrawFn) -> str:
    groups = 2 if b.shapes[x][0] % 2 == 0 else 1
    return b.relu(b.conv(x, f"conv{index}", 4, 3, groups=groups))


def residual(b: Builder, x: str, maps: list[str], index: int, draw: st.DrawFn) -> str:
    other = maps[draw(st.integers(0, len(maps) - 1))]
    return b.add(x, b.conv(other, f"conv{index}", b.shapes[x][0], 1))


def concatenate(b: Builder, x: str, maps: list[str], index: int, draw: st.DrawFn) -> str:
    return b.concat([x, maps[draw(st.integers(0, len(maps) - 1))]])


def squeeze_excite(b: Builder, x: str, maps: list[str], index: int, draw: st.DrawFn) -> str:
    y = b.silu(b.conv(b.global_average_pool(x), f"conv{index}", 3, 1, bias=True))
    return b.mul(x, b.sigmoid(b.conv(y, f"conv{index}.widen", b.shapes[x][0], 1, bias=True)))


def pad_channels(b: Builder, x: str, maps: list[str], index: int, draw: st.DrawFn) -> str:
    return b.pad_channels(x, draw(st.integers(0, 2)), draw(st.integers(0, 2)))


def pool(b: Builder, x: str, maps: list[str], index: int, draw: st.DrawFn) -> str:
    return draw(st.sampled_from([b.max_pool, b.average_pool]))(x, 3, 1, 1)


STEPS = {
    step.__name__: step
    for step in (
        convolve, pre_activate, depthwise, in_groups, residual, concatenate, squeeze_excite,
        pad_channels, pool,
    )
}  # fmt: skip


def with_zeros(network: Network, share: float, seed: int, rows: bool, columns: bool) -> Network:
    """Zero ``share`` of the channels that layers write, and of those that they read."""
    random = np.random.default_rng(seed)
    model = network.edited()
    dead: dict[str, np.ndarray] = {}  # by the layer's number, which its BatchNorm has as well
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor).copy()
        layer, _, kind = tensor.name.rpartition(".")
        if kind not in ("weight", "bias", "running_mean") or layer == "fc":
            continue
        chosen = dead.setdefault(layer.replace("bn", "conv"), random.random(len(value)) < share)
        if rows and len(chosen) == len(value):
            value[chosen] = 0
        if columns and value.ndim == 4:
            value[:, random.random(value.shape[1]) < share] = 0
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return Network(model)


shares = st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0])
zeroed = st.builds(
    with_zeros, networks(), shares, st.integers(0, 2**16), st.booleans(), st.booleans()
)


@settings(max_examples=150, deadline=None)
@given(zeroed)
def test_scores_stay(network: Network) -> None:
    found = compact(network)
    onnx.checker.check_model(found.model, full_check=True)
    np.testing.assert_allclose(scores(found, IMAGES), scores(network, IMAGES), rtol=1e-4, atol=1e-5)


@settings(max_examples=75, deadline=None)
@given(zeroed)
def test_the_second_time_changes_nothing(network: Network) -> None:
    found = compact(network)
    assert compact(found) is found


@settings(max_examples=75, deadline=None)
@given(zeroed)
def test_layers_have_the_shapes_that_kept_says(network: Network) -> None:
    before, after = kept(network), compact(network).layers
    assert list(before) == [row.name for row in after]
    for row, layer in zip(after, network.layers, strict=True):
        channels = before[row.name]
        assert (row.out_channels, row.in_channels) == tuple(
            map(len, (channels.outputs, channels.inputs))
        )
        assert channels.outputs == tuple(sorted(set(channels.outputs)))
        assert 0 <= channels.outputs[0] <= channels.outputs[-1] < layer.out_channels


@settings(max_examples=75, deadline=None)
@given(networks())
def test_a_dense_network_comes_back(network: Network) -> None:
    """Only padding may go, and what is cut off at zero for every image."""
    found = compact(network)
    if "Pad" not in {node.op_type for node in network.model.graph.node}:
        assert found is network
