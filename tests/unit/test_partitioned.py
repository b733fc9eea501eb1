"""Several systems in one network: where it is cut, which way through the stages is cheapest, when a
mixture wins, and what happens to systems that refuse or answer wrongly."""

from __future__ import annotations

import itertools
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from dlas.algorithms.cheapest import Cheapest
from dlas.algorithms.vendor import Vendor
from dlas.errors import InputError, Refused, SpecError
from dlas.evaluate import scores
from dlas.executable import Run, compile_network, load, read_header
from dlas.layer import member
from dlas.measure.statistics import Estimate, median_interval
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.plan import Plan
from dlas.spec import parse_member
from dlas.systems.base import System
from dlas.systems.partitioned import Partitioned, search, timing
from dlas.systems.partitioned import cut as cutting
from dlas.systems.partitioned.cut import cut, cuts, split
from dlas.systems.partitioned.path import Way, spans, ways, winner
from dlas.systems.partitioned.pieces import Pieces
from dlas.systems.partitioned.record import Candidate, Part, Partition, Stage, open_partition
from dlas.testing.networks import TINY, DType, noise_images, tiny

CUT_TYPES: tuple[DType, ...] = ("float32", "bfloat16", "int8")


def evaluated(network: Network, images: Any) -> Any:
    return ReferenceEvaluator(network.model).run(None, {network.input_name: images})[0]


# -- cutting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", CUT_TYPES)
@pytest.mark.parametrize("name", TINY)
def test_the_stages_compute_what_the_network_does(name: str, dtype: DType) -> None:
    network = tiny(name, dtype)
    line = cut(network, stages=32, least_macs=0)
    stages = [line.piece(index, index + 1) for index in range(len(line))]
    assert len(stages) > 1
    assert [row.name for stage in stages for row in stage.layers] == [
        row.name for row in network.layers
    ]
    assert {row.dtype for stage in stages for row in stage.layers} == {dtype}
    image = noise_images(network.input_shape, 2)
    expected = evaluated(network, image)
    for stage in stages:
        assert image.shape[1:] == stage.input_shape
        image = evaluated(stage, image)
    assert np.array_equal(image, expected)


@pytest.mark.parametrize(
    "name,tensors",
    [
        ("residual", ["relu_2.out", "globalaveragepool_12.out"]),  # not within the block
        ("dense_block", ["conv1.out", "relu_6.out", "globalaveragepool_11.out"]),
        ("squeeze_excite", ["mul_3.out", "globalaveragepool_18.out"]),  # not beside the gate
        ("plain", ["maxpool_3.out"]),  # the smallest between two layers; no flat vector
    ],
)
def test_cuts_are_where_one_image_is_alive(name: str, tensors: list[str]) -> None:
    assert [each.tensor for each in cuts(tiny(name))] == tensors


@pytest.mark.parametrize("name", TINY)
def test_no_cut_parts_a_value_from_its_rounding(name: str) -> None:
    for dtype in ("int8", "bfloat16"):
        graph = tiny(name, dtype).model.graph
        producers = {output: node.op_type for node in graph.node for output in node.output}
        for each in cuts(tiny(name, dtype)):
            assert producers[each.tensor] not in ("QuantizeLinear", "DequantizeLinear", "Cast")


def test_float16_is_alive_all_through() -> None:
    network = tiny("residual", "float16")
    assert cut(network, 8, 0).piece(0, 1) is network


def test_stages_are_even_and_longer_than_a_crossing() -> None:
    network = tiny("grouped")  # cuts at 110592, 184320 and 258048 of 258208
    assert cut(network, 2, 0).cuts == ("relu_2.out",)
    assert cut(network, 3, 0).cuts == ("relu_2.out", "relu_5.out")
    assert cut(network, 3, 100_000).cuts == ("relu_2.out",)
    assert cut(network, 1, 0).cuts == cut(network, 8, 200_000).cuts == ()
    assert len(cut(network, 8)) == 1  # by default


