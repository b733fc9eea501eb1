"""Queries behind plans, reports and watching find their rows by index, however many there are; and
stores that are older than an index get it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from dlas.stack import Stack
from dlas.store import tables as t
from dlas.store.frame import results_frame
from dlas.store.results import RECENT, Measured, Outcome, Results

LARGE = {"nodes", "outcomes", "metrics", "facts", "observations", "members", "runs"}
BASE = {"dataset": "synthetic", "model": "tiny", "system": "onnxruntime", "hardware": "null"}
KEY = Stack.parse(BASE).chain()[-1].key

QUERIES: dict[str, Callable[[Results], object]] = {
    "study": lambda r: r.study("s"),
    "members": lambda r: r.members("s"),
    "nodes": lambda r: r.nodes([KEY]),
    "outcomes": lambda r: r.outcomes([KEY]),
    "endings": lambda r: r.endings([KEY]),
    "endings_after": lambda r: r.endings_after(3),
    "last_number": lambda r: r.last_number(),
    "observations": lambda r: r.observations([KEY]),
    "last_observations": lambda r: r.last_observations([KEY]),
    "observed": lambda r: r.observed([KEY]),
    "usual_seconds": lambda r: r.usual_seconds(),
    "find": lambda r: r.find("ab12"),
    "studies": lambda r: r.studies(),
    "studies_of": lambda r: r.studies_of(KEY),
    "runs": lambda r: r.runs("s"),
    "frame": lambda r: results_frame(r, "s"),
}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results(f"sqlite:///{tmp_path / 'r.sqlite'}")
    stack = Stack.parse(BASE)
    results.add_nodes(stack.chain())
    results.save_study("s", {}, [{"key": KEY, "stack": stack.spec(), "labels": stack.labels()}])
    return results


@pytest.mark.parametrize("name", QUERIES)
def test_no_large_table_is_read_through(results: Results, name: str) -> None:
    asked: list[tuple[str, Any]] = []
    sa.event.listen(
        results.engine,
        "before_cursor_execute",
        lambda _1, _2, statement, parameters, _3, _4: asked.append((statement, parameters)),
    )
    QUERIES[name](results)
    assert asked
    with results.engine.connect() as connection:
        for statement, parameters in list(asked):
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for line in (row[-1] for row in plan):
                read = line.split()
                assert not (read[0] == "SCAN" and read[1] in LARGE), f"{line} in {statement}"


def test_an_older_store_gets_indices_and_tables(tmp_path: Path) -> None:
    place = tmp_path / "r.sqlite"
    Results(f"sqlite:///{place}").engine.dispose()
    with sqlite3.connect(place) as connection:
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall():
            connection.execute(f"DROP INDEX {name}")
        connection.execute("DROP TABLE runs")
    results = Results(f"sqlite:///{place}")
    inspector = sa.inspect(results.engine)
    for table in t.metadata.tables.values():
        there = {index["name"] for index in inspector.get_indexes(table.name)}
        assert {index.name for index in table.indexes} <= there


def test_only_the_last_measurement_is_read(results: Results) -> None:
    for value in (1.0, 2.0):
        results.add_observation(KEY, Measured("2026", np.full(3, value), {"group": value}), 0.1)
    found = results.last_observations([KEY, "other"])
    assert found.keys() == {KEY}
    assert found[KEY].samples_s.tolist() == [2.0] * 3
    assert found[KEY].record == {"group": 2.0}


def test_usual_seconds_are_of_late(results: Results) -> None:
    key = Stack.parse(BASE).chain()[0].key
    results.add_outcome(key, Outcome("ok", "", 100.0))
    assert results.usual_seconds() == {("datasets", "synthetic"): 100.0}
    with results.engine.begin() as connection:
        row = {"key": key, "status": "ok", "message": "", "finished_at": "", "seconds": 1.0}
        connection.execute(t.outcomes.insert(), [{**row, "id": 1 + RECENT}])
    assert results.usual_seconds() == {("datasets", "synthetic"): 1.0}


def test_keys_are_found_by_their_first_digits(results: Results) -> None:
    assert results.find(KEY[:6]) == results.find(KEY[:6].upper()) == [KEY]
    assert results.find(KEY) == [KEY]
    assert results.find(KEY[:-1] + "g") == []
    assert results.studies_of(KEY) == ["s"]
    assert results.studies_of("other") == []


def test_runs_are_a_history(results: Results) -> None:
    results.add_run("s", "2026-01-01", "stopped", {"jobs": 1})
    results.add_run("s", "2026-01-02", "ended", {"jobs": 2})
    results.add_run("other", "2026-01-03", "ended", {"jobs": 3})
    assert [run["spent"] for run in results.runs("s")] == [{"jobs": 1}, {"jobs": 2}]
    assert results.runs("s")[0]["ending"] == "stopped"
