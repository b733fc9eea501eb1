"""Whole networks: tuned with the records of others to begin with, chosen per layer, timed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dlas.bench.cases import build
from dlas.bench.tuning.rows import SINGLE, FaultRow, NetworkRow
from dlas.choices import open_choices
from dlas.errors import DlasError
from dlas.executable import compile_network
from dlas.hardware.base import Hardware
from dlas.layer import member
from dlas.measure import interleave
from dlas.measure.observation import Failure, Observation, Outcome
from dlas.measure.statistics import paired_ratio
from dlas.network import Network
from dlas.systems.tvm import Tvm
from dlas.systems.tvm.tally import Tally, open_tally
from dlas.target import host
from dlas.tuning.record import Record
from dlas.tuning.store import TuningStore

BEST, CHEAPEST = "best", "cheapest"


@dataclass(frozen=True)
class Made:
    """``tuning_s`` and so on: see ``NetworkRow``."""

    folder: Path
    tally: Tally
    compile_s: float


def network_rows(
    name: str, known: Sequence[Record], device: Hardware
) -> list[NetworkRow | FaultRow]:
    """``cheapest`` first, so that its tuning knows nothing but ``known``; then ``best``, and each
    algorithm by itself."""
    network = build(name)
    faults: list[NetworkRow | FaultRow] = []
    with tempfile.TemporaryDirectory(prefix="dlas-bench-") as root, own_cache(Path(root) / "cache"):
        TuningStore().add(known)
        made = {}
        for algorithm in (CHEAPEST, BEST, *SINGLE):
            try:
                made[algorithm] = make(network, algorithm, Path(root) / algorithm)
            except DlasError as error:
                faults.append(FaultRow(f"{name} {algorithm}", str(error)))
        outcomes: dict[str, Outcome] = {}
        timed = {
            algorithm: interleave.Contender(partial(device.open, one.folder), device.protocol)
            for algorithm, one in made.items()
        }
        interleave.measure(timed, outcomes.__setitem__)
        foreseen = {
            algorithm: predicted_s(network, algorithm, one.folder)
            for algorithm, one in made.items()
        }
        return [*rows_of(name, made, outcomes, foreseen), *faults]


def make(network: Network, algorithm: str, folder: Path) -> Made:
    folder.mkdir()
    start = time.monotonic()
    planner: Any = member("algorithms", algorithm)()
    compile_network(Tvm(tuning="template"), network, planner.plan(network), folder)
    return Made(folder, open_tally(folder) or Tally(), time.monotonic() - start)


def rows_of(
    name: str, made: dict[str, Made], outcomes: dict[str, Outcome], foreseen: dict[str, float]
) -> Iterator[NetworkRow | FaultRow]:
    best = outcomes.get(BEST)
    for algorithm, outcome in outcomes.items():
        if isinstance(outcome, Failure):
            yield FaultRow(f"{name} {algorithm}", outcome.message)
            continue
        one = made[algorithm]
        median_s, *interval = outcome.latency_s
        yield NetworkRow(
            network=name,
            algorithm=algorithm,
            median_s=median_s,
            ci95_s=(interval[0], interval[1]),
            predicted_s=foreseen[algorithm],
            over_best=over(outcome, best) if isinstance(best, Observation) else None,
            tuning_s=one.tally.seconds,
            measured=one.tally.measured,
            compile_s=one.compile_s,
        )


def predicted_s(network: Network, algorithm: str, folder: Path) -> float:
    """The sum of its kernels' times, as they were measured while networks were tuned."""
    from dlas.systems.tvm.choice import Chooser, Module
    from dlas.systems.tvm.compiling import by_templates, weight_bytes
    from dlas.systems.tvm.questions import Setting
    from dlas.systems.tvm.tuning import Tuner

    planner: Any = member("algorithms", algorithm)()
    chosen = open_choices(folder)
    plan = chosen.plan if chosen else planner.plan(network)
    tuner = Tuner(Setting(host(), 1, weight_bytes(network)), Tvm(tuning="template").budget)
    module = Module.of(Chooser(network, plan, tuner, by_templates), plan)
    tuner.answer(module.others, fewest=1)
    return module.seconds()


def over(outcome: Observation, best: Observation) -> float:
    """By the rounds that both ran."""
    a, b = outcome.block_medians_s(), best.block_medians_s()
    shared = min(len(a), len(b))
    return paired_ratio(a[:shared], b[:shared]).value


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """With another place for what is measured of kernels than the user's."""
    before = os.environ.get("DLAS_CACHE")
    os.environ["DLAS_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["DLAS_CACHE"]
        else:
            os.environ["DLAS_CACHE"] = before