def test_a_smaller_tensor_is_worth_an_uneven_stage() -> None:
    b = Builder((3, 16, 16))
    x = b.conv("input", "conv", 8, 3)
    for index, channels in enumerate((16, 8) * 4):
        x = b.conv(x, f"point{index}", channels, 1)
    network = b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10))
    sizes = {each.tensor: each.size for each in cuts(network)}
    assert sizes["point0.out"] == 2 * sizes["point1.out"] == 16 * 256
    assert cut(network, 3, 0).cuts == ("point1.out", "point3.out")  # point4.out is nearer
    assert cut(network, 30, 0).cuts == tuple(sizes)


def test_a_plan_is_split_by_stage() -> None:
    network = tiny("residual")
    line, plan = cut(network, 8, 0), Cheapest().plan(network)
    parts = [split(plan, line.piece(index, index + 1)) for index in range(len(line))]
    assert tuple(step for part in parts for step in part.steps) == plan.steps
    assert [len(part.steps) for part in parts] == [1, 3, 1]
    for index, part in enumerate(parts):
        part.check(line.piece(index, index + 1))


# -- paths -------------------------------------------------------------------------------------


def test_crossings_decide() -> None:
    stages = [{0: 2.0, 1: 1.0}, {0: 1.0, 1: 2.0}, {0: 2.0, 1: 1.0}]
    assert ways(stages, {}, 1) == [Way(3.0, 2, (1, 0, 1))]
    saved = {(0, 0): 0.5, (0, 1): 0.5, (1, 0): 0.5, (1, 1): 1.5}
    assert ways(stages, saved, 2) == [Way(2.0, 0, (1, 1, 1)), Way(3.0, 2, (1, 0, 1))]


def test_of_equals_the_fewest_crossings_and_the_first_system() -> None:
    stages = [{0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}]
    found = [way.rank for way in ways(stages, {}, 9)]
    assert found == [(0, 0), (1, 1), (0, 1), (1, 0)]


def test_a_stage_that_none_can_do_has_no_way() -> None:
    assert ways([{0: 1.0}, {}, {0: 1.0}], {}, 3) == []
    assert [way.rank for way in ways([{0: 1.0}, {1: 1.0}], {}, 3)] == [(0, 1)]


whole = st.integers(0, 8).map(float)  # sums of whole numbers are exact, and ties frequent


@given(st.data())
def test_they_are_the_cheapest_of_all(data: st.DataObject) -> None:
    systems, stages = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
    present = st.dictionaries(st.integers(0, systems - 1), whole, min_size=1)
    times = data.draw(st.lists(present, min_size=stages, max_size=stages))
    places = [(s, k) for s in range(systems) for k in range(stages - 1)]
    saved = {place: data.draw(whole) - 2 for place in places}
    every = []
    for rank in itertools.product(*times):
        together = [(a, k) for k, (a, b) in enumerate(itertools.pairwise(rank)) if a == b]
        seconds = sum(row[s] for row, s in zip(times, rank, strict=True))
        seconds -= sum(saved[place] for place in together)
        every.append(Way(seconds, stages - 1 - len(together), rank))
    count = data.draw(st.integers(1, 9))
    assert ways(times, saved, count) == sorted(every)[:count]


def test_neighbours_in_one_system_are_one_part() -> None:
    assert spans((2, 2, 0, 1, 1)) == [(2, 0, 2), (0, 2, 3), (1, 3, 5)]
    assert spans((1,)) == [(1, 0, 1)]


@pytest.mark.parametrize(
    "mixture,expected",
    [
        (Estimate(0.90, 0.89, 0.91), 1),
        (Estimate(0.98, 0.979, 0.981), 0),  # not by the margin
        (Estimate(0.90, 0.80, 0.99), 0),  # not certainly
        (Estimate(0.90, None, None), 0),
        (Estimate(1.20, 1.19, 1.21), 0),
    ],
)
def test_a_mixture_must_win_clearly(mixture: Estimate, expected: int) -> None:
    single = Estimate(1.0, 0.985, 1.01)
    assert winner([single, mixture], [False, True], margin=0.03) == expected
    assert winner([Estimate(2.0, 1.9, 2.1), single], [False, False], margin=0.03) == 1
    assert winner([mixture], [True], margin=0.03) == 0


# -- searching, on a clock that only made-up systems move ----------------------------------------


class Clock:
    at_s = 0.0

    def perf_counter(self) -> float:
        return self.at_s

    monotonic = perf_counter


