"""Which way each layer is computed, where a plan leaves it open: the least sum of what layers cost
and of what it costs to bring images from one layout into another.

    every way of the plan ─▶ the whole network that way: its fused kernels ─▶ tuner: their seconds
    graph of the network, costs of its layers and of changes between layouts ─▶ ``assignment.least``

Whole networks, so that every kernel has what is fused to its layer there. A way in another
precision than the network's costs its detour too (``detour.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import msgspec
import tvm
import tvm_ffi

from dlas.choices import Choice, Choices, Costed
from dlas.network import LayerRow, Network
from dlas.plan import DENSE, Plan, Step, Way
from dlas.systems.base import batch_of
from dlas.systems.tvm.calls import Call, calls
from dlas.systems.tvm.detour import detour
from dlas.systems.tvm.layouts import Layouts
from dlas.systems.tvm.lower import fused
from dlas.systems.tvm.questions import RULE, Question, of_rule, of_template
from dlas.systems.tvm.schedule import form_in
from dlas.systems.tvm.template import opened, primitive_in
from dlas.systems.tvm.tuning import Answer, Tuner

#: Standard deviations by which a way must be predicted to be behind, not to be measured.
SURE = 2.0
#: How far behind, as a logarithm of seconds, a way may be after two candidates and yet win.
CLOSE = 0.25

Translate = Callable[[Network, Plan, Tuner], tvm.IRModule]


@dataclass
class Chooser:
    """``plan``: some of its steps leave several ways. ``translate``: gives the network in Relax."""

    network: Network
    plan: Plan
    tuner: Tuner
    translate: Translate
    #: By the kernels' structural hashes.
    kernels: dict[int, Question] = field(default_factory=dict)
    #: Of every way of every layer, as far as known.
    answers: dict[tuple[str, Way], Answer] = field(default_factory=dict)
    #: Seconds of changing to another precision and back; in the answers already.
    detours: dict[tuple[str, Way], float] = field(default_factory=dict)

    def choices(self) -> Choices:
        steps = self.plan.steps
        ways = list(dict.fromkeys(way for step in steps for way in step.ways))
        uniform = {way: Module.of(self, self.uniform(way)) for way in ways}
        questions = {
            (step.layer, way): module.questions[step.layer]
            for way, module in uniform.items()
            for step in steps
            if way in step.ways and step.layer in module.questions
        }
        for step in steps:  # how the others leave their images counts too
            question = uniform[ways[0]].questions.get(step.layer)
            if question is not None and not step.ways:
                questions[step.layer, usual(step)] = question
        self.detours = self.detours_of(questions)
        self.measure(questions, list(uniform.values()))
        self.answers = {key: self.known(key, question) for key, question in questions.items()}
        layouts = Layouts(self.network, self.rows, self.tuner, self.believed())
        taken = {step.layer: usual(step) for step in steps} | layouts.best()
        best = Module.of(self, self.taking(taken))
        self.tuner.answer([*best.questions.values()])
        self.tuner.answer(best.others, fewest=1)
        # What is fused differs, and so does what is no layer: another whole may yet be faster.
        others = [Module.of(self, self.taking({})), *uniform.values()]
        whole = [best, *(each for each in others if each.is_measured())]
        best = min(whole, key=Module.seconds)
        taken = {step.layer: step.way for step in best.plan.steps}
        changes_s = layouts.changes_s(taken)
        changes_s += sum(self.detours.get(key, 0.0) for key in taken.items())
        return Choices(
            plan=best.plan,
            layers=tuple(self.choice(step, taken[step.layer]) for step in steps if step.ways),
            changes_s=changes_s,
            others_s=max(0.0, best.others_s() - changes_s),
            predicted_s=best.seconds(),
            uniform_s={way.name: module.seconds() for way, module in uniform.items()},
        )

    def believed(self) -> dict[tuple[str, Way], float]:
        """Seconds of ways that may be taken: where some of a layer were measured, of those."""
        measured = {layer for (layer, _), answer in self.answers.items() if answer.measured}
        return {
            (layer, way): answer.seconds
            for (layer, way), answer in self.answers.items()
            if answer.seconds and (answer.measured or layer not in measured)
        }

    def question(self, call: Call) -> Question:
        """Which candidate of a kernel is best; of one that has none to choose from, its time. Most
        kernels are in several of the networks, and more than once in each."""
        key = tvm_ffi.structural_hash(call.kernel.without_attr("global_symbol"))
        if key not in self.kernels:
            order, setting = opened(call.kernel), self.tuner.setting
            if form_in(order) is not None and call.layer in self.tuner.formed:
                return self.tuner.formed[call.layer]
            ask = of_rule if primitive_in(order) is None else of_template
            self.kernels[key] = ask(call.kernel, setting)
        return self.kernels[key]

    @cached_property
    def rows(self) -> Mapping[str, LayerRow]:
        return {row.name: row for row in self.network.layers}

    def uniform(self, way: Way) -> Plan:
        """Every layer this way that has it, the others in the usual one."""
        return self.taking({step.layer: way for step in self.plan.steps if way in step.ways})

    def taking(self, taken: Mapping[str, Way]) -> Plan:
        """With nothing left to choose."""
        steps = self.plan.steps
        return Plan(self.plan.algorithm, tuple(with_way(s, taken.get(s.layer)) for s in steps))

    def detours_of(self, keys: Iterable[tuple[str, Way]]) -> dict[tuple[str, Way], float]:
        wide = [key for key in keys if key[1].precision]
        given = self.tuner.setting, batch_of(self.network)
        questions = {(name, way): detour(self.rows[name], way, *given) for name, way in wide}
        self.tuner.answer([each for pair in questions.values() for each in pair], fewest=1)
        return {
            key: sum(self.tuner.known(each).seconds or 0.0 for each in pair)
            for key, pair in questions.items()
        }

    def known(self, key: tuple[str, Way], question: Question) -> Answer:
        """Of the kernel, and with its detour."""
        answer, detour_s = self.tuner.known(question), self.detours.get(key, 0.0)
        if answer.seconds is None or not detour_s:
            return answer
        return msgspec.structs.replace(answer, seconds=answer.seconds + detour_s)

    def measure(
        self, questions: Mapping[tuple[str, Way], Question], modules: Sequence[Module]
    ) -> None:
        """The ways than which no other of their layer is surely faster; first two candidates of
        each, the usual way's before, then, with the time that is left, more of those that are not
        far behind."""
        usual_ones = [
            questions[k] for s in self.plan.steps if (k := (s.layer, usual(s))) in questions
        ]
        self.tuner.answer(usual_ones, most=2)
        self.tuner.answer(self.hopeful(questions, SURE, 0.0), most=2)
        self.tuner.answer([each for module in modules for each in module.others], fewest=1)
        self.tuner.answer(self.hopeful(questions, SURE, CLOSE))

    def hopeful(
        self, questions: Mapping[tuple[str, Way], Question], sure: float, close: float
    ) -> list[Question]:
        """Those that may be faster than ``close`` behind the fastest of their layer."""
        expected = {}
        for question in questions.values():
            if question.kernel not in expected:
                expected[question.kernel] = self.tuner.expected(question)
        least: dict[str, float] = {}
        fastest = {}
        for key, question in questions.items():
            middle, deviation = expected[question.kernel]
            if key in self.detours:
                middle = math.log(math.exp(middle) + self.detours[key])
            fastest[key] = middle - sure * deviation
            least[key[0]] = min(least.get(key[0], math.inf), middle + sure * deviation)
        return [questions[key] for key in questions if fastest[key] <= least[key[0]] + close]

    def choice(self, step: Step, taken: Way) -> Choice:
        costed = []
        for way in step.ways:
            answer = self.answers.get((step.layer, way), Answer(None, None, False))
            note = "" if answer.seconds else "its time is not known"
            known = answer.seconds, answer.measured, note
            costed.append(Costed(way.primitive, way.format, *known, way.precision))
        return Choice(step.layer, tuple(costed), step.ways.index(taken))


@dataclass(frozen=True)
class Module:
    """A network by one plan, its kernels fused. ``questions``: those of layers by their names;
    ``others``: of all other calls."""

    tuner: Tuner
    plan: Plan
    questions: Mapping[str, Question]
    others: Sequence[Question]

    @classmethod
    def of(cls, chooser: Chooser, plan: Plan) -> Module:
        tuner, setting = chooser.tuner, chooser.tuner.setting
        module = tuner.together(partial(chooser.translate, chooser.network, plan, tuner))
        questions, others = {}, []
        for call in calls(fused(module, setting.target, setting.threads)):
            question = chooser.question(call)
            if question.primitive == RULE:
                others.append(question)
            else:
                questions[call.layer] = question
        return cls(tuner, plan, questions, others)

    def is_measured(self) -> bool:
        return all(map(self.tuner.is_measured, (*self.questions.values(), *self.others)))

    def seconds(self) -> float:
        """Of one inference, as known or predicted: all kernels, one after another."""
        return self.others_s() + self.sum(self.questions.values())

    def others_s(self) -> float:
        return self.sum(self.others)

    def sum(self, questions: Iterable[Question]) -> float:
        return sum(self.tuner.known(question).seconds or 0.0 for question in questions)


def with_way(step: Step, way: Way | None) -> Step:
    """The step, with nothing left to choose; None: the usual way."""
    way = way or usual(step)
    pattern = step.pattern if way.format != DENSE else ""
    return msgspec.structs.replace(
        step, primitive=way.primitive, format=way.format, precision=way.precision,
        pattern=pattern, ways=(),
    )  # fmt: skip


def usual(step: Step) -> Way:
    """The step's own way, or where an edited plan leaves others only, the first of them."""
    return step.way if step.way in step.ways or not step.ways else step.ways[0]
