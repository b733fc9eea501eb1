"""Watching a run: the state it publishes, what is made of it, and how it looks."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from dlas.cli.main import app
from dlas.node import Node
from dlas.report.live import end_lines, fault_line, result_line, sentence, view
from dlas.stack import Stack
from dlas.store.results import Ending, Measured, Outcome
from dlas.store.store import Store, open_store
from dlas.study.costs import Spent
from dlas.study.live import SILENT_S, Publisher, State, read_state, state_file
from dlas.study.standing import CUT_OFF, Standing
from dlas.study.watch import Watcher, Watchers

BASE: dict[str, Any] = {"dataset": "synthetic", "model": "tiny", "hardware": "null"}
CHOICES: dict[str, dict[str, Any]] = {
    "plain": {"system": "onnxruntime"},
    "half": {"system": "onnxruntime", "optimizations": ["float16"]},
    "int8": {"system": "onnxruntime", "optimizations": ["int8"]},
    "torch": {"system": "pytorch"},
    "gemm": {"system": {"name": "tvm", "batch": 8}, "algorithm": "gemm"},
}
STACKS = {name: Stack.parse({**BASE, **choices}) for name, choices in CHOICES.items()}
CHAINS = {name: stack.chain() for name, stack in STACKS.items()}


def node_of(name: str, layer: str) -> Node:
    return next(node for node in CHAINS[name] if node.layer == layer)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three stacks measured, one refused, one not begun."""
    store = open_store(tmp_path / "store")
    rows = []
    for name, stack in STACKS.items():
        store.results.add_nodes(CHAINS[name])
        key = CHAINS[name][-1].key
        rows.append({"key": key, "stack": stack.spec(), "labels": stack.labels()})
    store.results.save_study("s", {"command": "dlas run s.toml"}, rows)
    made = {node.key: node for name in ("plain", "half", "torch") for node in CHAINS[name][:-1]}
    for node in made.values():
        store.results.add_outcome(node.key, Outcome("ok", "", 2.0))
    for name, seconds in (("plain", 4e-3), ("half", 2e-3), ("torch", 2.01e-3)):
        measure(store, name, seconds)
    refused = node_of("int8", "optimizations")
    store.results.add_outcome(refused.key, Outcome("refused", "there is no calibration split"))
    return store


def measure(store: Store, name: str, seconds: float) -> None:
    samples_s = seconds * np.linspace(0.99, 1.01, 50)
    key = CHAINS[name][-1].key
    store.results.add_observation(key, Measured("2026", samples_s, {"blocks": [10] * 5}), 1.0)


def running(store: Store, phase: str = "making") -> State:
    """The state of a run by this very process."""
    publisher = Publisher(store.root, "s", "dlas run s.toml")
    publisher.planned(30, 240.0)
    publisher.entered(phase)
    return publisher.state


def shown(standing: Standing, state: State | None, width: int) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(view(standing, state, time.time()))
    text = captured.get()
    assert max(map(len, text.splitlines())) <= width
    return text.replace("\N{NO-BREAK SPACE}", " ")


# -- the state file ----------------------------------------------------------------------------


def test_a_run_publishes_at_most_once_a_second(tmp_path: Path) -> None:
    clock = Clock()
    publisher = Publisher(tmp_path, "s", "dlas run s.toml", clock)
    assert read_state(tmp_path, "s") is None
    publisher.entered("making")
    publisher.planned(10, 60.0)
    node = node_of("half", "systems")
    publisher.started(node)
    publisher.progressed(node, 0.5, "compiling")
    state = read_state(tmp_path, "s")
    assert state is not None
    assert (state.phase, state.total, state.doing) == ("making", 10, {})
    clock.now += 1.1
    publisher.idle()
    state = read_state(tmp_path, "s")
    assert state is not None
    assert state.beat == 1001.1
    doing = state.doing[node.key]
    assert (doing.layer, doing.since, doing.fraction, doing.text) == (
        "systems", 1000.0, 0.5, "compiling",
    )  # fmt: skip
    publisher.ended(node, Outcome("ok"), 12.0)
    clock.now += 1.1
    publisher.idle()
    state = read_state(tmp_path, "s")
    assert state is not None
    assert (state.done, state.remaining_s, state.doing) == (1, 12.0, {})
    assert not list(state_file(tmp_path, "s").parent.glob(".*")), "something was left aside"