CLOCK = Clock()


class MadeUp(System, frozen=True, kw_only=True):
    """Takes a second for every layer, ``slow_s`` for those of these names, and a tenth to cross."""

    name: ClassVar[str] = "made-up"
    slow: tuple[str, ...] = ()
    slow_s: float = 5.0
    refused: str = ""
    wrong: str = ""

    def refuses(self, network: Network, plan: Plan) -> str | None:
        names = [row.name for row in network.layers]
        return f"{self.refused} is beyond it" if self.refused in names else None

    def compile(self, network: Network, plan: Plan, folder: Path) -> None:
        network.save(folder)

    def load(self, folder: Path) -> Run:
        network = Network(onnx.load(folder / "network.onnx"))
        names = [row.name for row in network.layers]
        took_s = 0.1 + sum(self.slow_s if name in self.slow else 1.0 for name in names)

        def run(images: Any) -> Any:
            CLOCK.at_s += took_s
            return scores(network, images) + (self.wrong in names)

        return run


class Other(MadeUp, frozen=True, kw_only=True):
    name: ClassVar[str] = "other"


@pytest.fixture
def fake_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "time", CLOCK)


def searched(*systems: System, folder: Path, margin: float = 0.03) -> Partition:
    network = tiny("grouped")  # conv1, conv2, conv3, fc: a stage each
    folder.mkdir()
    work = Pieces(cut(network, 8, 0), Vendor().plan(network), systems, folder)
    found = search.search(work, margin, time_budget_s=1.0)
    assert [path.is_dir() for path in found.folders] == [True] * len(found.partition.parts)
    return found.partition


@pytest.mark.usefixtures("fake_time")
def test_each_system_runs_what_it_is_fast_at(tmp_path: Path) -> None:
    one, two = MadeUp(slow=("conv2", "conv3", "fc")), Other(slow=("conv1",))
    found = searched(one, two, folder=tmp_path / "a")
    best = found.candidates[found.chosen]
    assert best.label() == "made-up 0, other 1–3"
    assert best.predicted_s == pytest.approx(4.2)
    assert best.measured_s.value == pytest.approx(4.2)
    assert [each.label() for each in found.candidates[:2]] == ["made-up", "other"]
    assert [each.measured_s.value for each in found.candidates[:2]] == pytest.approx([16.1, 8.1])
    assert found.crossing_s["other"] == pytest.approx((0.1, 0.1, 0.1))
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(4.2 / 8.1)
    assert found.notes == ()


@pytest.mark.usefixtures("fake_time")
def test_a_single_system_stays_where_mixing_saves_little(tmp_path: Path) -> None:
    one, two = MadeUp(slow=("conv2",), slow_s=1.3), Other(slow=("conv1",), slow_s=1.3)
    found = searched(one, two, folder=tmp_path / "a", margin=0.06)
    assert found.parts == (Part(one.spec(), 0, 4),)
    assert found.candidates[2].measured_s.value == pytest.approx(4.2)  # of 4.4, less than 6 %
    better = searched(one, two, folder=tmp_path / "b")
    assert better.candidates[better.chosen].is_mixed


@pytest.mark.usefixtures("fake_time")
def test_pairs_are_not_tried_where_nothing_can_be_gained(tmp_path: Path) -> None:
    found = searched(MadeUp(), Other(slow=("conv1",)), folder=tmp_path / "a")
    assert found.parts[0].name == "made-up"
    assert found.crossing_s == {"made-up": (None,) * 3, "other": (None,) * 3}
    assert [each.label() for each in found.candidates] == ["made-up", "other"]
    assert found.ratio is None


def test_what_could_be_gained_leaves_crossings_out() -> None:
    """One system takes 4 s and 4 s, the other 5 s and 3 s, of which 2 s are lost to the cut."""
    took = {(0, 0): 4.0, (0, 1): 4.0, (1, 0): 5.0, (1, 1): 3.0}
    stage = {place: np.full(3, seconds) for place, seconds in took.items()}
    assert search.Costs(2, 2, stage, {}, {0: 8.0, 1: 8.0}).gain() == pytest.approx(1 / 8)
    assert search.Costs(2, 2, stage, {}, {0: 8.0, 1: 6.0}).gain() == pytest.approx(0)
    del stage[1, 1]
    assert search.Costs(2, 2, stage, {}, {0: 8.0}).gain() == pytest.approx(0)
    del stage[0, 0]
    assert search.Costs(2, 2, stage, {}, {}).gain() == 1
    del stage[1, 0]
    assert search.Costs(2, 2, stage, {}, {}).gain() == 0


