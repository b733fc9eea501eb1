"""Choosing among the candidates of every kernel: a model ranks them, the first few that this
machine has not measured yet are, and the best is taken.

    questions ─▶ store: what was measured here ─▶ model: what else is worth it ─▶ contests ─▶ store
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from tvm import tirx

from dlas.layer import distribution_version
from dlas.places import cache_folder
from dlas.systems.tvm.contest import Contests
from dlas.systems.tvm.lock import locked
from dlas.systems.tvm.questions import Question, Setting, of_dots, of_sparse, of_template
from dlas.systems.tvm.tally import Tally
from dlas.systems.tvm.template import by_rule, by_template, opened, primitive_in
from dlas.systems.tvm.trial import Outcome
from dlas.target import Target
from dlas.tuning.model import CostModel, Prediction
from dlas.tuning.record import Place, Record, machine_name
from dlas.tuning.store import TuningStore

if TYPE_CHECKING:
    from dlas.algorithms.dot.kernel import Kernel as DotKernel
    from dlas.algorithms.sparse.kernel import Kernel as SparseKernel

#: Goes up when a template gives other loops for the same knobs.
REVISION = 8
#: All of a network's measuring takes no longer; kernels that are left get the model's first.
BUDGET_S = 40.0
#: Contests at once: one is timed, the others are compiled meanwhile.
MOST_JOBS = 4
LOCK = "tuning.lock"

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    """The candidate to take, and its seconds, ``measured`` here or predicted; None where no
    candidate works."""

    candidate: int | None
    seconds: float | None
    measured: bool


@dataclass
class Tuner:
    """``trials``: how many candidates of a kernel are measured, at most; 1 measures nothing, and
    takes the first by the primitive's estimate."""

    setting: Setting
    trials: int
    store: TuningStore = field(default_factory=TuningStore)
    budget_s: float = BUDGET_S
    tally: Tally = field(default_factory=Tally)
    models: dict[str, CostModel] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    #: How many candidates of a kernel were asked for.
    asked: dict[str, int] = field(default_factory=dict)
    #: What was asked while layers were translated, last of each.
    formed: dict[str, Question] = field(default_factory=dict)
    #: Questions that wait to be answered together; None: each is answered at once.
    waiting: dict[str, Question] | None = None

    @property
    def place(self) -> Place:
        return place_of(self.setting.target)

    # -- what a translation and a build ask ----------------------------------------------------

    def arrange(self, kernels: Sequence[tirx.PrimFunc]) -> list[tirx.PrimFunc]:
        """Every kernel with its loops in order."""
        target, threads = self.setting.target, self.setting.threads
        questions = {i: of_template(k, self.setting) for i, k in templates(kernels).items()}
        answers = dict(zip(questions, self.answer(list(questions.values())), strict=True))
        arranged = []
        for i, kernel in enumerate(kernels):
            if i not in answers:
                arranged.append(by_rule(kernel, target, threads))
                continue
            chosen = answers[i].candidate
            if chosen is None:
                arranged.append(kernel)
                continue
            knobs = {name: int(value) for name, value in questions[i].knobs[chosen].items()}
            arranged.append(by_template(kernel, knobs, threads))
        return arranged

    def choose_tile(self, layer: str, kernels: Sequence[SparseKernel]) -> SparseKernel:
        """The fastest of a sparse layer's kernels."""
        return kernels[self._index(layer, kernels, of_sparse)]

    def choose_dots(self, layer: str, kernels: Sequence[DotKernel]) -> DotKernel:
        """The fastest of a layer's kernels on narrow numbers."""
        return kernels[self._index(layer, kernels, of_dots)]

    def together(self, translate: Callable[[], T]) -> T:
        """What ``translate`` gives. It is done twice where it asks for choices: first to know all
        questions, which are answered side by side."""
        self.waiting = {}
        found = translate()
        questions, self.waiting = list(self.waiting.values()), None
        if not questions:
            return found
        self.answer(questions)
        return translate()

    def _index(self, layer: str, kernels: Sequence[Any], ask: Callable[..., Question]) -> int:
        question = self.formed[layer] = ask(kernels, self.setting)
        if self.trials == 1:
            return 0
        if self.waiting is not None:
            self.waiting[question.kernel] = question
            return 0
        return self.answer([question])[0].candidate or 0

    def finished(self) -> Tally:
        """What was done, with what the store has to say."""
        self.tally.notes += [note for note in self.store.notes if note not in self.tally.notes]
        return self.tally

    # -- answering -----------------------------------------------------------------------------

    def answer(
        self, questions: Sequence[Question], fewest: int = 2, most: int | None = None
    ) -> list[Answer]:
        """The best candidate of each. Kernels of fewer than ``fewest`` candidates are not measured:
        there is nothing to choose. ``most``: candidates that are, if fewer than usual."""
        trials = min(most or self.trials, self.trials)
        searches = {
            question.kernel: self._search(question)
            for question in questions
            if self.asked.get(question.kernel, 0) < trials
        }
        new = [search for kernel, search in searches.items() if kernel not in self.asked]
        self.tally.kernels += len(new)
        self.tally.known += sum(search.best() is not None for search in new)
        several = [s for s in searches.values() if len(s.question.knobs) >= fewest]
        for wave in waves(trials) if several else ():
            for search in several:  # with what the wave before has taught
                search.model = self.model(search.question)
            self._measure([(s, missing) for s in several if (missing := s.missing(wave))])
        self.tally.late += sum(not search.times for search in several) if trials > 1 else 0
        self.answers |= {kernel: search.answer() for kernel, search in searches.items()}
        self.asked |= dict.fromkeys(searches, trials)
        return [self.answers[question.kernel] for question in questions]

    def known(self, question: Question) -> Answer:
        """What is known of it, or predicted, without any measuring."""
        found = self.answers.get(question.kernel)
        if found is None:
            found = self.answers[question.kernel] = self._search(question).answer()
        return found

    def is_measured(self, question: Question) -> bool:
        return self.known(question).measured

    def expected(self, question: Question) -> tuple[float, float]:
        """The logarithm of the best candidate's seconds, and its standard deviation."""
        search = self._search(question)
        best = search.best()
        if best is not None:
            return math.log(search.times[best] or math.inf), 0.0
        first = search.answer().candidate
        if first is None:
            return math.inf, 0.0
        prediction = search.prediction()
        return float(prediction.log_seconds[first]), float(prediction.deviation[first])

    def _search(self, question: Question) -> Search:
        known = self.store.of_kernel(question.kernel, self.place) if self.trials > 1 else []
        return Search(question, known, self.model(question))

    def model(self, question: Question) -> CostModel:
        """Of the question's primitive, from all records of its candidates."""
        if question.primitive not in self.models:
            records = self.store.guides(question.primitive) if self.trials > 1 else []
            self.models[question.primitive] = CostModel(records)
        return self.models[question.primitive]

    def _measure(self, searches: Sequence[tuple[Search, list[int]]]) -> None:
        """The heaviest kernels first, while there is time."""
        left_s = self.budget_s - self.tally.seconds
        if not searches or left_s <= 0:
            return
        ordered = sorted(searches, key=lambda pair: -pair[0].question.estimates[0])
        contests = Contests(
            [search.question.contest(missing) for search, missing in ordered],
            self.setting.target,
            self.setting.threads,
            jobs_for(self.setting.threads),
        )
        with alone():
            start = time.monotonic()
            for number, _ in contests.hold(start + left_s):
                self._keep(*ordered[number], contests.outcomes.pop(number))
            for number, outcomes in contests.outcomes.items():  # of those that were not ended
                self._keep(*ordered[number], outcomes)
            self.tally.seconds += time.monotonic() - start

    def _keep(self, search: Search, asked: Sequence[int], outcomes: dict[int, Outcome]) -> None:
        found = {asked[at]: outcome for at, outcome in outcomes.items()}
        self.tally.measured += sum(index not in search.times for index in found)
        self.tally.discard(o.status for o in found.values() if o.status != "ok")
        search.add(found)
        self.store.add([search.record(i, o, self.place) for i, o in found.items()])
        self.models.pop(search.question.primitive, None)


