"""Sparsity by what a layer gains per loss: the layer that does not matter goes first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from dlas.algorithms.formats.bsr import LONGEST_SIDE
from dlas.context import Context
from dlas.errors import InputError, SpecError
from dlas.evaluate import scores
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.optimizations.allocation import allocated
from dlas.optimizations.sensitivity import Curve
from dlas.optimizations.weight_pruning import WeightPruning
from dlas.spec import parse_member
from dlas.testing.networks import noise, tiny
from dlas.training import Recipe


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path, tmp_path / "checkpoints")


def two_branches() -> Network:
    """Two equal convolutions, of which the second is scaled down to nothing."""
    b = Builder((3, 16, 16), seed=1)
    x = b.relu(b.conv("input", "stem", 8, 3))
    y = b.add(b.conv(x, "matters", 16, 3), b.batch_norm(b.conv(x, "idle", 16, 3), "bn"))
    network = b.network(b.dense(b.flatten(b.global_average_pool(b.relu(y))), "fc", 10))
    model = network.edited()
    for tensor in model.graph.initializer:
        if tensor.name == "bn.weight":
            tensor.CopyFrom(numpy_helper.from_array(np.full(16, 1e-4, np.float32), tensor.name))
    return Network(model)


def sparsities(network: Network) -> dict[str, float]:
    return {row.name: 1 - row.nonzeros / row.weights for row in network.layers}


def by_gain(context: Context, **fields: Any) -> Network:
    network = two_branches()
    how = WeightPruning(scope="gain", samples=16, **fields)
    assert how.refuses(network) is None
    return how.apply(network, noise(network), context)


@pytest.mark.parametrize("block", [(1, 1), (4, 4)])
def test_the_layer_that_does_not_matter_goes_first(block: Any, context: Context) -> None:
    found = by_gain(context, sparsity=0.5, block=block)
    assert found.sparsity == pytest.approx(0.5, abs=1e-3 if block == (1, 1) else 0.02)
    assert sparsities(found)["idle"] == pytest.approx(0.99, abs=0.02)
    assert sparsities(found)["matters"] < 0.5


def test_what_was_measured_and_chosen_is_written(context: Context) -> None:
    found = by_gain(context, sparsity=0.5)
    report = {
        row["layer"]: row for row in json.loads((context.folder / "sparsities.json").read_text())
    }
    assert {name: row["sparsity"] for name, row in report.items()} == sparsities(found)
    matters, idle = report["matters"]["measured"], report["idle"]["measured"]
    assert matters[0] == {"sparsity": 0.0, "loss_nats": 0.0, "gain": 0.0}
    assert [round(level["sparsity"], 2) for level in idle[1:]] == [
        0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99
    ]  # fmt: skip
    for one, other in zip(matters[1:], idle[1:], strict=True):
        assert one["loss_nats"] > 100 * abs(other["loss_nats"])
        assert one["gain"] == other["gain"] == pytest.approx(one["sparsity"] * 16 * 8 * 9 * 256)
    assert report["fc"]["gain_unit"] == "macs"


def test_the_share_is_exact(context: Context) -> None:
    for sparsity in (0.0, 0.314, 0.9, 0.99):
        found = by_gain(context, sparsity=sparsity)
        total = sum(row.weights for row in found.layers)
        assert total - found.nonzeros == round(sparsity * total)


def test_seconds_replace_macs(context: Context, tmp_path: Path) -> None:
    """Only one layer becomes faster, and only when it is very sparse."""
    slow = {"0": 1e-3, "0.5": 2e-3, "0.9": 1e-3, "0.99": 1e-3}
    costs = {name: slow for name in ("stem", "idle", "fc")}
    file = tmp_path / "costs.json"
    file.write_text(json.dumps({**costs, "matters": {"0": 1e-3, "0.8": 1e-3, "0.99": 1e-4}}))
    found = by_gain(context, sparsity=0.3, costs=str(file))
    total = sum(row.weights for row in found.layers)
    assert total - found.nonzeros == round(0.3 * total)
    assert sparsities(found)["matters"] > 0.6
    assert sparsities(found)["idle"] == 0
    [fc] = [r for r in json.loads((tmp_path / "sparsities.json").read_text()) if r["layer"] == "fc"]
    assert fc["gain_unit"] == "s"
    assert fc["measured"][1]["gain"] == pytest.approx(-1e-3)


def test_fine_tuning_holds_the_zeros(context: Context) -> None:
    short = Recipe(epochs=1, batch=8, lr=0.01)
    found = by_gain(context, sparsity=0.5, steps=2, fine_tune=short, block=(2, 2))
    assert found.sparsity == pytest.approx(0.5, abs=0.02)
    assert sparsities(found)["idle"] > 0.9


def test_a_killed_measurement_goes_on_where_it_was(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlas.optimizations import sensitivity

    whole = by_gain(replace(context, checkpoints=context.folder / "others"), sparsity=0.5)
    runs = 0

    def counted(*given: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs == 20:  # in the third layer
            raise KeyboardInterrupt
        return scores(*given)

    monkeypatch.setattr(sensitivity, "scores", counted)
    with pytest.raises(KeyboardInterrupt):
        by_gain(context, sparsity=0.5)
    runs = 100
    assert sparsities(by_gain(context, sparsity=0.5)) == sparsities(whole)
    assert runs == 100 + 1 + 2 * 7


def test_zeros_that_are_there_count(context: Context) -> None:
    sparse = WeightPruning(sparsity=0.6, scope="layer").apply(
        two_branches(), noise(two_branches()), context
    )
    how = WeightPruning(sparsity=0.7, scope="gain", samples=16)
    found = how.apply(sparse, noise(sparse), context)
    assert found.sparsity == pytest.approx(0.7, abs=1e-3)
    for name, share in sparsities(sparse).items():
        assert sparsities(found)[name] >= share


def test_a_level_behind_a_worse_one_is_seen() -> None:
    """Half sparse the first layer is slower than dense, and much faster when 90 % are zeros."""
    hidden = Curve("a", "a", 100, (0, 50, 90), (0.0, 0.1, 0.2), (0.0, -1.0, 8.0), "s")
    plain = Curve("b", "b", 100, (0, 50, 90), (0.0, 0.1, 0.2), (0.0, 1.0, 2.0), "s")
    assert allocated([hidden, plain], 95) == {"a": 90, "b": 5}


@pytest.mark.parametrize(
    "fields,sentence",
    [
        ({"block": [0, 4]}, r"^\$\.block\[0\]: 0 is not in \[1, 64\]"),
        ({"block": [4, 65]}, r"^\$\.block\[1\]: 65 is not in \[1, 64\]"),
        ({"block": [4]}, r"^\$\.block: \[4\] is not a list of 2"),
        ({"block": 4}, r"^\$\.block: 4 is not a list of 2"),
        ({"block": [1.5, 1]}, r"^\$\.block\[0\]: 1.5 is not a whole number in \[1, 64\]"),
        ({"scope": "gains"}, r"^\$\.scope: .*did you mean 'gain'"),
        ({"scope": "gain", "samples": 0}, r"^\$\.samples: 0 is not in \[1, inf\)"),
        ({"scope": "gain", "sparsity": 0.995},
         r'^\$\.sparsity: scope = "gain" measures layers up to 0.99; 0.995 is above'),
        ({"costs": "costs.json"}, r'^\$\.costs: only scope = "gain" reads costs'),
    ],
)  # fmt: skip
def test_specs(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        parse_member("optimizations", {"name": "weight_pruning", "sparsity": 0.5, **fields}, "$")


def test_blocks_are_as_large_as_those_of_the_format() -> None:
    fields = {"weight_pruning": 0.5, "block": [LONGEST_SIDE, LONGEST_SIDE]}
    parse_member("optimizations", fields, "$")
    with pytest.raises(SpecError, match=r"^\$\.block\[0\]: "):
        parse_member("optimizations", {**fields, "block": [LONGEST_SIDE + 1, 1]}, "$")


def test_labels() -> None:
    how = parse_member("optimizations", {"weight_pruning": 0.5, "block": [16, 1]}, "$")
    assert how.label() == "weight_pruning(0.5, block=(16, 1))"


@pytest.mark.parametrize(
    "text,sentence",
    [
        ("no json", "JSON is malformed"),
        ('{"stem": 3}', r"Expected `object`, got `int`.*write \{layer: \{level: seconds\}\}"),
        ('{"stem": {"0": 1, "0.5": 1}}', "the network's layer 'matters' is missing"),
        ('{"stem": {"0": 1}}', "layer 'stem' needs its seconds at the level 0 and at one more"),
        ('{"stem": {"0.5": 1, "0.9": 1}}', "layer 'stem' needs its seconds at the level 0"),
        ('{"stem": {"90": 1}}', r"layer 'stem': the level '90' is not a share of zeros in \[0, 1"),
        ('{"stem": {"half": 1}}', "the level 'half' is not a share of zeros"),
        ('{"stem": {"0": -1}}', "layer 'stem': -1 seconds at the level 0"),
    ],
)
def test_costs_that_are_something_else(
    text: str, sentence: str, context: Context, tmp_path: Path
) -> None:
    file = tmp_path / "costs.json"
    file.write_text(text)
    with pytest.raises(InputError, match=f"costs.json: .*{sentence}|costs.json: {sentence}"):
        by_gain(context, sparsity=0.5, costs=str(file))


def test_too_few_images_are_refused(context: Context) -> None:
    network = tiny("plain")
    with pytest.raises(InputError, match="measures layers on 64 images and the data set has 16"):
        WeightPruning(sparsity=0.5, scope="gain").apply(network, noise(network), context)


def test_scores_that_are_not_finite_are_refused(context: Context) -> None:
    network = two_branches()
    model = network.edited()
    for tensor in model.graph.initializer:
        if tensor.name == "fc.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.full(10, np.inf, np.float32), tensor.name))
    how = WeightPruning(sparsity=0.5, scope="gain", samples=4)
    with pytest.raises(InputError, match="scores of the calibration images are not all finite"):
        how.apply(Network(model), noise(network), context)