@pytest.mark.usefixtures("fake_time")
def test_what_refuses_or_is_wrong_is_left_out_there(tmp_path: Path) -> None:
    found = searched(MadeUp(refused="conv2"), Other(wrong="conv1"), folder=tmp_path / "a")
    assert found.candidates[found.chosen].label() == "made-up 0, other 1–3"
    assert all(each.is_mixed for each in found.candidates)
    assert found.stage_s["made-up"][1] is found.stage_s["other"][0] is None
    assert "made-up is left out for stage 1: conv2 is beyond it" in found.notes
    (wrong,) = (note for note in found.notes if note.startswith("other is left out for stage 0"))
    assert ": its answer is " in wrong
    assert wrong.endswith(" from ONNX Runtime's, at most 0.001 is right")
    assert "made-up is left out for the network: conv2 is beyond it" in found.notes
    with pytest.raises(Refused, match="no system runs the network: made-up is left out for stage"):
        searched(MadeUp(refused="fc"), Other(refused="fc"), folder=tmp_path / "b")


# -- with real systems ---------------------------------------------------------------------------

REAL = ("onnxruntime", "openvino", "tvm")
here = [name for name in REAL if member("systems", name).missing() is None]


def mixed(
    monkeypatch: pytest.MonkeyPatch, network: Network, rank: tuple[int, ...], folder: Path
) -> Partition:
    """Compiled in the systems that are here, as if this mixture had won."""
    monkeypatch.setattr(cutting, "cut", partial(cut, least_macs=0))
    monkeypatch.setattr(search, "winner", lambda measured, mixed, margin: len(measured) - 1)
    monkeypatch.setattr(search.Costs, "likely", lambda costs, margin: [(rank, None)])
    folder.mkdir()
    system = Partitioned(systems=tuple(here), time_budget_s=0.01)
    compile_network(system, network, Cheapest().plan(network), folder)
    return open_partition(folder)


