"""Pruning prunes what was asked, removal of channels removes nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.algorithms.formats import KeptChannels
from dlas.context import Context
from dlas.data import Data
from dlas.errors import Refused, SpecError
from dlas.evaluate import scores
from dlas.models.base import Model
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.network.channels import fixed_layers
from dlas.optimizations.base import Optimization
from dlas.optimizations.channel_pruning import ChannelPruning
from dlas.optimizations.gradual import shares
from dlas.optimizations.magnitude import magnitude_masks
from dlas.optimizations.weight_pruning import WeightPruning
from dlas.spec import parse_member
from dlas.testing.networks import TINY, noise, noise_images, randomized, tiny
from dlas.testing.noise import noise_data
from dlas.training import Recipe

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")

SHORT = Recipe(epochs=1, batch=8, lr=0.01)
IMAGES = noise_images((3, 16, 16), 4)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path, tmp_path / "checkpoints")


def pruned(how: Optimization, network: Network, context: Context) -> Network:
    assert how.refuses(network) is None
    return how.apply(network, noise(network), context)


def bytes_of(network: Network) -> bytes:
    return network.model.SerializeToString(deterministic=True)


# -- weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("fine_tune", [None, SHORT])
def test_sparsity_is_as_asked(name: str, fine_tune: Recipe | None, context: Context) -> None:
    network = tiny(name)
    total = sum(row.weights for row in network.layers)
    found = pruned(WeightPruning(sparsity=0.8, fine_tune=fine_tune), network, context)
    assert abs(total - found.nonzeros - 0.8 * total) <= 1
    assert found.macs == network.macs


def test_the_least_magnitudes_go(context: Context) -> None:
    network = tiny("residual")
    found = pruned(WeightPruning(sparsity=0.6), network, context)
    before = np.concatenate([network.initializers[r.weight].ravel() for r in network.layers])
    after = np.concatenate([found.initializers[r.weight].ravel() for r in network.layers])
    assert np.abs(before[after == 0]).max() <= np.abs(after[after != 0]).min()
    np.testing.assert_array_equal(after[after != 0], before[after != 0])


def test_by_layer_each_loses_its_share(context: Context) -> None:
    found = pruned(WeightPruning(sparsity=0.7, scope="layer"), tiny("residual"), context)
    for row in found.layers:
        assert abs(row.weights - row.nonzeros - 0.7 * row.weights) <= 0.5


def test_equal_magnitudes_do_not_overshoot(context: Context) -> None:
    network = with_weights(tiny("residual"), lambda name, value: np.ones_like(value))
    total = sum(row.weights for row in network.layers)
    found = pruned(WeightPruning(sparsity=0.5), network, context)
    assert total - found.nonzeros == round(0.5 * total)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_blocks_stay_zero_in_fine_tuning(scope: Any, context: Context) -> None:
    how = WeightPruning(sparsity=0.8, steps=2, fine_tune=SHORT, block=(4, 2), scope=scope)
    found = pruned(how, tiny("residual"), context)
    assert found.sparsity == pytest.approx(0.8, abs=0.02)
    weight = found.initializers["conv3.weight"].reshape(4, 4, 8, 2, 9)  # 16 × 16 × 3 × 3
    zeros = (weight == 0).sum(axis=(1, 3))
    assert set(zeros.ravel()) == {0, 8}


def test_depthwise_blocks_have_one_input_channel(context: Context) -> None:
    how = WeightPruning(sparsity=0.5, block=(8, 4), scope="layer")
    found = pruned(how, tiny("inverted_residual"), context)
    zeros = (found.initializers["depthwise.weight"].reshape(3, 8, 9) == 0).sum(axis=1)
    assert set(zeros.ravel()) == {0, 8}
    assert zeros.sum() == 24 * 9 // 2 // 8 * 8


def test_blocks_lie_alike_in_a_transposed_matrix() -> None:
    network = tiny("plain")
    model = network.edited()
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "transB":
                attribute.i = 0
    dense = [row.weight for row in network.layers if row.op == "dense"]
    for tensor in model.graph.initializer:
        if tensor.name in dense:
            turned = np.ascontiguousarray(numpy_helper.to_array(tensor).T)
            tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))
    expected = magnitude_masks(network, 0.5, "global", (4, 8))
    found = magnitude_masks(Network(model), 0.5, "global", (4, 8))
    for weight, mask in expected.items():
        np.testing.assert_array_equal(found[weight], mask.T if weight in dense else mask)


def test_what_is_zero_stays_zero(context: Context) -> None:
    sparse = pruned(WeightPruning(sparsity=0.9), tiny("residual"), context)
    again = pruned(WeightPruning(sparsity=0.5, fine_tune=SHORT), sparse, context)
    for row in sparse.layers:
        assert not again.initializers[row.weight][sparse.initializers[row.weight] == 0].any()


def test_steps_follow_the_cubic_schedule(context: Context) -> None:
    assert shares(0.8, 2) == pytest.approx([0.7, 0.8])
    assert shares(0.9, 3)[-1] == 0.9
    how = WeightPruning(sparsity=0.8, steps=2, fine_tune=SHORT)
    seen: list[tuple[float, str]] = []
    watched = replace(context, progress=lambda *report: seen.append(report))
    found = pruned(how, tiny("plain"), watched)
    assert found.sparsity == pytest.approx(0.8, abs=1e-3)
    assert [fraction for fraction, _ in seen] == [0.5, 1.0]
    assert seen[0][1].startswith("fine-tuning, step 1/2, epoch 1/1, loss ")
    assert len(json.loads((context.folder / "history.json").read_text())) == 2


# -- channels ----------------------------------------------------------------------------------


def with_weights(network: Network, change: Callable[[str, NDArray[Any]], NDArray[Any]]) -> Network:
    """The same graph with other weights: ``change`` gets a layer's name and its weight or bias."""
    model = network.edited()
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for name in node.input[1:] if node.op_type in ("Conv", "Gemm") else ():
            value = np.array(change(node.name, numpy_helper.to_array(tensors[name]).copy()))
            tensors[name].CopyFrom(numpy_helper.from_array(value, name))
    return Network(model)