@dataclass
class Search:
    """Of the best candidate of one kernel. ``times`` of those measured here; failed ones are
    None."""

    question: Question
    known: Sequence[Record]
    model: CostModel
    times: dict[int, float | None] = field(init=False)

    def __post_init__(self) -> None:
        measured = {record.candidate: record.seconds for record in self.known}
        each = ((i, self.question.candidate(i)) for i in range(len(self.question.knobs)))
        self.times = {i: measured[name] for i, name in each if name in measured}

    def missing(self, trials: int) -> list[int]:
        """What to measure before the best is known, so that ``trials`` were at most: nothing, or
        those that may be faster, beside the best of those that were measured."""
        best, left = self.best(), trials - len(self.times)
        if left <= 0:
            return []
        prediction = self.prediction()
        untried = [i for i in prediction.order if i not in self.times]
        if not untried:
            return []
        wanted = prediction.contenders(untried[0] if best is None else best)
        if best is None:  # and the second, which could disagree with the first
            wanted += untried[:2]
        missing = [i for i in untried if i in wanted][:left]
        return [best, *missing] if missing and best is not None else missing

    def add(self, outcomes: dict[int, Outcome]) -> None:
        """Of one contest. Times of another are not compared with these: what took part in both is
        the measure."""
        self.times.update({i: outcome.seconds for i, outcome in outcomes.items()})

    def best(self) -> int | None:
        done = {i: seconds for i, seconds in self.times.items() if seconds is not None}
        return min(done, key=done.__getitem__, default=None)

    def answer(self) -> Answer:
        best = self.best()
        if best is not None:
            return Answer(best, self.times[best], True)
        prediction = self.prediction()
        untried = next((i for i in prediction.order if i not in self.times), None)
        seconds = None if untried is None else float(prediction.seconds[untried])
        return Answer(untried, seconds, False)

    def prediction(self) -> Prediction:
        question = self.question
        return self.model.predict(question.workload, question.knobs, question.estimates)

    def record(self, index: int, outcome: Outcome, place: Place) -> Record:
        question = self.question
        return Record(
            kernel=question.kernel,
            candidate=question.candidate(index),
            primitive=question.primitive,
            workload=floats(question.workload),
            knobs=floats(question.knobs[index]),
            estimate=float(question.estimates[index]),
            seconds=outcome.seconds,
            status=outcome.status,
            place=place,
            created=time.time(),
        )


