"""A study's results as a pandas frame: one row per stack, the columns of ``schema.RESULTS``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlas.measure.statistics import rounds_interval
from dlas.node import Node, canonical, lineage
from dlas.store.choices import choices
from dlas.store.results import Measured, Outcome, Results
from dlas.store.schema import RESULTS

if TYPE_CHECKING:
    import pandas as pd

_LABELS = ("dataset", "model", "optimizations", "algorithm", "system", "hardware")
_APART = "its speedup is over a measurement that was not taken side by side with it"
_DENSE = {"format": "dense", "threshold": None}  # fields of an algorithm
_FROM_MODEL = {"baseline_accuracy": "accuracy", "macs": "macs", "parameters": "parameters"}
_UNTRAINED = ("accuracy", "baseline_accuracy")
_FROM_NETWORK = ("effective_macs", "nonzeros", "size_bytes", "sparse_bytes")


def results_frame(results: Results, study: str) -> pd.DataFrame:
    """The stacks of a study, in its order. Where a stack was measured several times, the last
    measurement counts; all of them stay in the store."""
    import pandas as pd

    members = results.members(study)
    keys = [member["key"] for member in members]
    nodes = results.nodes(keys)
    outcomes = results.outcomes(list(nodes))
    measured = results.last_observations(keys)
    rows = [
        _row(study, member, lineage(nodes, member["key"]), outcomes, measured.get(member["key"]))
        for member in members
    ]
    groups = {key: found.record["group"] for key, found in measured.items()}
    _add_speedups(rows, members, groups)
    frame = pd.DataFrame(rows, columns=[column.name for column in RESULTS])
    for column in RESULTS:  # what no stack has is NaN too
        if column.unit and frame[column.name].dtype == object:
            frame[column.name] = pd.to_numeric(frame[column.name])
    return frame


def _row(
    study: str,
    member: Mapping[str, Any],
    chain: Sequence[Node],
    outcomes: Mapping[str, Outcome],
    measured: Measured | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {"study": study, "key": member["key"], "emulated": "", "warnings": ""}
    row.update({name: member["labels"][name] for name in _LABELS})
    row.update(choices(chain))
    row.update(_ending(chain, outcomes, measured is not None))
    promised, trained = 1.0, True
    for node in chain:
        outcome = outcomes.get(node.key)
        if outcome is None or outcome.status != "ok":
            break
        numbers = outcome.metrics
        if node.layer == "datasets":
            row["test_images"] = numbers.get("test_images")
        if node.layer == "models":
            row.update({name: numbers[source] for name, source in _FROM_MODEL.items()})
            row["pixels"] = numbers.get("pixels")
            trained = "untrained" not in outcome.facts
        if node.layer == "optimizations":
            promised *= numbers["promised_speedup"]
        if node.layer in ("models", "optimizations"):
            row.update({name: numbers[name] for name in _FROM_NETWORK}, promised_speedup=promised)
            row["precision"] = outcome.facts.get("precision", "")
        if node.layer == "systems":
            row["accuracy"] = numbers["executed_accuracy"]
            row["label_agreement"] = numbers["label_agreement"]
            row["output_agreement"] = numbers.get("output_agreement")
            row["compile_s"] = numbers.get("compile_s")
            row["emulated"] = outcome.facts.get("emulated", "")
    if measured:
        row.update(_measurement(measured))
    if not trained:  # what chance gives is no accuracy
        row.update(dict.fromkeys(_UNTRAINED))
    return row


def _ending(
    chain: Iterable[Node], outcomes: Mapping[str, Outcome], measured: bool
) -> dict[str, str]:
    if measured:
        return {"status": "ok", "stage": "", "message": ""}
    for node in chain:
        outcome = outcomes.get(node.key)
        if outcome is not None and outcome.status != "ok":
            return {"status": outcome.status, "stage": node.layer, "message": outcome.message}
    return {"status": "pending", "stage": "", "message": "not run yet"}


def _measurement(measured: Measured) -> dict[str, Any]:
    record = measured.record
    latency = rounds_interval(measured.samples_s, record["blocks"])
    return {
        "latency_s": latency.value,
        "latency_low_s": latency.low,
        "latency_high_s": latency.high,
        "first_run_s": record["first_run_s"],
        "runs": len(measured.samples_s),
        "peak_bytes": record["peak_bytes"],
        "energy_j": record["energy_j"],
        "warnings": "; ".join(flag["sentence"] for flag in record["warnings"]),
        "taken_at": measured.taken_at,
        "group": record["group"],
    }


def _add_speedups(
    rows: Sequence[dict[str, Any]],
    members: Sequence[Mapping[str, Any]],
    groups: Mapping[str, str],
) -> None:
    """The baseline of every stack, and its latency over this one's; a warning where the two were
    not timed side by side, so that drift of the machine is in the ratio. ``groups``: what was
    interleaved, by key."""
    places = [_without_optimization(member["stack"]) for member in members]
    plain = {
        place: row
        for place, row, member in zip(places, rows, members, strict=True)
        if place == canonical({**member["stack"], "optimizations": []})
        and not member["stack"]["optimizations"]
    }
    for place, row in zip(places, rows, strict=True):
        baseline = plain.get(place)
        row["baseline"] = baseline["key"] if baseline else ""
        if baseline and "latency_s" in baseline and "latency_s" in row:
            row["measured_speedup"] = baseline["latency_s"] / row["latency_s"]
            if groups[baseline["key"]] != groups[row["key"]]:
                row["warnings"] = "; ".join(filter(None, [row["warnings"], _APART]))


def _without_optimization(stack: Mapping[str, Any]) -> bytes:
    """The stack that this one is compared with. A format of weights is the other half of pruning:
    alone it does nothing, so the baseline's are dense."""
    return canonical(
        {**stack, "optimizations": [], "algorithm": dense_algorithm(stack["algorithm"])}
    )


def dense_algorithm(spec: Mapping[str, Any]) -> dict[str, Any]:
    """An algorithm's spec with weights stored dense; one that finds formats itself stays."""
    return {**spec, **_DENSE} if "format" in spec else dict(spec)