@pytest.mark.parametrize("dtype,tolerance", [("float32", 1e-5), ("int8", 5e-2)])
def test_a_mixture_computes_what_the_network_does(
    dtype: DType, tolerance: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, folder = tiny("residual", dtype), tmp_path / "made"
    rank = tuple(stage % len(here) for stage in range(3))
    found = mixed(monkeypatch, network, rank, folder)
    expected = [f"{first}-{here[system]}" for system, first, _ in spans(rank)]
    assert [part.folder for part in found.parts] == expected
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(expected)
    executable = load(folder)
    for image in noise_images(network.input_shape, 3)[:, None]:
        answer, right = executable(image), scores(network, image)
        assert np.linalg.norm(answer - right) <= tolerance * np.linalg.norm(right)


def test_it_says_what_its_parts_emulate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny("plain", "bfloat16")
    sentence = member("systems", "onnxruntime")().emulates(network)  # type: ignore[attr-defined]
    mixed(monkeypatch, network, (0, 0), tmp_path / "one")
    assert read_header(tmp_path / "one").emulated == sentence
    if "tvm" in here:
        mixed(monkeypatch, network, (0, here.index("tvm")), tmp_path / "two")
        assert f"parts in onnxruntime: {sentence}" in read_header(tmp_path / "two").emulated


def test_loading_imports_what_its_parts_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed(monkeypatch, tiny("plain"), (0, 0), tmp_path / "made")
    code = (
        "import sys; from dlas.executable import load; load(sys.argv[1])\n"
        "print([m for m in ('onnx', 'onnxruntime', 'openvino', 'tvm', 'tvm_ffi', 'torch')"
        " if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "made")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "['onnxruntime']"


# -- the member ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields,sentence",
    [
        ({"systems": ["onnxruntim"]}, r"\$\.system\.systems\[0\]: .*did you mean 'onnxruntime'"),
        ({"systems": ["partitioned"]}, "'partitioned' can run no part"),
        ({"systems": []}, "name one system or more, each once"),
        ({"systems": ["tvm", "tvm"]}, "name one system or more, each once"),
        ({"stages": 0}, r"\$\.system\.stages: 0 is not in \[1, 32\]"),
    ],
)
def test_what_it_cannot_mean(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        parse_member("systems", {"name": "partitioned", **fields}, "$.system")


def test_its_systems_follow_the_plan_or_choose_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Partitioned().combines("cheapest") is Partitioned().combines("vendor") is None
    peers = Partitioned(systems=("onnxruntime", "openvino"))
    assert "onnxruntime chooses its own kernels" in str(peers.combines("cheapest"))
    network = tiny("plain")
    systems, notes = Partitioned(systems=("tvm",)).usable(Vendor().plan(network))
    assert systems == []
    assert "tvm is left out: tvm" in notes[0]
    tvm: Any = member("systems", "tvm")
    monkeypatch.setattr(tvm, "missing", lambda *_: "tvm is not installed: pip install it")
    systems, notes = Partitioned().usable(Cheapest().plan(network))
    assert "tvm" not in [each.name for each in systems]
    assert notes[0] == "tvm is left out: tvm is not installed: pip install it"
    sentence = Partitioned(systems=("tvm",)).refuses(network, Cheapest().plan(network))
    assert sentence == f"none of its systems can be used: {notes[0]}"


def test_the_key_knows_every_system() -> None:
    assert {
        "dlas.partitioned",
        "dlas.tvm",
        "openvino",
        "onnxruntime",
    } <= Partitioned().tools().keys()
    assert "openvino" not in Partitioned(systems=("onnxruntime",)).tools()


def test_openvino_rounds_only_when_asked() -> None:
    default, asked = Partitioned(), Partitioned(precision="default", threads=2)
    assert default.members()[2].spec()["precision"] == "float32"
    assert asked.members()[2].spec()["precision"] == "default"
    assert default.members()[0].spec()["tuning"] == "template"
    assert {each.threads for each in asked.members()} == {2}


def test_what_was_found_can_be_read_and_shown(tmp_path: Path) -> None:
    one, two = Part({"name": "tvm"}, 0, 2), Part({"name": "openvino"}, 2, 3)
    took = median_interval([0.001] * 6)
    found = Partition(
        (Stage(("conv1", "conv2"), 2_000_000, (1, 8, 4, 4)), Stage(("fc",), 1_000_000, (1, 10))),
        {"tvm": (took, took), "openvino": (None, took)},
        {"tvm": (0.0001,), "openvino": (None,)},
        (
            Candidate((Part({"name": "tvm"}, 0, 3),), 0.0019, median_interval([0.002] * 6)),
            Candidate((one, two), None, median_interval([0.0018])),
        ),
        1,
        Estimate(0.9, 0.89, 0.91),
        ("openvino is left out for stage 0: it refuses",),
    )
    assert found.sentence() == (
        f"{found.candidates[1].label()} of 2 stages; timed: {found.candidates[1].label()} 1.8 ms, "
        "tvm 2 ms; openvino is left out for stage 0: it refuses"
    )
    found.save(tmp_path)
    assert Partitioned().facts(tmp_path) == {"partition": found.sentence()}
    assert open_partition(tmp_path) == found
    assert found.text().splitlines() == [
        "stage  MMACs            tvm       openvino  layers",
        "    0    2.0     1.000  ±0%              –  conv1 … conv2",
        "    1    1.0     1.000  ±0%     1.000  ±0%  fc … fc",
        "leaving tvm costs, after each stage: 0.100",
        "  2.000 ms (2.000–2.000), predicted 1.900: tvm",
        "→ 1.800 ms (–––): tvm 0–1, openvino 2",
        "fastest mixture / fastest single system: 0.900 (0.890–0.910)",
        "note: openvino is left out for stage 0: it refuses",
    ]
    (tmp_path / "partition.json").write_bytes(b"{}")
    with pytest.raises(InputError, match="compile the network again"):
        open_partition(tmp_path)