def without_odd_channels(network: Network) -> Network:
    """The network with every odd prunable channel dead: its filters, bias and shift are zero."""
    fixed = fixed_layers(network.model)

    def dead(layer: str, value: NDArray[Any]) -> NDArray[Any]:
        if layer not in fixed:
            value[1::2] = 0
        return value

    model = with_weights(network, dead).edited()
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            for name in node.input[2:4]:
                zeros = np.zeros(tuple(tensors[name].dims), np.float32)
                tensors[name].CopyFrom(numpy_helper.from_array(zeros, name))
    return Network(model)


def bottleneck(b: Builder) -> str:
    """A shortcut of option A around two convolutions: only what is between them can go."""
    x = b.relu(b.batch_norm(b.conv("input", "conv1", 8, 3), "bn1"))
    y = b.relu(b.batch_norm(b.conv(x, "inner", 16, 3, stride=2), "bn2"))
    y = b.batch_norm(b.conv(y, "outer", 16, 3), "bn3")
    y = b.relu(b.add(y, b.pad_channels(b.subsample(x, 2), 4, 4)))
    return b.dense(b.flatten(b.global_average_pool(y)), "fc", 10)


def concatenated_sum(b: Builder) -> str:
    """Two concatenated branches plus a third: each branch's channels meet a part of the third's."""
    x = b.relu(b.conv("input", "conv1", 8, 3))
    both = b.concat([b.conv(x, "left", 4, 1), b.conv(x, "right", 8, 1)])
    y = b.relu(b.add(both, b.conv(x, "third", 12, 3)))
    return b.dense(b.flatten(b.global_average_pool(y)), "fc", 10)


def flattened_concatenation(b: Builder) -> str:
    """torch-pruning 1.6 loses count where a concatenation is flattened with rows and columns."""
    both = b.concat([b.conv("input", "left", 4, 3), b.conv("input", "right", 8, 3)])
    return b.dense(b.flatten(b.max_pool(b.relu(both), 4, 4)), "fc", 10)


def perceptron(b: Builder) -> str:
    y = b.relu(b.dense(b.flatten("input"), "fc1", 12))
    return b.dense(b.relu(b.dense(y, "fc2", 8)), "fc3", 10)


DRAWN = {
    draw.__name__: draw
    for draw in (bottleneck, concatenated_sum, perceptron, flattened_concatenation)
}
PRUNABLE = [
    name
    for name in (*TINY, *DRAWN)
    if name not in ("option_a", "grouped", "oblong", "flattened_concatenation")
]


