"""``best`` by tvm: what is chosen is the least of what it knows, and is computed rightly."""

from __future__ import annotations

import itertools
import math
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from test_best import best
from test_tvm_system import TOLERANCE, deviation, expected

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

from tuning_kernels import SETTING
from tvm import relax

from dlas.algorithms.planned import Planned
from dlas.choices import Choices, Costed, open_choices
from dlas.context import Context
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.optimizations.int8 import Int8
from dlas.optimizations.magnitude import zeroed
from dlas.plan import DENSE, Plan, Way
from dlas.systems.tvm import Tvm, tuning
from dlas.systems.tvm.choice import SURE, Chooser, Module, usual, with_way
from dlas.systems.tvm.compiling import by_templates
from dlas.systems.tvm.contest import Contests
from dlas.systems.tvm.detour import detour
from dlas.systems.tvm.layouts import BLOCKED, PLAIN, Layouts, layout_of
from dlas.systems.tvm.questions import Question, of_template
from dlas.systems.tvm.tuning import Answer, Tuner
from dlas.testing.networks import TINY, noise, noise_images, tiny

Taken = Mapping[str, Way]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One for all: what a test has measured, the next one need not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pruned(network: Network) -> Network:
    random = np.random.default_rng(0)
    return zeroed(network, {
        row.weight: random.random(network.initializers[row.weight].shape) < 0.3
        for row in network.layers
    })  # fmt: skip


def right(network: Network, folder: Path, tolerance: float = 1e-3) -> None:
    """What was compiled there gives the network's scores; winograd's are a little apart."""
    images = noise_images(network.input_shape, 2, seed=1)
    run = Tvm(tuning="template", trials=2).load(folder)
    found = np.concatenate([run(images[i : i + 1]) for i in range(len(images))])
    assert deviation(found, expected(network, images)) < tolerance


def chosen(network: Network, plan: Plan, folder: Path, **fields: Any) -> Choices:
    system = Tvm(**{"tuning": "template", "trials": 2, **fields})
    system.compile(network, plan, folder)
    choices = open_choices(folder)
    assert choices is not None
    return choices


# -- whole networks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, dtype, zeros",
    [
        ("residual", "float32", True),
        ("residual", "int8", False),
        ("grouped", "float32", False),
        ("dense_block", "float32", False),
        ("squeeze_excite", "float32", False),
    ],
)
def test_the_network_is_right_and_the_choice_explained(
    name: str, dtype: Any, zeros: bool, tmp_path: Path
) -> None:
    network = tiny(name, dtype)
    network = pruned(network) if zeros else network
    plan = best().plan(network)
    choices = chosen(network, plan, tmp_path)
    right(network, tmp_path, max(TOLERANCE[dtype], 1e-3))
    open_steps = [step for step in plan.steps if step.ways]
    assert [choice.layer for choice in choices.layers] == [step.layer for step in open_steps]
    for choice, step in zip(choices.layers, open_steps, strict=True):
        ways = [Way(way.primitive, way.format, way.precision) for way in choice.ways]
        assert ways == list(step.ways)
        taken = choice.ways[choice.taken]
        done = choices.plan.step(choice.layer)
        assert taken.name == done.way.name
        assert taken.measured
        assert all((way.seconds or 0) > 0 and not way.note for way in choice.ways)
    assert not any(step.ways for step in choices.plan.steps)
    assert all(bool(step.pattern) == step.is_sparse for step in choices.plan.steps)
    assert zeros == any(way.format != DENSE for step in plan.steps for way in step.ways)
    assert 0 <= choices.others_s < choices.predicted_s
    assert all(seconds > 0 for seconds in choices.uniform_s.values())
    replayed = Planned(file=str(tmp_path / "choices.json")).plan(network)
    assert replayed.steps == choices.plan.steps


def test_it_is_chosen_alike_from_the_same_records(tmp_path: Path) -> None:
    network = tiny("plain")
    plan = best().plan(network)
    found = []
    for folder in (tmp_path / "a", tmp_path / "b", tmp_path / "c"):
        folder.mkdir()
        found.append(chosen(network, plan, folder))
    assert found[1] == found[2]


