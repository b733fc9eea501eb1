"""Where a sparse speedup went: the parts add up, nothing is lost where nothing is sparse; the
prediction, its file, and what a store must hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from dlas.algorithms.base import Algorithm
from dlas.algorithms.sparse.cost import Cost, Machine
from dlas.analysis.layouts import layout_changes
from dlas.analysis.sparse_cost import PlanCost, plan_cost
from dlas.analysis.sparse_prediction import predicted, write_costs
from dlas.analysis.sparse_speedup import LOSSES, PARTS, explained
from dlas.analysis.sparse_stacks import sparse_stack
from dlas.cli.main import app
from dlas.errors import DlasError, InputError
from dlas.hardware import probe as probing
from dlas.hardware.probe import Ceiling, Probe, Rate
from dlas.network import Network
from dlas.node import Node
from dlas.optimizations.magnitude import magnitude_masks, zeroed
from dlas.optimizations.sensitivity import read_costs
from dlas.plan import Plan, Step
from dlas.report.sparse_tables import (
    explanation_table,
    layer_table,
    predicted_layers,
    prediction_table,
)
from dlas.spec import parse_member
from dlas.stack import Stack
from dlas.store.results import Measured, Outcome
from dlas.store.store import Store, open_store
from dlas.target import host
from dlas.testing.networks import TINY, tiny

MACHINE = Machine()
SLOT_S = 1e-9
SECONDS = st.floats(1e-6, 1.0)
#: Layers that take the format: all, none, those where it pays.
THRESHOLDS = (0.0, 1.0, None)


@cache
def pruned(name: str, share: float = 0.9) -> Network:
    return zeroed(tiny(name), magnitude_masks(tiny(name), share, "layer"))


def plan_of(network: Network, **spec: Any) -> Plan:
    algorithm: Any = parse_member("algorithms", {"name": "cheapest", **spec}, "$")
    plan: Plan = algorithm.plan(network)
    return plan


@cache
def cost_of(name: str, threshold: float | None, share: float = 0.9) -> PlanCost:
    network = pruned(name, share)
    plan = plan_of(network, format="csr", threshold=threshold)
    return plan_cost(network, plan, plan_of(network), MACHINE)


# -- losses --------------------------------------------------------------------------------------


def test_every_part_of_an_estimate_is_told() -> None:
    assert set(LOSSES) == {*PARTS, "pace", "layouts", "not_converted", "rest"}
    assert {*PARTS, "products"} == set(Cost.__struct_fields__)


@settings(deadline=None)
@given(st.sampled_from(sorted(TINY)), st.sampled_from(THRESHOLDS), SECONDS, SECONDS)
def test_losses_add_up_to_the_difference(
    name: str, threshold: float | None, stack_s: float, dense_s: float
) -> None:
    found = explained(cost_of(name, threshold), SLOT_S, stack_s, dense_s)
    total = found.expected_s + sum(found.losses.values())
    assert total == pytest.approx(stack_s, rel=1e-9, abs=1e-12)
    assert found.measured_speedup == pytest.approx(dense_s / stack_s)
    assert tuple(found.losses) == tuple(LOSSES)


@settings(deadline=None)
@given(st.sampled_from(sorted(TINY)), SECONDS)
def test_a_dense_network_loses_nothing(name: str, seconds: float) -> None:
    network = tiny(name)
    plan = plan_of(network)
    found = explained(plan_cost(network, plan, plan, MACHINE), SLOT_S, seconds, seconds)
    assert found.expected_speedup == 1
    for loss in found.losses.values():
        assert loss == pytest.approx(0, abs=1e-9 * seconds)


def test_layers_that_stay_dense_lose_what_their_zeros_promise() -> None:
    cost = cost_of("residual", 1.0)
    found = explained(cost, SLOT_S, 1.0, 1.0)
    assert not any(layer.sparse for layer in cost.layers)
    assert found.losses["not_converted"] == pytest.approx(0.9, abs=0.01)
    assert not any(found.losses[name] for name in (*PARTS, "layouts"))


def test_sparse_layers_are_told_part_by_part() -> None:
    cost = cost_of("residual", 0.0)
    found = explained(cost, SLOT_S, 1.0, 1.0)
    assert all(layer.sparse for layer in cost.layers)
    assert found.losses["not_converted"] == found.losses["layouts"] == 0
    for part in ("index_reads", "packing", "outputs", "weights"):
        expected = sum(getattr(layer.sparse, part) for layer in cost.layers)
        assert found.losses[part] == pytest.approx(SLOT_S * expected)


def test_a_dense_time_that_was_not_measured_is_the_estimate() -> None:
    cost = cost_of("plain", None)
    found = explained(cost, SLOT_S, 1.0)
    assert found.dense_s == found.estimate_s == pytest.approx(SLOT_S * cost.dense)


# -- layouts -------------------------------------------------------------------------------------


def mixed(network: Network, sparse: Collection[str]) -> Plan:
    """The cheapest plan with these layers in a sparse format."""
    steps = (
        Step(step.layer, "direct", "csr") if step.layer in sparse else step
        for step in plan_of(network).steps
    )
    return Plan("mixed", tuple(steps))


def test_images_change_between_sparse_and_dense_layers() -> None:
    network = tiny("residual")
    found = layout_changes(network, mixed(network, ["conv2"]), lanes=8)
    around = [(change.reader, change.to) for change in found[:2]]
    assert around == [("conv2", "plain"), ("conv3", "blocked")]
    every = [row.name for row in network.layers]
    assert layout_changes(network, mixed(network, every), lanes=8) == []


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("every", [1, 2, 3])
def test_the_changes_are_those_of_the_compiled_network(name: str, every: int) -> None:
    """But those of the scores of dense layers, which are no images."""
    pytest.importorskip("tvm")
    from dlas.systems.tvm.blocked import translate_blocked
    from dlas.systems.tvm.sparse import SparseLayers

    network = pruned(name)
    convolutions = [row.name for row in network.layers if row.op == "conv"]
    plan = mixed(network, convolutions[1::every])
    module = translate_blocked(network, plan, host().lanes, SparseLayers(host(), 1))
    called = [
        call.args[0].name_hint
        for block in module["main"].body.blocks
        for call in (binding.value for binding in block.bindings)
        if getattr(getattr(call, "op", None), "name", "") == "relax.call_tir"
    ]
    made = Counter(
        "plain" if hint.startswith("unblock") else "blocked"
        for hint in called
        if hint.startswith(("block", "unblock"))
    )
    made["plain"] -= len(network.layers) - len(convolutions)
    changes = layout_changes(network, plan, host().lanes)
    assert Counter(change.to for change in changes) == +made


def test_a_change_reads_and_writes_every_number() -> None:
    network = tiny("residual")
    for change in layout_changes(network, mixed(network, ["conv2"]), lanes=8):
        assert change.bytes == 8 * change.numbers > 0
        assert change.slots(MACHINE) > 0


# -- prediction ----------------------------------------------------------------------------------


def test_more_zeros_take_less_time_and_the_file_is_one_that_pruning_reads(tmp_path: Path) -> None:
    network = tiny("residual")
    found = list(predicted(network, "direct", "csr", (0.5, 0.95), MACHINE))
    assert [one.level for one in found] == [0, 0.5, 0.95]
    assert found[0].cost.total == pytest.approx(found[0].cost.dense)
    assert found[2].cost.total < found[0].cost.total
    assert found[2].cost.expected_speedup == pytest.approx(20, rel=0.1)
    path = tmp_path / "costs.json"
    write_costs(found, SLOT_S, path)
    read = read_costs(path, network)
    assert {tuple(times) for times in read.values()} == {(0.0, 0.5, 0.95)}
    first = network.layers[0].name
    assert read[first][0.0] == pytest.approx(SLOT_S * found[0].cost.layers[0].dense)


@pytest.mark.parametrize(
    "algorithm, name, dtype, sentence",
    [
        ("winograd", "csr", "float32", "--primitive winograd has no sparse form"),
        ("cheapst", "csr", "float32", "did you mean 'cheapest'?"),
        ("cheapest", "kept_channels", "float32", "skips no single weights"),
        ("cheapest", "csv", "float32", "--format: 'csv' is not a weight format"),
        ("cheapest", "csr", "int8", "this network is int8"),
    ],
)
def test_what_cannot_be_predicted_is_a_sentence(
    algorithm: str, name: str, dtype: Any, sentence: str
) -> None:
    with pytest.raises(DlasError) as error:
        list(predicted(tiny("plain", dtype), algorithm, name, (0.5,), MACHINE))
    assert sentence in str(error.value)


def test_tables_fit_a_terminal() -> None:
    cost = cost_of("residual", None)
    found = list(predicted(tiny("residual"), "direct", "csr", (0.5, 0.9), MACHINE))
    console = Console(width=80, record=True)
    console.print(explanation_table(explained(cost, SLOT_S, 1e-3, 2e-3), cost))
    console.print(layer_table(cost, SLOT_S), prediction_table(found, SLOT_S))
    console.print(predicted_layers(found, SLOT_S))
    shown = console.export_text()
    for text in ("measured 2.00×", "not converted", "rest", "downsample", "stay", "50%"):
        assert text in shown


# -- the store -----------------------------------------------------------------------------------

PRUNING = {"name": "weight_pruning", "sparsity": 0.9}


def stack(algorithm: Any, optimizations: Any = PRUNING, system: Any = "tvm") -> Stack:
    choices = {"dataset": "synthetic", "model": "tiny", "hardware": "null"}
    return Stack.parse(
        {**choices, "optimizations": optimizations, "algorithm": algorithm, "system": system}
    )


BUSY = {"kind": "busy", "sentence": "others were at work"}
CSR = stack({"name": "direct", "format": "csr"})
DENSE = stack("direct")
UNPRUNED = stack("direct", "none")


def recorded(root: Path, *timed: tuple[Stack, float | None], together: bool = True) -> Store:
    """A store with these stacks, each measured to take so long, ``together`` or one by one; None:
    not measured."""
    store = open_store(root)
    members = []
    for one, seconds in timed:
        chain = one.chain()
        store.results.add_nodes(chain)
        for node in chain[1:-2]:
            add_artifact(store, node, one)
        if seconds is not None:
            group = "" if together else chain[-1].key
            measured = Measured("2026", np.full(9, seconds), {"group": group, "warnings": [BUSY]})
            store.results.add_observation(chain[-1].key, measured, 1.0)
        members.append({"key": chain[-1].key, "stack": one.spec(), "labels": one.labels()})
    store.results.save_study("s", {}, members)
    return store


def add_artifact(store: Store, node: Node, one: Stack) -> None:
    if store.artifacts.find(node.key) is not None:
        return
    after = one.optimizations and node.layer != "models"
    network = pruned("plain") if after else tiny("plain")
    folder = store.artifacts.begin(node.key)
    if node.layer == "algorithms":
        cast(Algorithm, one.algorithm).plan(network).save(folder)
    else:
        network.save(folder)
    store.artifacts.finish(node.key, folder)


def key(one: Stack) -> str:
    return one.chain()[-1].key


def test_a_stack_is_compared_with_the_same_in_dense_form(tmp_path: Path) -> None:
    store = recorded(tmp_path, (CSR, 0.002), (UNPRUNED, 0.009), (DENSE, 0.008))
    found = sparse_stack(store, key(CSR))
    assert (found.stack_s, found.dense_s) == (0.002, 0.008)
    said = "others were at work"
    assert found.doubts == (f"this stack: {said}", f"the dense stack: {said}")
    assert found.threads == 1
    cost = found.cost(MACHINE)
    assert cost.expected_speedup == pytest.approx(10, rel=0.05)
    assert not cost.changes  # untuned layers read images as they lie


def test_else_with_the_same_that_is_not_pruned(tmp_path: Path) -> None:
    store = recorded(tmp_path, (CSR, 0.002), (UNPRUNED, 0.009), (DENSE, None), together=False)
    found = sparse_stack(store, key(CSR))
    assert found.dense_s == 0.009
    assert "not timed side by side" in found.doubts[-1]


def test_without_either_dense_time_is_an_estimate(tmp_path: Path) -> None:
    found = sparse_stack(recorded(tmp_path, (CSR, 0.002)), key(CSR))
    assert found.dense_s is None
    assert "add the algorithm without a format to the study" in found.doubts[-1]


@pytest.mark.parametrize(
    "one, seconds, sentence",
    [
        (DENSE, 0.1, "no layer is in a sparse format"),
        (stack("best"), 0.1, "dlas explain shows what every way of a layer costs"),
        (stack("vendor", system="onnxruntime"), 0.1, "onnxruntime chooses its own kernels"),
        (CSR, None, "was not measured: run its study"),
    ],
)
def test_what_cannot_be_explained_is_a_sentence(
    tmp_path: Path, one: Stack, seconds: float | None, sentence: str
) -> None:
    with pytest.raises(InputError) as error:
        sparse_stack(recorded(tmp_path, (one, seconds)), key(one))
    assert key(one)[:12] in str(error.value)
    assert sentence in str(error.value)


def test_a_failure_is_told(tmp_path: Path) -> None:
    store = recorded(tmp_path, (CSR, None))
    store.results.add_outcome(CSR.chain()[-2].key, Outcome("failed", "no compiler"))
    with pytest.raises(InputError, match="was not measured: failed, no compiler"):
        sparse_stack(store, key(CSR))


def test_an_artifact_that_is_gone_is_told(tmp_path: Path) -> None:
    store = recorded(tmp_path, (CSR, 0.1))
    folder = store.artifacts.place(CSR.chain()[-3].key)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is not in the store: run the study"):
        sparse_stack(store, key(CSR))


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = Rate(1e11, 1e11, 0.0)
    found = Probe(
        fingerprint={}, taken_at="", load_average=0, compiler="cc", cores=1,
        arithmetic={"fp32": Ceiling("fma", rate, rate)}, reading={}, clock_hz=None, absent={},
    )  # fmt: skip
    monkeypatch.setattr(probing, "cached_probe", lambda folder: found)


@pytest.mark.usefixtures("probed")
def test_the_command_explains_and_predicts(tmp_path: Path) -> None:
    recorded(tmp_path, (CSR, 0.002), (DENSE, 0.008))

    def called(*arguments: str) -> str:
        words = ["explain-speedup", key(CSR)[:12], "--store", str(tmp_path), *arguments]
        ran = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
        assert ran.exit_code == 0, ran.exception
        return ran.output

    said = called("--layers")
    assert "measured 4.00×" in said
    assert "conv1" in said
    costs = tmp_path / "costs.json"
    said = called("--predict", "--levels", "90", "--primitive", "direct", "--json", str(costs))
    assert "90%" in said
    assert {tuple(times) for times in json.loads(costs.read_text()).values()} == {("0", "0.9")}


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["ab"], "no stack with a key that starts with 'ab'"),
        (["ab", "--predict", "--levels", "0"], "--levels: '0' is not a percentage"),
        (["ab", "--json", "x.json"], "--json writes what is predicted: add --predict"),
        (["none.toml", "--predict"], "none.toml: there is no such file"),
    ],
)
def test_wrong_arguments_are_sentences(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    words = ["explain-speedup", *arguments, "--store", str(tmp_path)]
    ran = CliRunner().invoke(app, words)
    assert isinstance(ran.exception, DlasError)
    assert sentence in str(ran.exception)
