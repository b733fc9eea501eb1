"""Loop orders found by MetaSchedule, with no schedule template: every kernel of a layer is searched
(``auto_search.py``), what was measured is kept, and the fastest that is right is taken.

    folder/<digest of kernel, target, threads, version>/
        database_workload.json, database_tuning_record.json     MetaSchedule's own
        lock         of the process that searches
        searched     for how many candidates a search came to its end
        search.log

What is there counts: a search that was killed goes on, one that ended is not repeated.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import tvm_ffi
from tvm import s_tir, tirx
from tvm.s_tir import meta_schedule as ms

from dlas.errors import OverBudget
from dlas.layer import distribution_version
from dlas.places import cache_folder
from dlas.systems.tvm.auto_search import Search, as_module, has_cost_model, logged
from dlas.systems.tvm.contest import LIMIT_S, Contests
from dlas.systems.tvm.lock import locked
from dlas.systems.tvm.questions import Setting, random_arguments, shape_of
from dlas.systems.tvm.schedule import MAIN, form_in, is_sum, schedule
from dlas.systems.tvm.tally import Tally
from dlas.systems.tvm.template import by_rule, by_template, fresh, opened, primitive_in, weight_of
from dlas.systems.tvm.trial import Contest, Outcome
from dlas.systems.tvm.tuning import alone
from dlas.target import Target

#: Goes up when the same kernel gets another space of loop orders.
REVISION = 1
#: Processes that build candidates; they time in turns.
JOBS = 2
#: Kernels whose search tells how long that of all would take.
TELLING = 3
RECORDS, SEARCHED, LOCK = "database_tuning_record.json", "searched", "lock"


@dataclass
class AutoScheduler:
    """``trials``: candidates that are measured of every kernel that holds a layer's sums, those
    included that ``folder`` knows. ``limit_s``: what building or running one may take.
    ``search_s``: what the search of all kernels may take; OverBudget where it would take longer."""

    target: Target
    threads: int
    trials: int
    folder: Path | None = None
    weight_bytes: int = 0
    limit_s: float = LIMIT_S
    search_s: float | None = None
    tally: Tally = field(default_factory=Tally)
    _taken_s: list[float] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What a reader of the result must know, in sentences."""
        return self.tally.notes

    def arrange(self, kernels: Sequence[tirx.PrimFunc]) -> list[tirx.PrimFunc]:
        """Each kernel with its loops in the best order found."""
        statuses: Counter[str] = Counter()
        arranged = []
        for number, kernel in enumerate(kernels, 1):
            arranged.append(self._arranged(kernel, statuses))
            self._check_budget(kernels[number:])
        self.tally.measured += statuses.total()
        self.notes.extend(discarded(statuses))
        if statuses and not has_cost_model():
            self.notes.append(
                "without a cost model candidates were drawn at random: pip install 'dlas[auto]'"
            )
        return arranged

    def _arranged(self, kernel: tirx.PrimFunc, statuses: Counter[str]) -> tirx.PrimFunc:
        if not is_searched(kernel):
            return by_rule(kernel, self.target, self.threads)
        place = self.kept / self.digest(kernel)
        place.mkdir(exist_ok=True)
        with locked(place / LOCK):  # what another process searches is known when it has ended
            return self._searched(kernel, Searched(place, self.notes), statuses)

    def _check_budget(self, rest: Sequence[tirx.PrimFunc]) -> None:
        if self.search_s is None or not self._taken_s:
            return
        left, known = sum(map(is_searched, rest)), len(self._taken_s)
        total_s = sum(self._taken_s) * (1 + left / known)
        if sum(self._taken_s) > self.search_s or (known >= TELLING and total_s > self.search_s):
            raise OverBudget(
                f"searching {known + left} kernels, {self.trials} candidates each, would take "
                f"about {total_s:.0f} s, and search_s allows {self.search_s:g} s"
            )

    def _searched(
        self, kernel: tirx.PrimFunc, searched: Searched, statuses: Counter[str]
    ) -> tirx.PrimFunc:
        start, place = time.monotonic(), searched.place
        left = searched.left(self.trials)
        self.tally.kernels += 1
        self.tally.known += len(searched.database) > 0
        if left > 0:
            search = Search(self.target, self.threads, partial(self._measured, kernel, statuses))
            seed = 1 + int(place.name[:6], 16) + len(searched.database)
            try:
                with logged(place / "search.log"):
                    search.run(kernel, searched.database, left, seed)
            except (RuntimeError, ValueError) as error:
                reason = str(error).strip().splitlines()[-1]
                self.notes.append(f"MetaSchedule cannot search {described(kernel)}: {reason}")
            else:
                searched.ended(self.trials)
            self._taken_s.append(time.monotonic() - start)
            self.tally.seconds += self._taken_s[-1]
        best = searched.best(kernel)
        if best is not None:
            return best
        self.notes.append(
            f"MetaSchedule found nothing right for {described(kernel)}: its loops are in their "
            "usual order"
        )
        return self.usual(kernel)

    @cached_property
    def kept(self) -> Path:
        """Where what is measured is kept: a folder of this process only, where there is none."""
        folder = self.folder or cache_folder() / "auto"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            self.notes.append(
                f"{folder} cannot be used ({error}), so what is searched is not kept: make it "
                "writable, or name another folder in $DLAS_CACHE"
            )
            self._scratch = TemporaryDirectory(prefix="dlas-auto-")
            return Path(self._scratch.name)

    @property
    def setting(self) -> Setting:
        return Setting(self.target, self.threads, self.weight_bytes)

    def digest(self, kernel: tirx.PrimFunc) -> str:
        """Of what is computed, whatever its parameters are called."""
        hashed = tvm_ffi.structural_hash(kernel.without_attr("global_symbol"))
        tools = distribution_version("apache-tvm"), str(REVISION)
        return self.setting.digest(str(hashed), self.target.name, *tools)

    def usual(self, kernel: tirx.PrimFunc) -> tirx.PrimFunc:
        """The kernel as it is without a search: its template's first order, or the untuned one."""
        kernel = fresh(kernel)
        order = opened(kernel)
        primitive = primitive_in(order)
        if primitive is None:
            return schedule(kernel, self.target.lanes, self.threads)
        knobs = primitive.candidates(order, self.target)[0]
        return by_template(kernel, knobs, self.threads)

    def _measured(
        self, kernel: tirx.PrimFunc, statuses: Counter[str], candidates: Sequence[tirx.PrimFunc]
    ) -> list[Outcome]:
        """How candidates did, each beside the usual order: where they differ, the plain one tells
        which is wrong."""

        def usual() -> tirx.PrimFunc:
            return self.usual(kernel)

        order = opened(kernel)
        weight = weight_of(order) if primitive_in(order) is not None else None
        given = partial(random_arguments, kernel, self.setting, weight)
        shares = [range(start, len(candidates), JOBS) for start in range(JOBS)]
        contests = Contests(
            [
                Contest(
                    candidates=[usual, *(partial(tried, candidates[at]) for at in share)],
                    plain=lambda: kernel,
                    arguments=given,
                )
                for share in shares
                if share
            ],
            self.target,
            self.threads,
            jobs=JOBS,
            limit_s=self.limit_s,
        )
        outcomes: dict[int, Outcome] = {}
        with alone():
            for number, found in contests.hold():
                outcomes |= dict(zip(shares[number], found[1:], strict=True))
        statuses.update(outcome.status for outcome in outcomes.values())
        return [outcomes[at] for at in range(len(candidates))]