def test_a_plan_that_is_replayed_is_compiled_to_the_same(tmp_path: Path) -> None:
    network = tiny("plain")
    (tmp_path / "again").mkdir()
    chosen(network, best().plan(network), tmp_path)
    replayed = Planned(file=str(tmp_path / "choices.json")).plan(network)
    Tvm(tuning="template", trials=2).compile(network, replayed, tmp_path / "again")
    assert open_choices(tmp_path / "again") is None, "nothing was left to choose"
    images = noise_images(network.input_shape, 1)
    first, again = (Tvm().load(folder)(images) for folder in (tmp_path, tmp_path / "again"))
    np.testing.assert_allclose(first, again, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_without_measuring_it_is_predicted(dtype: Any, tmp_path: Path) -> None:
    network = tiny("residual", dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLAS_CACHE", str(tmp_path / "empty"))
        patch.setattr(Contests, "hold", lambda *_: pytest.fail("measured"))
        choices = chosen(network, best().plan(network), tmp_path, trials=1)
    assert not any(way.measured for choice in choices.layers for way in choice.ways)
    assert all(way.seconds for choice in choices.layers for way in choice.ways)
    right(network, tmp_path)


def test_sparse_ways_are_known_without_measuring(tmp_path: Path) -> None:
    network = pruned(tiny("plain"))
    choices = chosen(network, best().plan(network), tmp_path, trials=1)
    assert all(way.seconds for choice in choices.layers for way in choice.ways)


def test_edited_by_hand_two_ways_are_left(tmp_path: Path) -> None:
    """Of one layer; the others are fixed, one of them to a primitive that nobody would take. The
    layer's own primitive is none of the two."""
    network = tiny("residual")
    ways = Way("spatial_pack"), Way("gemm")
    plan = best().plan(network)
    steps = [with_way(step, Way("gemm") if step.ways else None) for step in plan.steps]
    at = next(i for i, step in enumerate(steps) if step.layer == "conv3")
    steps[at] = msgspec.structs.replace(steps[at], primitive="winograd", ways=ways)
    file = tmp_path / "edited.json"
    file.write_bytes(msgspec.json.encode(Plan("edited", tuple(steps))))
    edited = Planned(file=str(file)).plan(network)
    choices = chosen(network, edited, tmp_path)
    (choice,) = choices.layers
    assert choice.layer == "conv3"
    assert [way.primitive for way in choice.ways] == ["spatial_pack", "gemm"]
    assert {step.primitive for step in choices.plan.steps} <= {"spatial_pack", "gemm"}
    right(network, tmp_path)


def test_best_is_for_templates(tmp_path: Path) -> None:
    sentence = "best chooses by measuring templates: tuning = 'template'"
    assert Tvm().combines("best") == sentence
    assert Tvm(tuning="template").combines("best") is None
    assert Tvm().combines("planned") is None
    assert "not 'vendor'" in (Tvm(tuning="template").combines("vendor") or "")


def test_untuned_a_plan_with_open_ways_takes_the_usual_one(tmp_path: Path) -> None:
    network = tiny("plain")
    Tvm().compile(network, best().plan(network), tmp_path)
    assert open_choices(tmp_path) is None
    right(network, tmp_path)


# -- what goes wrong -------------------------------------------------------------------------------


def failing(*primitives: str) -> Any:
    """All candidates of these crash."""

    def asked(kernel: Any, setting: Any) -> Question:
        question = of_template(kernel, setting)
        knobs, estimates = question.knobs[:2], question.estimates[:2]
        fails = question.primitive.split()[0] in primitives
        new, makers = f"{fails} {question.kernel}", [os.abort] * 2 if fails else question.makers
        return replace(question, kernel=new, knobs=knobs, estimates=estimates, makers=makers)

    return asked


@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_way_whose_candidates_fail_is_not_taken(
    all_of_them: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all ways of a layer fail, it is computed in the usual one, in plain order."""
    from dlas.systems.tvm import choice as choice_module

    network = tiny("plain")
    plan = best(primitives=["spatial_pack", "gemm", "direct"]).plan(network)
    names = ("spatial_pack", "gemm", "direct") if all_of_them else ("direct", "spatial_pack")
    for module in (tuning, choice_module):
        monkeypatch.setattr(module, "of_template", failing(*names))
    (choice,) = chosen(network, plan, tmp_path).layers
    known = {way.primitive: way.seconds for way in choice.ways}
    assert {name for name, seconds in known.items() if seconds is None} == {*names} & {*known}
    taken = choice.ways[choice.taken].primitive
    assert taken == (plan.step("conv1").primitive if all_of_them else "gemm")
    notes = {way.note for way in choice.ways if way.seconds is None}
    assert notes == {"its time is not known"}
    right(network, tmp_path)


# -- the least -------------------------------------------------------------------------------------


class MadeUp(Tuner):
    """Whose times are drawn, none of them measured."""

    seed = 0

    def drawn(self, question: Question) -> Answer:
        drawn = random.Random(f"{self.seed} {question.kernel}").uniform(1, 20)
        # Changes of layout cost what layers do, so that it matters which are made.
        return Answer(0, drawn * 1e-6, True)

    def answer(self, questions: Any, fewest: int = 2, most: int | None = None) -> list[Answer]:
        return [self.drawn(question) for question in questions]

    def known(self, question: Question) -> Answer:
        return self.drawn(question)

    def expected(self, question: Question) -> tuple[float, float]:
        return math.log(self.drawn(question).seconds or 0), 0.0


class SlowDots(MadeUp):
    """As slow as a kernel in float32 with its detour."""

    def drawn(self, question: Question) -> Answer:
        answer, factor = super().drawn(question), 3 if " dot" in question.primitive else 1
        return msgspec.structs.replace(answer, seconds=factor * (answer.seconds or 0))


def two_branches() -> Network:
    """Whole blocks, a concatenation and a sum: layouts meet."""
    b = Builder((16, 8, 8), seed=1)
    x = b.relu(b.conv("input", "stem", 16, 3))
    left, middle = b.relu(b.conv(x, "left", 16, 3)), b.conv(x, "middle", 16, 1)
    x = b.conv(b.concat([left, b.max_pool(middle, 3, 1, pad=1)]), "mix", 16, 1)
    x = b.relu(b.add(x, left))
    return b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["residual", "sparse", "two branches", "squeeze_excite"])
def test_the_least_of_all_is_taken(kind: str, seed: int) -> None:
    network = two_branches() if kind == "two branches" else tiny("residual")
    network = tiny(kind) if kind == "squeeze_excite" else network
    network = pruned(network) if kind == "sparse" else network
    plan = few_ways(best().plan(network))
    tuner = MadeUp(SETTING, 2)
    tuner.seed = seed
    chooser = Chooser(network, plan, tuner, by_templates)
    choices = chooser.choices()
    seconds = {key: answer.seconds or 0 for key, answer in chooser.answers.items()}
    layouts = Layouts(network, chooser.rows, tuner, seconds)
    # By another way than the solver's: every combination, with every layout of what is between.
    layers = {step.layer: step.ways or (usual(step),) for step in plan.steps}
    totals = {}
    for taken in itertools.product(*layers.values()):
        ways = dict(zip(layers, taken, strict=True))
        totals[taken] = sum(seconds[key] for key in ways.items()) + changes(layouts, ways)
    solved = {layer: ways[0] for layer, ways in layers.items()} | layouts.best()
    assert totals[tuple(solved.values())] == pytest.approx(min(totals.values()))
    found = {step.layer: step.way for step in choices.plan.steps}
    # What is fused differs with the ways: one for all may be faster yet, and then it is taken.
    assert found == solved or choices.predicted_s == min(choices.uniform_s.values())
    assert choices.changes_s == pytest.approx(changes(layouts, found))
    assert choices.others_s < choices.predicted_s <= min(choices.uniform_s.values())


def few_ways(plan: Plan) -> Plan:
    """Three ways of each layer, or there are too many combinations."""
    return Plan(plan.algorithm, tuple(
        msgspec.structs.replace(s, ways=(*s.ways[:2], s.ways[-1])) if len(s.ways) > 3 else s
        for s in plan.steps
    ))  # fmt: skip


def changes(layouts: Layouts, taken: Taken) -> float:
    """What changes between layouts cost, by trying every layout of every image between."""
    edges, states = layouts.edges, layouts.states
    fixed = {name: layout_of(layouts.rows[name], way) for name, way in taken.items()}
    if any(layout not in states[name] for name, layout in fixed.items()):
        return math.inf  # left out, as it could not pay
    between = [name for name in states if name not in fixed]
    totals = []
    for each in itertools.product(*(states[name] for name in between)):
        at = {**fixed, **dict(zip(between, each, strict=True))}
        totals.append(
            sum(
                table[states[a].index(at[a]), states[b].index(at[b])]
                for (a, b), table in edges.items()
            )
        )
    return float(min(totals))


@pytest.mark.parametrize("name", [*TINY, "two branches"])
def test_changes_are_counted_as_they_are_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But those of the one pixel that a dense layer writes."""
    monkeypatch.setattr(Layouts, "change_s", lambda *_: 1.0)
    network = two_branches() if name == "two branches" else tiny(name)
    plan, tuner = best().plan(network), Tuner(SETTING, 1)
    chooser = Chooser(network, plan, tuner, by_templates)
    dense = sum(row.op == "dense" for row in network.layers)
    draw = random.Random(name)
    for number in range(4):
        taken = {
            step.layer: draw.choice(step.ways) if step.ways and number else usual(step)
            for step in plan.steps
        }
        layouts = Layouts(network, chooser.rows, tuner, dict.fromkeys(taken.items(), 1.0))
        module = by_templates(network, chooser.taking(taken), tuner)
        names = [
            binding.value.args[0].name_hint
            for block in module["main"].body.blocks
            for binding in block.bindings
            if isinstance(binding.value, relax.Call) and binding.value.op.name == "relax.call_tir"
        ]
        made = sum(name.rstrip("0123456789") in ("block", "unblock") for name in names)
        assert layouts.changes_s(taken) == made - dense
        # Also where blocks are faster everywhere, and images as they lie are never weighed.
        known = {(s.layer, way): 1.0 + (layout_of(chooser.rows[s.layer], way) == PLAIN)
                 for s in plan.steps for way in s.ways or (usual(s),)}  # fmt: skip
        everything = replace(layouts, seconds=known)
        assert everything.changes_s(taken) == made - dense


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_narrow_images_lie_alike(dtype: Any) -> None:
    network = tiny("residual", dtype)
    tuner = MadeUp(SETTING, 2)
    chooser = Chooser(network, best(precisions=[]).plan(network), tuner, by_templates)
    choices = chooser.choices()
    assert choices.changes_s == 0
    for choice in choices.layers:
        assert choice.taken == fastest(choice.ways)


def fastest(ways: Sequence[Costed]) -> int:
    return min(range(len(ways)), key=lambda i: ways[i].seconds or math.inf)


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_a_narrow_layer_is_computed_in_float32_where_that_is_faster(dtype: Any) -> None:
    """With both changes of layout, which no other layer has a part in."""
    network, precisions = tiny("inverted_residual", dtype), set()
    for seed in range(3):
        tuner = SlowDots(SETTING, 2)
        tuner.seed = seed
        chooser = Chooser(network, best().plan(network), tuner, by_templates)
        choices = chooser.choices()
        changes_s = 0.0
        for choice in choices.layers:
            taken = choice.ways[choice.taken]
            assert choice.taken == fastest(choice.ways)
            assert choices.plan.step(choice.layer).way.name == taken.name
            assert {way.precision for way in choice.ways} == {"", "float32"}
            precisions.add(taken.precision)
            for each in choice.ways:
                key = choice.layer, Way(each.primitive, each.format, each.precision)
                pair = detour(chooser.rows[choice.layer], key[1], SETTING)
                change_s = sum(tuner.drawn(question).seconds or 0 for question in pair)
                assert len(pair) == (2 if each.precision else 0)
                assert (each.seconds or 0) > change_s
                changes_s += change_s if each is taken else 0.0
        assert choices.changes_s == pytest.approx(changes_s)
        assert any(name.endswith("in float32") for name in choices.uniform_s)
    assert precisions == {"", "float32"}


def test_in_a_mixed_network_images_change_and_layers_make_detours(tmp_path: Path) -> None:
    network = tiny("residual")
    spec, context = Int8(samples=16, keep=("conv2", "conv3")), Context(tmp_path, tmp_path)
    network = spec.apply(network, noise(network), context)
    assert network.dtype == "mixed"
    precisions = set()
    for seed in range(3):
        tuner = SlowDots(SETTING, 2)
        tuner.seed = seed
        plan = best(primitives=["spatial_pack", "direct"]).plan(network)
        chooser = Chooser(network, plan, tuner, by_templates)
        choices = chooser.choices()
        for choice in choices.layers:
            ways = {way.precision for way in choice.ways}
            assert ways == ({""} if choice.layer in ("conv2", "conv3") else {"", "float32"})
        taken = {step.layer: step.way for step in choices.plan.steps}
        precisions |= {way.precision for way in taken.values()}
        seconds = {key: answer.seconds or 0 for key, answer in chooser.answers.items()}
        layouts = Layouts(network, chooser.rows, tuner, seconds)
        detours_s = sum(chooser.detours.get(key, 0) for key in taken.items())
        assert choices.changes_s == pytest.approx(changes(layouts, taken) + detours_s)
    assert precisions == {"", "float32"}


@pytest.mark.parametrize("dtype, layer", [("int8", "depthwise"), ("bfloat16", "expand")])
def test_a_detour_is_what_is_compiled_around_the_layer(dtype: Any, layer: str) -> None:
    """Between neighbours that stay narrow."""
    network, tuner = tiny("inverted_residual", dtype), Tuner(SETTING, 1)
    chooser = Chooser(network, best().plan(network), tuner, by_templates)
    [way, *_] = (w for w in chooser.plan.step(layer).ways if w.precision)
    module = Module.of(chooser, chooser.taking({layer: way}))
    made = [ends(question) for question in module.others]
    for question in detour(chooser.rows[layer], way, SETTING):
        assert ends(question) in made
    assert layer in module.questions


def ends(question: Question) -> list[Any]:
    """Shape and type of what a kernel reads and writes, but for constants."""
    first, *_, last = question.plain(0).params
    return [(tuple(map(int, each.shape)), str(each.dtype)) for each in (first, last)]


def test_a_way_that_is_surely_slower_is_not_measured() -> None:
    network = tiny("plain")
    chooser = Chooser(network, best().plan(network), MadeUp(SETTING, 2), by_templates)
    expectations = {"direct": (-10.0, 0.1), "gemm": (-9.9, 0.2), "spatial_pack": (-5.0, 0.1)}
    a, b, c = (SimpleNamespace(kernel=name) for name in expectations)
    questions: Any = {("conv1", Way(each.kernel)): each for each in (a, b, c)}
    chooser.tuner = SureOf(expectations)  # type: ignore[assignment]
    assert chooser.hopeful(questions, SURE, 0.0) == [a, b]
    assert chooser.hopeful(questions, SURE, 9.0) == [a, b, c]
    chooser.detours = {("conv1", Way("gemm")): 1.0}
    assert chooser.hopeful(questions, SURE, 0.0) == [a]
    questions["other", Way("gemm")] = c
    assert chooser.hopeful(questions, SURE, 0.0) == [a, c], "the only one of its layer"


class SureOf:
    def __init__(self, expectations: Any) -> None:
        self.expectations = expectations

    def expected(self, question: Any) -> Any:
        return self.expectations[question.kernel]


def test_layouts_of_ways() -> None:
    rows = {row.name: row for row in tiny("residual").layers}
    narrow = {row.name: row for row in tiny("residual", "int8").layers}
    assert layout_of(rows["conv2"], Way("spatial_pack")) == BLOCKED
    assert layout_of(rows["conv2"], Way("spatial_pack", "csr")) == PLAIN
    assert layout_of(rows["conv2"], Way("direct")) == PLAIN
    assert layout_of(rows["fc"], Way("gemm")) == PLAIN
    assert layout_of(narrow["conv2"], Way("spatial_pack")) == PLAIN
