"""Made-up stores: real keys, every kind of row, and copies that are studies of their own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dlas.bench import analysis
from dlas.bench.analysis import STUDY, fill, fill_many
from dlas.cli.bench_analysis import Step, Steps, query_steps
from dlas.hardware import memory
from dlas.stack import Stack
from dlas.store.frame import results_frame
from dlas.store.results import Results
from dlas.study.space import Study


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Study:
    """The made-up study with one network and one number of images."""
    monkeypatch.setattr(analysis, "_MODELS", analysis._MODELS[:1])
    return analysis.study()


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(f"sqlite:///{tmp_path / 'results.sqlite'}")


def test_the_study_has_as_many_stacks_as_it_says() -> None:
    assert len(analysis.study().stacks) == 2016


def test_a_made_up_study_is_a_results_frame(small: Study, results: Results) -> None:
    fill(results, small, samples=20, layers=3)
    frame = results_frame(results, STUDY)
    assert len(frame) == len(small.stacks) == 288
    assert set(frame["status"]) == {"ok", "refused", "timed_out"}
    measured = frame[frame["status"] == "ok"]
    assert (measured["runs"] == 20).all()
    assert (measured["latency_low_s"] <= measured["latency_s"]).all()
    assert measured["accuracy"].notna().all()
    assert list(frame["key"]) == [Stack.chain(stack)[-1].key for stack in small.stacks]


def test_copies_are_studies_of_their_own(small: Study, results: Results) -> None:
    assert list(fill_many(results, 3, samples=6))[-1] == 1.0
    assert results.studies() == [f"{STUDY}-{n}" for n in range(3)]
    keys = [[m["key"] for m in results.members(study)] for study in results.studies()]
    assert len({key for many in keys for key in many}) == 3 * len(small.stacks)
    nodes = [results.nodes(many) for many in keys]
    assert len({len(found) for found in nodes}) == 1, "a chain is broken"
    shared = set(nodes[0]) & set(nodes[1]) & set(nodes[2])
    assert {nodes[0][key].layer for key in shared} == {
        "datasets", "models", "optimizations", "algorithms",
    }  # fmt: skip
    ended = [sorted(e.status for e in results.endings(list(found)).values()) for found in nodes]
    assert ended[0] == ended[1] == ended[2]
    assert len({len(results.last_observations(many)) for many in keys}) == 1


def test_every_query_is_timed(small: Study, results: Results, tmp_path: Path) -> None:
    list(fill_many(results, 2, samples=6))
    steps = query_steps(tmp_path, f"{STUDY}-0")
    names = [step.name for step in steps]
    assert len(set(names)) == len(names) > 15


def test_a_step_is_what_its_work_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = {"perf_counter": iter([10.0, 13.0]), "process_time": iter([4.0, 4.5])}
    for clock, moments in clocks.items():
        monkeypatch.setattr(time, clock, moments.__next__)
    monkeypatch.setattr(memory, "peak_bytes", lambda: 7)
    steps = Steps()
    assert steps.take("work", lambda: "done") == "done"
    assert steps == [Step("work", 3.0, 0.5, 7)]
