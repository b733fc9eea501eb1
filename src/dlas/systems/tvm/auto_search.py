"""One search by MetaSchedule, TVM's auto-scheduler and the successor of Ansor (Zheng et al. 2020,
arXiv:2006.06762; Shao et al. 2022, arXiv:2205.13603): it derives a space of loop orders from the
kernel itself, draws from it, and lets a cost model, taught by what was measured, choose what is
measured next.

MetaSchedule draws and learns. Building, checking and timing is a contest, as for templates.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule import schedule_rule as rules

from dlas.systems.tvm.lower import llvm_target
from dlas.systems.tvm.schedule import MAIN
from dlas.systems.tvm.template import fresh
from dlas.systems.tvm.trial import Outcome
from dlas.target import Target

#: Candidates that are drawn, built and measured together. The cost model is taught after each such
#: round; the first few are drawn at random.
ROUND, UNTAUGHT = 8, 16
#: What evolution keeps and for how many generations. With MetaSchedule's own numbers, 512 and 4, it
#: takes ten times as long as the measuring.
POPULATION, GENERATIONS = 64, 3
#: Threads that draw candidates.
DRAWING = 2
#: What MetaSchedule writes for a candidate that failed.
FAILED_S = 1e10
LOGGER = "tvm.s_tir.meta_schedule"

# Ctrl-C while MetaSchedule asks the cost model would become a RuntimeError on its way through C++.
tvm_ffi.register_error("KeyboardInterrupt", KeyboardInterrupt)

Measure = Callable[[Sequence[tirx.PrimFunc]], list[Outcome]]


@dataclass(frozen=True)
class Search:
    """``measure`` tells how candidates did, each a kernel with its loops in order."""

    target: Target
    threads: int
    measure: Measure

    def run(self, kernel: tirx.PrimFunc, database: Any, trials: int, seed: int) -> None:
        """Measure up to so many candidates beyond those in the database, and add them to it. Fewer
        where the space has no more; RuntimeError or ValueError where MetaSchedule makes none."""
        module = as_module(kernel)
        strategy = ms.search_strategy.EvolutionarySearch(
            population_size=POPULATION,
            init_min_unmeasured=POPULATION * 3 // 4,
            genetic_num_iters=GENERATIONS,
        )
        with no_intrinsics():
            context = ms.TuneContext(
                module,
                target=llvm_target(self.target, self.threads),
                space_generator=space(self.target, self.threads),
                search_strategy=strategy,
                rand_state=seed,
                num_threads=DRAWING,
                logger=logging.getLogger(LOGGER),
            )
        model = cost_model()
        known = list(database.get_all_tuning_records())
        if known:
            results = [ms.runner.RunnerResult(each.run_secs, None) for each in known]
            model.update(context, [each.as_measure_candidate() for each in known], results)
        workload = database.commit_workload(module)
        context.pre_tuning(trials, min(ROUND, trials), None, database, model)
        # MetaSchedule's own loop wants what it measures in files, and hides what is raised here.
        while candidates := context.generate_measure_candidates():
            outcomes = self.measure([each.sch.mod[MAIN] for each in candidates])
            results = [result(outcome) for outcome in outcomes]
            for each, outcome in zip(candidates, outcomes, strict=True):
                seconds = [FAILED_S if outcome.seconds is None else outcome.seconds]
                database.commit_tuning_record(
                    ms.database.TuningRecord(
                        each.sch.trace, workload, seconds, context.target, each.args_info
                    )
                )
            model.update(context, candidates, results)
            context.notify_runner_results(candidates, results)
        context.post_tuning()


def result(outcome: Outcome) -> Any:
    """As MetaSchedule has it: seconds, or why there are none."""
    if outcome.seconds is None:
        return ms.runner.RunnerResult(None, f"{outcome.status}: {outcome.note}")
    return ms.runner.RunnerResult([outcome.seconds], None)


def space(target: Target, threads: int) -> Any:
    """MetaSchedule's space for processors, with three changes: the innermost loop is one vector of
    the target, by a rule of its own for other machines; sums are in registers, where arrays of the
    scope "local" are put (``registers.py``); one thread has no parallel loops. Left out are its
    rules with dot products of bytes, which want weights in another layout."""
    # "must": where sums may be written into what follows, it fails on Winograd's output transform.
    jobs = 16 if threads > 1 else -1
    inlined = rules.AutoInline(
        into_producer=False, into_consumer=True, inline_const_tensor=True,
        disallow_if_then_else=True, require_injective=True, require_ordered=True,
        disallow_op=["tirx.exp"],
    )  # fmt: skip
    tiled = rules.MultiLevelTilingWideVector(
        structure="SSRSRS",
        vector_length_in_bits=target.vector_bits,
        max_innermost_factor=64,
        reuse_write=rules.ReuseType(req="must", levels=[1, 2], scope="local"),
    )
    marked = rules.ParallelizeVectorizeUnroll(
        max_jobs_per_core=jobs,
        max_vectorize_extent=64,
        unroll_max_steps=[0, 16, 64, 512],
        unroll_explicit=True,
    )
    return ms.space_generator.PostOrderApply(
        sch_rules=[
            rules.InlineConstantScalars(),
            inlined,
            rules.AddRFactor(max_jobs_per_core=jobs, max_innermost_factor=64),
            tiled,
            marked,
            rules.RandomComputeLocation(),
        ],
        postprocs=ms.postproc.Postproc.create("llvm"),
        mutator_probs={
            mutator: probability
            for mutator, probability in ms.mutator.Mutator.create("llvm").items()
            if threads > 1 or "MutateParallel" not in str(mutator)
        },
    )


@contextmanager
def no_intrinsics() -> Iterator[None]:
    """``TuneContext`` imports the intrinsics that TVM knows for all machines, in our space none:
    reading them takes seconds, and minutes where many modules are loaded."""
    name = "tvm.s_tir.tensor_intrin"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]


def cost_model() -> Any:
    """Boosted trees; without the library, MetaSchedule's evolution has nothing to go by."""
    if not has_cost_model():
        return ms.cost_model.RandomModel()
    # One thread: trees of so few samples are slower on two.
    return ms.cost_model.XGBModel(num_warmup_samples=UNTAUGHT, num_tuning_cores=1)


def has_cost_model() -> bool:
    return importlib.util.find_spec("xgboost") is not None


@contextmanager
def logged(file: Path) -> Iterator[None]:
    """What MetaSchedule has to say, in a file."""
    logger, handler = logging.getLogger(LOGGER), logging.FileHandler(file)
    before = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.propagate, level = before
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def as_module(kernel: tirx.PrimFunc) -> tvm.IRModule:
    main = fresh(kernel).with_attr("global_symbol", MAIN).with_attr("tirx.noalias", True)
    return tvm.IRModule({MAIN: main})
