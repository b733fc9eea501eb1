"""int8_qat: the graph of int8 with better numbers, found by training with rounding in the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest

from dlas.context import Context
from dlas.data import Data, open_data
from dlas.datasets.digits import Digits
from dlas.errors import SpecError
from dlas.evaluate import accuracy, scores
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.optimizations.int8 import Int8
from dlas.optimizations.int8_qat import Int8Qat
from dlas.optimizations.weight_pruning import WeightPruning
from dlas.spec import parse_member
from dlas.testing.networks import TINY, noise, noise_images, tiny
from dlas.training import Recipe, train

torch = pytest.importorskip("torch")
needs_digits = pytest.mark.skipif(Digits.missing() is not None, reason=str(Digits.missing()))

#: Clips a fifth of what activations hold.
CLIPPING = Int8(samples=64, calibration="percentile", percentile=80)
RANGES: tuple[Literal["learned", "fixed"], ...] = ("learned", "fixed")


def context(folder: Path) -> Context:
    return Context(folder, folder / "checkpoints")


def constants(network: Network) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in network.initializers.items()}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("digits")
    Digits().make(context(folder))
    return open_data(folder)


@pytest.fixture(scope="module")
def trained(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Network:
    b = Builder(digits.shape)
    x = b.relu(b.batch_norm(b.conv("input", "conv1", 8, 3, stride=2), "bn1"))
    y = b.relu(b.batch_norm(b.conv(x, "conv2", 8, 3), "bn2"))
    x = b.relu(b.add(x, b.batch_norm(b.conv(y, "conv3", 8, 3), "bn3")))
    x = b.relu(b.batch_norm(b.conv(x, "conv4", 16, 3, stride=2), "bn4"))
    network = b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10))
    recipe = Recipe(epochs=5, batch=32, lr=0.2)
    folder = tmp_path_factory.mktemp("trained")
    return train(network, digits, recipe, seed=0, context=context(folder))


@needs_digits
@pytest.mark.parametrize("ranges,regained", [("learned", 0.8), ("fixed", 0.5)])
def test_regains_what_rounding_lost(
    ranges: Literal["learned", "fixed"], regained: float, trained: Network, digits: Data,
    tmp_path: Path,
) -> None:  # fmt: skip
    tuning = Int8Qat(int8=CLIPPING, fine_tune=Recipe(epochs=2, lr=0.01, batch=32), ranges=ranges)
    before = accuracy(trained, digits.test)
    lost = before - accuracy(CLIPPING.apply(trained, digits, context(tmp_path)), digits.test)
    left = before - accuracy(tuning.apply(trained, digits, context(tmp_path)), digits.test)
    assert lost > 0.1
    assert left < (1 - regained) * lost


@pytest.mark.parametrize("ranges", RANGES)
@pytest.mark.parametrize("name", TINY)
def test_without_training_it_is_int8(
    name: str, ranges: Literal["learned", "fixed"], tmp_path: Path
) -> None:
    network, int8 = tiny(name), Int8(samples=16)
    data = noise(network)
    start = int8.apply(network, data, context(tmp_path))
    found = Int8Qat(int8=int8, fine_tune=Recipe(epochs=0), ranges=ranges).apply(
        network, data, context(tmp_path)
    )
    assert constants(found) == constants(start)
    assert found.model.graph.node == start.model.graph.node


@pytest.mark.parametrize("ranges", RANGES)
@pytest.mark.parametrize("name", ["plain", "squeeze_excite"])
def test_training_sees_what_runs(
    name: str, ranges: Literal["learned", "fixed"], tmp_path: Path
) -> None:
    """The trained module and the written graph agree, scales, integers and biases."""
    from dlas.network.torch_quantized import to_trainable

    network, recipe = tiny(name), Recipe(epochs=2, lr=0.01, batch=8)
    data, int8 = noise(network), Int8(samples=16)
    start = int8.apply(network, data, context(tmp_path))
    tuned = Int8Qat(int8=int8, fine_tune=recipe, ranges=ranges).apply(
        network, data, context(tmp_path)
    )
    onnx.checker.check_model(tuned.model, full_check=True)
    assert tuned.dtype == "int8"
    kinds = [{n: (a.shape, a.dtype) for n, a in q.initializers.items()} for q in (start, tuned)]
    assert kinds[0] == kinds[1]
    changed = {n for n, value in constants(tuned).items() if value != constants(start)[n]}
    assert changed.intersection(row.weight for row in tuned.layers)
    scales = {n for n in changed if n.endswith("_scale") and "bias" not in n}
    assert bool(scales) == (ranges == "learned")
    images = noise_images((3, 16, 16), 4, seed=1)
    expected = scores(tuned, images)
    with torch.no_grad():
        found = to_trainable(tuned, learned=False)(torch.from_numpy(images)).numpy()
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)
    for row in tuned.layers:
        node = next(n for n in tuned.model.graph.node if n.name == row.name)
        _check_bias_scale(tuned, node)


def _check_bias_scale(network: Network, node: onnx.NodeProto) -> None:
    """A 32-bit bias adds to sums of products without being rescaled."""
    producers = {name: n for n in network.model.graph.node for name in n.output}
    data, weight, bias = (network.initializers[producers[name].input[1]] for name in node.input[:3])
    np.testing.assert_allclose(bias, data * weight, rtol=1e-5)


def test_pruned_weights_stay_zero(tmp_path: Path) -> None:
    network = tiny("residual")
    data, recipe = noise(network), Recipe(epochs=2, lr=0.02, batch=8)
    pruned = WeightPruning(sparsity=0.5).apply(network, data, context(tmp_path))
    tuned = Int8Qat(int8=Int8(samples=16), fine_tune=recipe).apply(pruned, data, context(tmp_path))
    rows = {row.name: row for row in tuned.layers}
    for row in pruned.layers:
        zeros = pruned.weight(row) == 0
        assert not tuned.weight(rows[row.name])[zeros].any()
    assert tuned.sparsity >= 0.5


def test_the_same_to_the_bit_every_time(tmp_path: Path) -> None:
    network, qat = tiny("plain"), Int8Qat(int8=Int8(samples=16), fine_tune=Recipe(epochs=1))
    data = noise(network)
    first, second = (
        qat.apply(network, data, context(tmp_path / folder)) for folder in ("one", "two")
    )
    assert constants(first) == constants(second)


def test_spec(tmp_path: Path) -> None:
    given = {"name": "int8_qat", "int8": {"samples": 16}, "ranges": "fixed"}
    found = parse_member("optimizations", given, "$")
    assert found == Int8Qat(int8=Int8(samples=16), ranges="fixed")
    assert {"dlas.int8", "dlas.training", "onnxruntime", "torch"} <= found.tools().keys()
    with pytest.raises(SpecError, match=r"\$\.int8\.sample"):
        parse_member("optimizations", {"name": "int8_qat", "int8": {"sample": 16}}, "$")
    assert "takes a float32 network" in str(Int8Qat().refuses(tiny("plain", "int8")))