def test_a_timed_group_goes_on_after_its_first_stack(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path, "s", "", Clock())
    first, second = CHAINS["plain"][-1], CHAINS["half"][-1]
    publisher.started(first)
    publisher.ended(first, Outcome("ok"), 1.0)
    publisher.progressed(first, 0.7, "timing 2 executables")
    publisher.ended(second, Outcome("ok"), 0.0)
    assert [doing.fraction for doing in publisher.state.doing.values()] == [0.7]
    publisher.started(second)
    assert list(publisher.state.doing) == [second.key]
    publisher.close("ended")
    state = read_state(tmp_path, "s")
    assert state is not None
    assert (state.phase, state.doing) == ("ended", {})


def test_a_dead_process_is_not_running(tmp_path: Path) -> None:
    state = Publisher(tmp_path, "s", "").state
    now = state.started
    assert state.is_running(now)
    assert not state.was_killed(now)
    state.born -= 100.0  # the pid belongs to another process now
    assert not state.is_running(now)
    assert state.was_killed(now)
    state.host = "elsewhere"  # whose processes cannot be seen
    assert state.is_running(now + SILENT_S / 2)
    assert state.was_killed(now + 2 * SILENT_S)
    state.phase = "stopped"
    assert not state.is_running(now)
    assert not state.was_killed(now)


def test_a_damaged_state_is_none(tmp_path: Path) -> None:
    state_file(tmp_path, "s").parent.mkdir()
    state_file(tmp_path, "s").write_text('{"study": "s"')
    assert read_state(tmp_path, "s") is None


def test_a_place_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    Publisher(tmp_path, "s", "").entered("making")


def test_watchers_are_all_told(tmp_path: Path) -> None:
    class Told(Watcher):
        def __init__(self) -> None:
            self.words: list[str] = []

        def entered(self, phase: str) -> None:
            self.words.append(phase)

        def planned(self, total: int, remaining_s: float) -> None:
            self.words.append("planned")

        def started(self, node: Node) -> None:
            self.words.append("started")

        def progressed(self, node: Node, fraction: float, text: str) -> None:
            self.words.append("progressed")

        def ended(self, node: Node, outcome: Outcome, remaining_s: float) -> None:
            self.words.append("ended")

        def idle(self) -> None:
            self.words.append("idle")

    both = Told(), Told()
    watchers, node = Watchers(both), CHAINS["plain"][0]
    watchers.entered("making")
    watchers.planned(1, 1.0)
    watchers.started(node)
    watchers.progressed(node, 0.5, "")
    watchers.ended(node, Outcome("ok"), 0.0)
    watchers.idle()
    expected = ["making", "planned", "started", "progressed", "ended", "idle"]
    assert [told.words for told in both] == [expected, expected]


# -- where the study stands --------------------------------------------------------------------


def test_the_tally_counts_every_node_once(store: Store) -> None:
    standing = Standing(store.results, "s")
    layers = standing.layers()
    assert layers["datasets"] == {"ok": 1}
    assert layers["models"] == {"ok": 1}
    assert layers["optimizations"] == {"ok": 1, "refused": 1}
    assert layers["hardware"] == {"ok": 3, CUT_OFF: 1, "pending": 1}
    assert standing.stacks() == {"ok": 3, "refused": 1, "pending": 1}
    for layer, tally in layers.items():
        nodes = {n.key for chain in CHAINS.values() for n in chain if n.layer == layer}
        assert tally.total() == len(nodes)


def test_the_fastest_and_what_cannot_be_told_from_it(store: Store) -> None:
    (best,) = Standing(store.results, "s").fastest()
    assert best.timed.network == "tiny · 1 image"  # others take eight
    assert best.timed.name == "float16 · onnxruntime"
    assert best.rivals == 1
    assert best.timed.latency_s.low is not None


