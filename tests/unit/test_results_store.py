"""The database: what was recorded comes back, history is kept, faults are sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dlas.errors import StoreError
from dlas.stack import Stack
from dlas.store.frame import results_frame
from dlas.store.results import Measured, Outcome, Results
from dlas.store.schema import RESULTS

BASE = {"dataset": "synthetic", "model": "tiny", "system": "onnxruntime", "hardware": "null"}
RECORD = {
    "group": "g",
    "blocks": [2, 1],
    "first_run_s": 5.0,
    "peak_bytes": 1000,
    "energy_j": None,
    "warnings": [{"kind": "busy", "sentence": "busy"}, {"kind": "drift", "sentence": "drift"}],
}
NUMBERS = {"effective_macs": 50.0, "nonzeros": 5.0, "size_bytes": 100.0, "sparse_bytes": 80.0}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(f"sqlite:///{tmp_path / 'r.sqlite'}")


def fill(results: Results, *stacks: Stack) -> None:
    rows = []
    for stack in stacks:
        chain = stack.chain()
        results.add_nodes(chain)
        rows.append({"key": chain[-1].key, "stack": stack.spec(), "labels": stack.labels()})
    results.save_study("s", {}, rows)


def test_outcomes_come_back_and_the_last_counts(results: Results) -> None:
    chain = Stack.parse(BASE).chain()
    results.add_nodes(chain)
    results.add_nodes(chain)
    key = chain[0].key
    results.add_outcome(key, Outcome("failed", "no luck"))
    results.add_outcome(key, Outcome("ok", "", 2.0, {"train_images": 3}, {"note": "fine"}))
    found = results.outcomes([key, "unknown"])
    assert found == {key: Outcome("ok", "", 2.0, {"train_images": 3}, {"note": "fine"})}
    assert results.nodes([chain[-1].key]).keys() == {n.key for n in chain}
    assert results.usual_seconds() == {("datasets", "synthetic"): 2.0}


def test_a_key_is_explained_by_its_row(results: Results) -> None:
    chain = Stack.parse(BASE).chain()
    results.add_nodes(chain)
    for key, node in results.nodes([chain[-1].key]).items():
        assert node.key == key


def test_observations_are_appended(results: Results) -> None:
    key = Stack.parse(BASE).chain()[-1].key
    fill(results, Stack.parse(BASE))
    for value in (1.0, 2.0):
        results.add_observation(
            key, Measured("2026-01-01", np.array([value] * 3), {**RECORD, "warnings": []}), 0.1
        )
    first, second = results.observations([key])[key]
    assert first.samples_s.tolist() == [1.0] * 3
    assert second.samples_s.tolist() == [2.0] * 3
    assert results.observed([key, "other"]) == {key}


def test_frame(results: Results, tmp_path: Path) -> None:
    plain = Stack.parse(BASE)
    pruned = Stack.parse({**BASE, "optimizations": [{"weight_pruning": 0.5}]})
    refused = Stack.parse({**BASE, "optimizations": ["float16"]})
    fill(results, plain, pruned, refused)
    for stack, seconds in ((plain, 4.0), (pruned, 2.0)):
        for node in stack.chain():
            metrics = {
                "models": {"accuracy": 0.9, "macs": 100.0, "parameters": 10.0, **NUMBERS},
                "optimizations": {"promised_speedup": 2.0, "accuracy_before": 0.9,
                                  "accuracy_after": 0.8, **NUMBERS},
                "systems": {"executed_accuracy": 0.75, "label_agreement": 1.0},
            }.get(node.layer, {})  # fmt: skip
            if node.layer == "hardware":
                measured = Measured("t", np.full(20, seconds), {**RECORD, "blocks": [10, 10]})
                results.add_observation(node.key, measured, 1.0)
            else:
                results.add_outcome(node.key, Outcome("ok", "", 1.0, metrics))
    results.add_outcome(refused.chain()[2].key, Outcome("refused", "because"))

    frame = results_frame(results, "s").set_index("optimizations")
    assert [*frame.columns] == [c.name for c in RESULTS if c.name != "optimizations"]
    assert frame.loc["weight_pruning(0.5)", "measured_speedup"] == 2.0
    assert frame.loc["weight_pruning(0.5)", "promised_speedup"] == 2.0
    assert frame.loc["none", "latency_s"] == 4.0
    assert frame.loc["none", "accuracy"] == 0.75
    assert frame.loc["none", "warnings"] == "busy; drift"
    row = frame.loc["float16"]
    assert (row["status"], row["stage"], row["message"]) == ("refused", "optimizations", "because")


def test_faults_are_sentences(results: Results, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no study 'x' in this store; nothing was run yet"):
        results.members("x")
    with pytest.raises(StoreError, match="is not a database URL"):
        Results("nonsense")
    (tmp_path / "bad.sqlite").write_bytes(b"this is not a database, not at all" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        Results(f"sqlite:///{tmp_path / 'bad.sqlite'}")


def test_a_speedup_over_another_run_is_marked(results: Results) -> None:
    stacks = [Stack.parse(BASE), Stack.parse({**BASE, "optimizations": ["float16"]})]
    fill(results, *stacks)
    for group, stack in zip("ab", stacks, strict=True):
        record = {**RECORD, "group": group, "warnings": [], "blocks": [10, 10]}
        measured = Measured("t", np.full(20, 1.0), record)
        results.add_observation(stack.chain()[-1].key, measured, 1.0)
    warnings = results_frame(results, "s")["warnings"]
    assert warnings[0] == ""
    assert "not taken side by side" in warnings[1]