def network_named(name: str) -> Network:
    if name in TINY:
        return tiny(name)
    builder = Builder((3, 16, 16), seed=1)
    return builder.network(DRAWN[name](builder))


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("name", PRUNABLE)
def test_removing_dead_channels_changes_no_score(name: str, scope: str, context: Context) -> None:
    from dlas.network.torch_module import to_torch

    network = without_odd_channels(network_named(name))
    how = ChannelPruning(sparsity=0.5, scope=scope)  # type: ignore[arg-type]
    found = pruned(how, network, context)
    onnx.checker.check_model(found.model, full_check=True)
    fixed = fixed_layers(network.model)
    for before, after in zip(network.layers, found.layers, strict=True):
        halves = 1 if before.name in fixed else 2
        assert after.out_channels == before.out_channels // halves, before.name
    expected = scores(network, IMAGES)
    np.testing.assert_allclose(scores(found, IMAGES), expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        module = to_torch(found, trainable=False)(torch.from_numpy(IMAGES))
    np.testing.assert_allclose(module.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_what_torch_pruning_gets_wrong_is_refused(context: Context) -> None:
    with pytest.raises(Refused, match="torch-pruning cannot follow this network's channels: "):
        pruned(ChannelPruning(sparsity=0.5), network_named("flattened_concatenation"), context)


def test_channels_that_cannot_be_followed_stay_and_are_reported(context: Context) -> None:
    found = pruned(ChannelPruning(sparsity=0.5), network_named("bottleneck"), context)
    report = {
        row["layer"]: row for row in json.loads((context.folder / "channels.json").read_text())
    }
    assert {name: row["after"] for name, row in report.items()} == {
        "conv1": 8, "inner": 8, "outer": 16, "fc": 10,
    }  # fmt: skip
    assert report["inner"] == {"layer": "inner", "before": 16, "after": 8, "kept_because": ""}
    assert "Pad" in report["outer"]["kept_because"]
    assert report["fc"]["kept_because"] == "its outputs are the class scores"
    assert found.macs < network_named("bottleneck").macs


@pytest.mark.parametrize("round_to,kept", [(1, 5), (4, 4), (8, 8), (64, 8)])
def test_channels_are_kept_in_multiples(round_to: int, kept: int, context: Context) -> None:
    how = ChannelPruning(sparsity=0.4, round_to=round_to)
    found = pruned(how, tiny("hard_swish"), context)
    assert [row.out_channels for row in found.layers] == [kept, kept, 10]


def test_globally_the_share_is_of_the_whole(context: Context) -> None:
    found = pruned(ChannelPruning(sparsity=0.4, scope="global"), tiny("residual"), context)
    # 8 channels of conv1, 16 of conv2, 16 of conv3 with the shortcut
    conv1, conv2, conv3, shortcut, _ = (row.out_channels for row in found.layers)
    assert conv1 + conv2 + conv3 == 40 - 16
    assert shortcut == conv3


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_layer_keeps_a_channel(scope: str, context: Context) -> None:
    how = ChannelPruning(sparsity=0.99, scope=scope)  # type: ignore[arg-type]
    found = pruned(how, tiny("inverted_residual"), context)
    assert [row.out_channels for row in found.layers] == [1, 1, 1, 1, 10]
    assert scores(found, IMAGES).shape == (4, 10)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_steps_count_from_the_first_network(scope: str, context: Context) -> None:
    how = ChannelPruning(sparsity=0.5, steps=3, fine_tune=SHORT, scope=scope)  # type: ignore[arg-type]
    found = pruned(how, tiny("squeeze_excite"), context)
    conv1, depthwise, reduce, widen, project, _ = (row.out_channels for row in found.layers)
    assert conv1 + reduce == 10
    assert conv1 == depthwise == widen == project
    assert scope == "global" or reduce == 2


@pytest.mark.parametrize("name", ["plain", "residual", "dense_block", "squeeze_excite"])
def test_fine_tuned_networks_run(name: str, context: Context) -> None:
    found = pruned(ChannelPruning(sparsity=0.3, fine_tune=SHORT), tiny(name), context)
    assert np.isfinite(scores(found, IMAGES)).all()


def test_weights_pruned_before_stay_pruned(context: Context) -> None:
    sparse = pruned(WeightPruning(sparsity=0.8), tiny("residual"), context)
    found = pruned(ChannelPruning(sparsity=0.3, fine_tune=SHORT), sparse, context)
    assert found.sparsity > 0.6


# -- channels that are left as zeros ---------------------------------------------------------------


def as_zeros(network: Network, context: Context, **fields: Any) -> tuple[Network, Network]:
    """The network without channels, and with them as zeros."""
    how = ChannelPruning(**{"sparsity": 0.5, **fields})
    removed = pruned(how, network, context)
    return removed, pruned(msgspec.structs.replace(how, keep_shape=True), network, context)


def check_zeros(network: Network, removed: Network, left: Network) -> None:
    assert [row.weights for row in left.layers] == [row.weights for row in network.layers]
    for smaller, row in zip(removed.layers, left.layers, strict=True):
        weight = left.initializers[row.weight]
        weight = weight.reshape(*weight.shape[:2], *row.kernel)
        assert KeptChannels.of(weight, row.groups).weight.size == smaller.weights, row.name
    assert removed.effective_macs == left.effective_macs < network.macs
    images = noise_images(network.input_shape, 3)
    expected = scores(removed, images)
    close = 1e-5 * float(np.abs(expected).max())
    np.testing.assert_allclose(scores(left, images), expected, rtol=1e-5, atol=close)


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("name", PRUNABLE)
def test_zeros_compute_what_removal_does(name: str, scope: Any, context: Context) -> None:
    network = network_named(name)
    check_zeros(network, *as_zeros(network, context, scope=scope))


@pytest.mark.parametrize(
    "model",
    [
        {"resnet": 20},
        {"resnet": 18, "width": 0.125},
        {"name": "mobilenetv2", "width": 0.25},
        {"densenet": 121},
    ],
    ids=str,
)
def test_zeros_in_networks_of_the_zoo(model: dict[str, Any], context: Context) -> None:
    member = parse_member("models", model, "$")
    assert isinstance(member, Model)
    network = randomized(member.build(noise_data((3, 32, 32), 10)))
    check_zeros(network, *as_zeros(network, context))


@pytest.mark.parametrize("name", ["residual", "inverted_residual", "dense_block"])
def test_fine_tuning_holds_channels_at_zero(name: str, context: Context) -> None:
    network = tiny(name)
    removed, left = as_zeros(network, context, steps=3, fine_tune=SHORT)
    check_zeros(network, removed, left)
    report = json.loads((context.folder / "channels.json").read_text())
    assert [row["after"] for row in report] == [row.out_channels for row in removed.layers]
    for row, old in zip(left.layers, report, strict=True):
        weight = left.initializers[row.weight]
        rows = np.abs(weight).reshape(len(weight), -1).sum(axis=1)
        assert (rows != 0).sum() == old["after"]


def test_filters_biases_and_shifts_are_zero(context: Context) -> None:
    _, left = as_zeros(tiny("plain"), context)
    gone = ~left.initializers["conv1.weight"].any(axis=(1, 2, 3))
    assert gone.sum() == 4
    for name in ("conv1.bias", "bn1.weight", "bn1.bias"):
        assert (left.initializers[name] == 0).tolist() == gone.tolist()
    read = left.initializers["fc1.weight"].reshape(-1, 8, 64).any(axis=(0, 2))
    assert read.tolist() == (~gone).tolist()


# -- both --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [WeightPruning, ChannelPruning])
def test_nothing_asked_is_the_identity(kind: type[Any], context: Context) -> None:
    for name in TINY:
        assert bytes_of(pruned(kind(sparsity=0.0), tiny(name), context)) == bytes_of(tiny(name))


@pytest.mark.parametrize("kind", [WeightPruning, ChannelPruning])
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_pruning_comes_before_reducing_precision(kind: type[Any], dtype: Any) -> None:
    sentence = kind(sparsity=0.5).refuses(tiny("plain", dtype))
    assert sentence == (
        f"{kind.name} takes a float32 network, this one's layers are {dtype}: "
        "prune before reducing precision"
    )


@pytest.mark.parametrize("name", ["option_a", "grouped"])
def test_nothing_to_remove_is_refused(name: str) -> None:
    sentence = ChannelPruning(sparsity=0.5).refuses(tiny(name))
    assert sentence is not None
    assert sentence.startswith(
        "channel_pruning can remove no channel here; of 'conv1', its channels"
    )


@pytest.mark.parametrize("name", ["weight_pruning", "channel_pruning"])
def test_specs(name: str) -> None:
    assert parse_member("optimizations", {name: 0.5}, "$").label() == f"{name}(0.5)"
    bad = {"sparsity": 1.2, "scope": "glob", "steps": 0}
    for field, value in bad.items():
        with pytest.raises(SpecError, match=rf"^\$\.{field}: "):
            parse_member("optimizations", {"name": name, "sparsity": 0.5, field: value}, "$")
    with pytest.raises(SpecError, match=r"^\$\.steps: more than one step needs fine_tune"):
        parse_member("optimizations", {"name": name, "sparsity": 0.5, "steps": 2}, "$")


def test_a_users_data_is_not_needed_without_fine_tuning(context: Context) -> None:
    nothing: Data = None  # type: ignore[assignment]
    for how in (WeightPruning(sparsity=0.5), ChannelPruning(sparsity=0.5)):
        assert how.apply(tiny("plain"), nothing, context).effective_macs < tiny("plain").macs
