"""Laws of rewriting a network: folding BatchNorm keeps the function, pruning keeps its promise."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlas.evaluate import scores
from dlas.network import Network
from dlas.network.fold import fold_batch_norm
from dlas.optimizations.magnitude import magnitude_masks, zeroed
from dlas.testing.networks import TINY, noise_images, randomized, tiny

names = st.sampled_from(sorted(TINY))
seeds = st.integers(0, 2**16)
shares = st.floats(0, 1, exclude_max=True)
scopes = st.sampled_from(["global", "layer"])
IMAGES = noise_images((3, 16, 16), 2)


def operators(network: Network) -> set[str]:
    return {node.op_type for node in network.model.graph.node}


@settings(max_examples=30, deadline=None)
@given(names, seeds)
def test_folding_keeps_the_function(name: str, seed: int) -> None:
    network = randomized(tiny(name), seed)
    folded = Network(fold_batch_norm(network.model))
    onnx.checker.check_model(folded.model, full_check=True)
    assert "BatchNormalization" not in operators(folded)
    np.testing.assert_allclose(
        scores(folded, IMAGES), scores(network, IMAGES), rtol=1e-4, atol=1e-5
    )
    again = fold_batch_norm(folded.model)
    assert again.SerializeToString(deterministic=True) == (
        folded.model.SerializeToString(deterministic=True)
    )


@settings(max_examples=20, deadline=None)
@given(names, shares)
def test_folding_keeps_zeros_and_layers(name: str, share: float) -> None:
    network = pruned(tiny(name), share, "global")
    folded = Network(fold_batch_norm(network.model))
    for before, after in zip(network.layers, folded.layers, strict=True):
        old, new = network.initializers[before.weight], folded.initializers[after.weight]
        np.testing.assert_array_equal(old == 0, new == 0)
        assert before.name == after.name
    assert folded.macs == network.macs


def pruned(network: Network, share: float, scope: str) -> Network:
    return zeroed(network, magnitude_masks(network, share, scope))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(names, shares, scopes)
def test_sparsity_is_exact_to_rounding(name: str, share: float, scope: str) -> None:
    found = pruned(tiny(name), share, scope)
    rows = found.layers
    zeros = [row.weights - row.nonzeros for row in rows]
    if scope == "global":
        assert sum(zeros) == round(share * sum(row.weights for row in rows))
    else:
        assert zeros == [round(share * row.weights) for row in rows]


@settings(max_examples=20, deadline=None)
@given(names, shares, shares, scopes)
def test_more_is_pruned_of_the_same(name: str, a: float, b: float, scope: str) -> None:
    """Pruning to a, then to b ≥ a, is pruning to b; and to a again changes nothing."""
    low, high = sorted((a, b))
    once = pruned(tiny(name), low, scope)
    for found, expected in (
        (pruned(once, low, scope), once),
        (pruned(once, high, scope), pruned(tiny(name), high, scope)),
    ):
        for row in expected.layers:
            np.testing.assert_array_equal(
                found.initializers[row.weight], expected.initializers[row.weight]
            )


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(set(TINY) - {"option_a", "grouped"})),
    shares,
    scopes,
    st.integers(1, 9),
)
def test_channels_are_removed_for_good(name: str, share: float, scope: str, round_to: int) -> None:
    pytest.importorskip("torch_pruning")
    from dlas.optimizations.dependency import ChannelRemover

    network = tiny(name)
    found = ChannelRemover(scope, round_to).prune(network, share)
    onnx.checker.check_model(found.model, full_check=True)
    assert np.isfinite(scores(found, IMAGES)).all()
    assert found.macs <= network.macs
    assert found.layers[-1].out_channels == network.layers[-1].out_channels
    for before, after in zip(network.layers, found.layers, strict=True):
        kept = after.out_channels
        assert 1 <= kept <= before.out_channels
        assert kept == before.out_channels or kept % round_to == 0
        if scope == "layer" and round_to == 1 and kept != before.out_channels:
            assert kept == max(1, before.out_channels - round(share * before.out_channels))


@settings(max_examples=10, deadline=None)
@given(names)
def test_nothing_removed_is_the_identity(name: str) -> None:
    pytest.importorskip("torch_pruning")
    from dlas.optimizations.dependency import ChannelRemover

    assert ChannelRemover("layer", 8).prune(tiny(name), 0.0) is tiny(name)
    weights = {row.weight: tiny(name).initializers[row.weight] for row in tiny(name).layers}
    for initializer, mask in magnitude_masks(tiny(name), 0.0, "global").items():
        np.testing.assert_array_equal(mask, weights[initializer] != 0)