@dataclass
class Searched:
    """What is known of one kernel. Files that cannot be read are set aside."""

    place: Path
    notes: list[str]

    @cached_property
    def database(self) -> Any:
        self.place.mkdir(parents=True, exist_ok=True)
        drop_half_line(self.place / RECORDS)
        try:
            return ms.database.JSONDatabase(work_dir=str(self.place))
        except (RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
            aside = self.set_aside()
            reason = str(error).strip().splitlines()[-1]
            self.notes.append(
                f"what was measured in {self.place} cannot be read ({reason}): it lies in "
                f"{aside.name} now, and the search begins anew"
            )
            return ms.database.JSONDatabase(work_dir=str(self.place))

    def set_aside(self) -> Path:
        taken = len(list(self.place.parent.glob(f"{self.place.name}.damaged-*")))
        aside = self.place.with_name(f"{self.place.name}.damaged-{taken + 1}")
        self.place.rename(aside)
        self.place.mkdir()
        return aside

    def left(self, trials: int) -> int:
        """How many of so many candidates are still to be measured."""
        known = len(self.database)
        mark = self.place / SEARCHED
        before = mark.read_text() if mark.exists() else ""
        # A small space has fewer candidates than were asked for.
        return 0 if before.isdecimal() and int(before) >= trials else trials - known

    def ended(self, trials: int) -> None:
        (self.place / SEARCHED).write_text(str(trials))

    def best(self, kernel: tirx.PrimFunc) -> tirx.PrimFunc | None:
        """The fastest that ran and was right."""
        module = as_module(kernel)
        top = self.database.get_top_k(self.database.commit_workload(module), 1)
        if not top:
            return None
        order = s_tir.Schedule(module)
        top[0].trace.apply_to_schedule(order, remove_postproc=False)
        return order.mod[MAIN].without_attr("global_symbol")


def drop_half_line(file: Path) -> None:
    """What a process was killed while writing."""
    if file.exists():
        data = file.read_bytes()
        if data and not data.endswith(b"\n"):
            file.write_bytes(data[: data.rfind(b"\n") + 1])


def is_searched(kernel: tirx.PrimFunc) -> bool:
    """Whether its loops can be searched: those of a form run over what its weights say, and no
    schedule moves them."""
    order = opened(kernel)
    searchable = primitive_in(order) is not None or has_products(order)
    return searchable and form_in(order) is None


def has_products(order: s_tir.Schedule) -> bool:
    """Whether a sum reads two arrays, as those of layers do: image and weights."""
    blocks = order.get_child_blocks(order.get_sblock("root", MAIN))
    return any(is_sum(order, block) and len(order.get(block).reads) > 1 for block in blocks)


def tried(candidate: tirx.PrimFunc) -> tirx.PrimFunc:
    """A candidate, in the process that builds it."""
    return candidate


def described(kernel: tirx.PrimFunc) -> str:
    """A kernel as a reader may know it: its primitive and the shape of what it computes."""
    primitive = primitive_in(opened(kernel))
    shape = " × ".join(map(str, shape_of(kernel.params[-1])))
    return f"the {primitive.name if primitive else 'untuned'} kernel of {shape}"


def discarded(statuses: Counter[str]) -> list[str]:
    """A sentence on the candidates that did not run or were wrong, if there were any."""
    bad = {status: number for status, number in sorted(statuses.items()) if status != "ok"}
    if not bad:
        return []
    kinds = ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in bad.items())
    return [f"{sum(bad.values())} of {statuses.total()} candidates were discarded: {kinds}"]
