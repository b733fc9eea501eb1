"""Where the time of a stack goes: promise and measurement joined, stored, printed."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dlas.analysis.profiles import (
    LayerShare,
    ProfileTable,
    profile_table,
    promised_layers,
    recorded_profile,
    without_small,
)
from dlas.cli.profile import _drawn
from dlas.measure.interleave import Contender, measure
from dlas.measure.observation import Observation, Outcome
from dlas.measure.protocol import LayerTime
from dlas.node import Node
from dlas.store.results import Results
from dlas.study.measuring import as_measured
from dlas.systems.attribution import Ran, attributed, named
from dlas.testing.clock import FakeMachine, FakeSession
from dlas.testing.networks import tiny

PROMISED = (
    LayerShare("a", "conv", 0.6),
    LayerShare("b", "conv", 0.3),
    LayerShare("c", "dense", 0.1),
)


def time(name: str, seconds: float, *layers: str, kind: str = "other") -> LayerTime:
    kind = "layer" if layers else kind
    return LayerTime(name=name, op=name, seconds=seconds, kind=kind, layers=layers)  # type: ignore[arg-type]


PROFILE = (
    time("reorder", 1e-3, kind="layout"),
    time("conv_a", 2e-3, "a"),
    time("pool", 1e-3),
    time("conv_b", 4e-3, "b"),
)


def test_promise_and_measurement_are_joined_by_layer() -> None:
    table = profile_table(PROMISED, PROFILE, 10e-3)
    assert [(row.name, row.promised, row.seconds, row.ratio) for row in table.rows] == [
        ("reorder", None, 1e-3, None),
        ("a", 0.6, 2e-3, pytest.approx(0.25 / 0.6)),
        ("pool", None, 1e-3, None),
        ("b", 0.3, 4e-3, pytest.approx(0.5 / 0.3)),
        ("c", 0.1, None, None),
    ]
    assert table.sum_s == pytest.approx(8e-3)
    assert table.sentences() == [
        "the profile's sum is 0.80 times the median latency: the rest lies between operators, or "
        "went to other processes",
        "moving images into other layouts took 12% of it",
        "all else took 12% of it",
        "not seen in the profile: c",
    ]


def test_profiling_that_takes_time_itself_is_said() -> None:
    (first, *_) = profile_table(PROMISED, PROFILE, 7.5e-3).sentences()
    assert first == (
        "the profile's sum is 1.07 times the median latency: profiling itself takes time"
    )


def test_fused_layers_are_one_row_and_steps_of_a_layer_too() -> None:
    fused = profile_table(PROMISED, (time("conv", 1e-3, "a", "b"), time("gemm", 1e-3, "c")))
    assert [row.name for row in fused.rows] == ["a + b", "c"]
    assert [row.promised for row in fused.rows] == [pytest.approx(0.9), pytest.approx(0.1)]
    steps = profile_table(
        PROMISED, (time("pack", 1e-3, "a"), time("pool", 1e-3), time("m", 2e-3, "a"))
    )
    assert [(row.name, row.op, row.seconds) for row in steps.rows[:2]] == [
        ("a", "pack + m", pytest.approx(3e-3)),
        ("pool", "pool", 1e-3),
    ]


def test_without_artifacts_or_profile_there_is_still_what_there_is(tmp_path: Path) -> None:
    assert promised_layers(None) == ()
    assert promised_layers(tmp_path) == ()
    (tmp_path / "layers.json").write_text("[{")
    assert promised_layers(tmp_path) == ()
    assert [row.promised for row in profile_table((), PROFILE).rows] == [None] * 4
    nothing = profile_table(PROMISED, ())
    assert (nothing.sum_s, [row.share for row in nothing.rows]) == (0.0, [None] * 3)
    assert profile_table((), ()) == ProfileTable((), 0.0, None)


@given(st.lists(st.tuples(st.sampled_from("abcd?"), st.floats(0, 1)), max_size=12))
def test_shares_add_up_and_no_second_is_lost(drawn: list[tuple[str, float]]) -> None:
    profile = [time(name, s, *([name] if name in "abc" else [])) for name, s in drawn]
    table = profile_table(PROMISED, profile)
    total = math.fsum(seconds for _, seconds in drawn)
    for rows in (table.rows, without_small(table)):
        assert math.fsum(row.seconds or 0 for row in rows) == pytest.approx(total)
        assert math.fsum(row.promised or 0 for row in rows) == pytest.approx(1)
        if total:
            assert math.fsum(row.share or 0 for row in rows) == pytest.approx(1)


def test_small_rows_are_told_together() -> None:
    small = [time(f"r{i}", 1e-6, kind="layout") for i in range(3)]
    rows = without_small(profile_table(PROMISED, [*PROFILE, *small]))
    assert [row.name for row in rows] == ["reorder", "a", "pool", "b", "c", "3 changes of layout"]
    assert rows[-1].seconds == pytest.approx(3e-6)


def test_the_promise_counts_zeros_and_widths(tmp_path: Path) -> None:
    network = tiny("residual")
    network.save(tmp_path)
    found = promised_layers(tmp_path)
    assert [share.layer for share in found] == [row.name for row in network.layers]
    total = network.effective_macs
    for share, row in zip(found, network.layers, strict=True):
        assert share.promised == pytest.approx(row.effective_macs / total)
    assert msgspec.convert(msgspec.to_builtins(found), tuple[LayerShare, ...]) == found
    rows = [msgspec.structs.replace(row) for row in network.layers]
    rows[0] = msgspec.structs.replace(rows[0], dtype="int8")
    (tmp_path / "layers.json").write_bytes(msgspec.json.encode(rows))
    narrow = promised_layers(tmp_path)
    ratio = narrow[0].promised / narrow[1].promised
    assert ratio == pytest.approx(found[0].promised / found[1].promised / 4)


# -- in the store --------------------------------------------------------------------------------


def test_a_profile_comes_back_from_the_store(tmp_path: Path) -> None:
    found: dict[str, Outcome] = {}
    machine = FakeMachine()
    contender = Contender(lambda: FakeSession(machine, "a", 0.005))
    measure({"a": contender}, found.__setitem__, machine=machine)
    observation = found["a"]
    assert isinstance(observation, Observation)
    results = Results(f"sqlite:///{tmp_path / 'results.sqlite'}")
    leaf = Node("hardware", {"name": "null"}, {}, {}, "")
    results.add_nodes([leaf])
    results.add_observation(leaf.key, as_measured(observation), 1.0)
    (measured,) = results.observations([leaf.key])[leaf.key]
    assert recorded_profile(measured.record) == (observation.profile, "")
    assert len(observation.profile) == 2


def test_a_record_says_why_it_has_no_profile() -> None:
    assert recorded_profile({}) == ((), "it was measured before dlas took profiles")
    assert recorded_profile({"profile": [], "profile_absent": "too slow"}) == ((), "too slow")


# -- names of fused operators --------------------------------------------------------------------


def ran(name: str, *names: str, multiplies: bool = True, weights: int | None = None) -> Ran:
    return Ran(name, "Conv", 1e-3, (name, *names), multiplies, weights=weights)


def owners(*operators: Ran) -> list[tuple[str, ...]]:
    return [row.layers for row in attributed(operators, named(tiny("residual")))]


def test_an_operator_belongs_to_the_layer_whose_name_it_bears() -> None:
    tensors = {node.name: node.output[0] for node in tiny("residual").model.graph.node}
    assert owners(ran(tensors["conv2"]), ran("conv1"), ran("conv3"), ran("fc")) == [
        ("conv2",), ("conv1",), ("conv3",), ("fc",),
    ]  # fmt: skip


def test_else_to_one_that_its_name_comes_behind() -> None:
    network = tiny("residual")
    after = {
        node.name: next(
            other.output[0] for other in network.model.graph.node if node.output[0] in other.input
        )
        for node in network.model.graph.node
        if node.name in ("conv1", "conv2", "conv3", "downsample")
    }
    given = ("downsample", "conv3", "conv1", "conv2")
    assert owners(*(ran(after[name]) for name in given)) == [(name,) for name in given]


def test_else_by_its_weights_then_in_order() -> None:
    weights = {row.name: row.weights for row in tiny("residual").layers}
    found = owners(ran("x", weights=weights["fc"]), ran("y", multiplies=False), ran("z"))
    assert found == [("fc",), (), ("conv1",)]


def test_more_operators_than_layers_are_others() -> None:
    found = owners(*(ran(f"x{i}") for i in range(7)))
    assert sum(bool(layers) for layers in found) == 5


# -- in a terminal -------------------------------------------------------------------------------


def test_the_table_fits_a_terminal() -> None:
    console = Console(width=80, file=None, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(_drawn(profile_table(PROMISED, PROFILE, 10e-3).rows, "measured today"))
    text = capture.get()
    assert all(len(line) <= 80 for line in text.splitlines())
    (line,) = (line for line in text.splitlines() if line.startswith("b "))
    assert line.split() == ["b", "conv_b", "30.0%", "4.000", "50.0%", "1.67", "█" * 12]
    (unseen,) = (line for line in text.splitlines() if line.startswith("c "))
    assert unseen.split() == ["c", "dense", "10.0%", "–"]