def floats(numbers: Mapping[str, float]) -> dict[str, float]:
    """The same, whatever numbers they are: a truth would not be read as one again."""
    return {name: float(value) for name, value in numbers.items()}


def waves(trials: int) -> Sequence[int]:
    """How many candidates of a kernel are measured, in all, after each wave. Two at least: one
    alone has nobody who could disagree with it."""
    return sorted({max(2, math.ceil(trials / 2)), trials}) if trials > 1 else ()


def templates(kernels: Sequence[tirx.PrimFunc]) -> dict[int, tirx.PrimFunc]:
    """Those with a choice in their order."""
    return {
        i: kernel for i, kernel in enumerate(kernels) if primitive_in(opened(kernel)) is not None
    }


def place_of(target: Target) -> Place:
    compiler = f"apache-tvm {distribution_version('apache-tvm')}"
    return Place(
        machine=machine_name(target), target=target.name, compiler=compiler, revision=REVISION
    )


def jobs_for(threads: int) -> int:
    """Contests at once. Kernels on several threads are left alone."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(MOST_JOBS, (cpus or 1) // threads)) if threads == 1 else 1


def alone() -> contextlib.AbstractContextManager[None]:
    """One process of the machine measures at a time; without a place for the lock, any."""
    with contextlib.suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
    return locked(cache_folder() / LOCK)