def test_refreshing_finds_what_was_added(store: Store) -> None:
    standing = Standing(store.results, "s")
    store.results.add_nodes(Stack.parse({**BASE, "system": "reference"}).chain())
    for node in CHAINS["gemm"][:-1]:
        store.results.add_outcome(node.key, Outcome("ok", "", 1.0))
    measure(store, "gemm", 1e-3)
    stranger = Stack.parse({**BASE, "system": "reference"}).chain()[-1]
    store.results.add_outcome(stranger.key, Outcome("failed", "of another study"))
    standing.refresh()
    assert standing.stacks() == {"ok": 4, "refused": 1}
    assert [timed.name for timed in standing.latest(2)] == [
        "none · tvm(batch=8) · gemm",
        "none · pytorch",
    ]
    assert len(standing.fastest()) == 2
    assert [fault.status for fault in standing.faults()] == ["refused"]
    assert standing.stacks() == Standing(store.results, "s").stacks()


def test_what_others_added_is_read_once_at_most(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Stack.parse({**BASE, "system": "reference"}).chain()
    store.results.add_nodes(stranger)
    store.results.add_outcome(stranger[-1].key, Outcome("failed", "of another study"))
    read: list[set[str]] = []
    endings_after = store.results.endings_after

    def counted(number: int) -> dict[str, Ending]:
        found = endings_after(number)
        read.append(set(found))
        return found

    monkeypatch.setattr(store.results, "endings_after", counted)
    standing = Standing(store.results, "s")
    standing.refresh()
    store.results.add_outcome(stranger[-1].key, Outcome("failed", "again"))
    standing.refresh()
    standing.refresh()
    assert read == [set(), {stranger[-1].key}, set()]


def test_a_grid_costs_what_was_taken(store: Store) -> None:
    cost = Standing(store.results, "s").cost()
    nodes = {n.key for name in ("plain", "half", "torch") for n in CHAINS[name]}
    assert cost.shared_s == 2.0 * (len(nodes) - 3) + 3.0
    assert cost.alone_s > cost.shared_s


# -- how it looks ------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_running_study(store: Store, width: int) -> None:
    state = running(store)
    publisher = Publisher(store.root, "s", "")
    publisher.state = state
    publisher.started(node_of("gemm", "systems"))
    publisher.progressed(node_of("gemm", "systems"), 0.25, "compiling")
    text = shown(Standing(store.results, "s"), state, width)
    assert text.startswith("s: making, 0 of 30 steps, about 4 min left")
    assert "systems (compiling 25%): tiny · gemm" in text
    assert "optimizations     1        1" in text
    assert "float16 · on" in text
    assert "Fastest so far" in text
    assert "2.00 ms (1.98–2.02)" in text
    assert "1 more" in text
    assert "refused optimizations · tiny · int8: there is no" in text


def test_a_group_that_is_timed(store: Store) -> None:
    publisher = Publisher(store.root, "s", "")
    publisher.planned(30, 240.0)
    publisher.entered("measuring")
    publisher.started(CHAINS["plain"][-1])
    publisher.progressed(CHAINS["plain"][-1], 0.4, "timing 5 executables")
    text = shown(Standing(store.results, "s"), publisher.state, 80)
    assert "timing 5 executables, 40%, of tiny" in text


def test_a_killed_run(store: Store) -> None:
    state = running(store, "measuring")
    state.born -= 100.0
    standing = Standing(store.results, "s")
    said = sentence(standing, state, time.time())
    assert said.startswith("s: the run was killed at about ")
    assert said.endswith(", while measuring; go on with: dlas run s.toml")
    assert shown(standing, state, 60).startswith("s: the run was killed at about ")


def test_other_ends(store: Store) -> None:
    standing, state = Standing(store.results, "s"), running(store)
    assert sentence(standing, None, 0.0) == "s: no run is at work"
    state.phase, state.done, state.beat = "ended", 30, state.started + 120
    assert sentence(standing, state, 0.0).endswith(", after 2 min and 30 steps")
    state.total = 0
    assert "there was nothing left to do" in sentence(standing, state, 0.0)
    state.phase, state.message = "failed", "no space left"
    assert sentence(standing, state, 0.0).endswith(": no space left")
    state.phase = "stopped"
    assert sentence(standing, state, 0.0).endswith("; go on with: dlas run s.toml")
    state.phase, state.beat = "making", time.time() - 60
    assert "silent for 60 s" in sentence(standing, state, time.time())


def test_costs_are_told_when_all_has_ended(store: Store) -> None:
    spent = Spent(members_s={"systems": 10.0}, making_s=11.0)
    assert end_lines(Standing(store.results, "s"), spent) == ["results: dlas show s"]
    for node in CHAINS["gemm"][:-1]:
        store.results.add_outcome(node.key, Outcome("ok", "", 1.0))
    measure(store, "gemm", 1e-3)
    grid, harness, _ = end_lines(Standing(store.results, "s"), spent)
    assert grid.startswith("grid: 5 stacks cost ")
    assert harness.startswith("harness: 10.0% on top of 10 s of work")


def test_lines(store: Store) -> None:
    standing = Standing(store.results, "s")
    (timed,) = standing.latest(1)
    line = result_line(timed).replace("\N{NO-BREAK SPACE}", " ")
    assert line == "measured tiny · 1 image · none · pytorch: 2.01 ms (1.99–2.03)"
    (fault,) = standing.faults()
    assert fault_line(fault) == (
        "refused optimizations · tiny · int8: there is no calibration split"
    )


# -- the command -------------------------------------------------------------------------------


def watch(store: Store, *arguments: str) -> str:
    ran = CliRunner().invoke(app, ["watch", *arguments, "--store", str(store.root)])
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_a_study_that_was_never_run(tmp_path: Path) -> None:
    (tmp_path / "n.toml").write_text(
        'name = "n"\n[base]\ndataset = "synthetic"\nmodel = "tiny"\nsystem = "onnxruntime"\n'
    )
    store = open_store(tmp_path / "store")
    said = watch(store, str(tmp_path / "n.toml"))
    assert said.startswith("n was never run with this store; start it with: dlas run ")
    assert watch(store, "x") == "x was never run with this store\n"


def test_a_killed_study_by_the_command(store: Store) -> None:
    state = running(store)
    plain = json.loads(state_file(store.root, "s").read_bytes())
    plain["pid"], plain["born"] = os.getpid(), state.born - 100
    state_file(store.root, "s").write_text(json.dumps(plain))
    said = watch(store, "s")
    assert "the run was killed at about" in said
    assert f"go on with: dlas run s.toml --store {store.root}" in said


def test_a_run_that_ends_while_it_is_watched(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = Publisher(store.root, "s", "dlas run s.toml")
    publisher.planned(3, 10.0)
    publisher.entered("making")
    publisher.started(node_of("gemm", "systems"))
    publisher.write()
    slept = 0

    def sleep(_: float) -> None:
        nonlocal slept
        slept += 1
        if slept == 1:
            publisher.ended(node_of("gemm", "systems"), Outcome("failed", "no luck"), 0.0)
            store.results.add_outcome(node_of("gemm", "systems").key, Outcome("failed", "no luck"))
            publisher.write()
        if slept == 2:
            measure(store, "plain", 1e-3)
            publisher.ended(CHAINS["plain"][-1], Outcome("ok"), 0.0)
            publisher.close("ended")
            store.results.add_run("s", "", "ended", {"jobs": 1, "members_s": {"systems": 5.0}})

    monkeypatch.setattr(time, "sleep", sleep)
    said = watch(store, "s").replace("\N{NO-BREAK SPACE}", " ").splitlines()
    assert said[0] == "making systems: tiny · gemm · tvm(batch=8)"
    assert said[1].startswith("s: making, 0 of 3 steps")
    assert "failed systems · tiny · gemm · tvm(batch=8): no luck" in said
    assert said[-5].startswith("measured tiny · 1 image · none · onnxruntime: 1.00 ms")
    assert said[-4].startswith("s: the run ended at ")
    assert [line.partition(":")[0] for line in said[-3:]] == ["grid", "harness", "results"]
    assert said[-1] == f"results: dlas show s --store {store.root}"
