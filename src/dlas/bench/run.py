"""A run: every contender of a case is compiled and its scores are checked, then all are timed in
turns, each in a process of its own.

A store keeps compiled networks under the keys of the stacks that they are, or for a moment only:
together they take gigabytes. Times are never kept, since they are worth something only beside
those taken in the same minutes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dlas.bench.cases import Case
from dlas.bench.contenders import CALIBRATION_IMAGES, WINOGRAD, Contender
from dlas.bench.rows import (
    Fault,
    Row,
    Timed,
    peaks_of,
    precision_rows_of,
    rows_of,
    sparse_rows_of,
)
from dlas.context import silent
from dlas.executable import read_header
from dlas.hardware.base import Hardware
from dlas.hardware.probe import read_probe
from dlas.measure import interleave
from dlas.measure.conditions import Flag
from dlas.measure.observation import Failure, Outcome
from dlas.network import Network
from dlas.node import Node
from dlas.plan import DENSE
from dlas.stack import Stack
from dlas.store import results
from dlas.store.store import Store, open_store
from dlas.study.making import Making, usual_limits
from dlas.study.plan import make_plan
from dlas.study.remaining import Remaining
from dlas.study.watch import Watcher

#: What says something of the machine; the other flags are of single measurements.
_OF_MACHINE = ("busy", "steal", "throttled", "governor", "slow_clock")

Watch = Callable[[float, str], None]
_Key = tuple[str, str]  # case, contender
_Made = Mapping[_Key, Path | Failure]


@dataclass(frozen=True)
class Finished:
    """A case with a row for every contender, and what of the machine makes them doubtful."""

    case: str
    rows: Sequence[Row | Fault]
    doubts: Sequence[Flag]


@dataclass(frozen=True)
class Bench:
    """Every case by every contender with so many threads. ``together`` cases are compiled by the
    same processes, which saves their starting. ``root``: the store that keeps what was compiled;
    None for nowhere."""

    cases: Sequence[Case]
    contenders: Sequence[Contender]
    device: Hardware
    threads: int = 1
    together: int = 1
    root: Path | None = None

    def run(self, watch: Watch = silent) -> Iterator[Finished]:
        """Case after case. ``watch`` hears the share of the work that is done, and at what it
        is."""
        with nullcontext(self.root) if self.root else _passing_folder() as root:
            store = open_store(root)
            self.device.probe(store.root)
            probe = read_probe(store.root, self.device.fingerprint())
            peaks = peaks_of(probe, self.threads)
            for start in range(0, len(self.cases), self.together):
                batch = self.cases[start : start + self.together]
                yield from self._batch(batch, start, store, peaks, watch)

    def _batch(
        self,
        batch: Sequence[Case],
        start: int,
        store: Store,
        peaks: Mapping[str, float],
        watch: Watch,
    ) -> Iterator[Finished]:
        """Half of a batch's time is reckoned for compiling, half for timing."""
        total, size = len(self.cases), len(batch)
        drawn = {case.name: case.draw() for case in batch}
        takers = {case.name: [c for c in self.contenders if c.takes(case)] for case in batch}
        half = _part(watch, start / total, size / total / 2)
        made = _make(drawn, takers, self.threads, store, half)
        for index, case in enumerate(batch):
            begin = (start + (size + index) / 2) / total
            part = _part(watch, begin, 0.5 / total, f"{case.name}: ")
            present, network = takers[case.name], drawn[case.name]
            outcomes = _time(case, present, made, self.device, part)
            yield _finished(case, network, present, made, outcomes, peaks)
        for folder in made.values() if self.root is None else ():
            if isinstance(folder, Path):
                store.artifacts.drop(folder)


def _passing_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="dlas-bench-")


def _part(watch: Watch, begin: float, length: float, prefix: str = "") -> Watch:
    """The watch for a part of the work."""
    return lambda fraction, text: watch(begin + length * fraction, prefix + text)


def _stack(file: Path, network: Network, contender: Contender, threads: int) -> Stack:
    images = {"train": 1, "calibration": CALIBRATION_IMAGES, "test": 2}
    task = {"shape": list(network.input_shape), "classes": network.classes}
    return Stack.parse(
        {
            "dataset": {"name": "synthetic", **task, **images},
            "model": {"onnx": str(file)},
            "optimizations": contender.optimizations(),
            "algorithm": contender.choice(),
            "system": {**contender.system, "threads": threads},
            "hardware": "null",  # compiling knows nothing of it
        }
    )


def _make(
    drawn: Mapping[str, Network],
    contenders: Mapping[str, Sequence[Contender]],
    threads: int,
    store: Store,
    watch: Watch,
) -> _Made:
    """The executables' folders, or why there is none."""
    limits = usual_limits(jobs=1)  # one at a time: tuning measures while it compiles
    with _passing_folder() as folder:
        stacks: dict[_Key, Stack] = {}
        for case, network in drawn.items():
            file = Path(folder) / f"{case}.onnx"
            file.write_bytes(network.model.SerializeToString(deterministic=True))
            for contender in contenders[case]:
                key = (case, contender.name)
                stacks[key] = _stack(file, network, contender, threads)
        planned = make_plan(list(stacks.values()), store, retry=True)
        plan = replace(planned, observed=frozenset())  # a study's measurement is of no use here
        store.results.add_nodes(plan.nodes.values())
        remaining = Remaining(plan, limits.jobs)
        watcher = _Compiling(watch)
        making = Making(plan, store, watcher, remaining)
        remaining.expect(making.look())
        watcher.total = len(remaining)
        making.run(limits)
    return {
        key: making.folders.get(chain[-2].key) or _failure(chain, making.outcomes)
        for key, chain in zip(stacks, plan.chains, strict=True)
    }


class _Compiling(Watcher):
    """Hands on how many of the nodes have been made."""

    def __init__(self, watch: Watch) -> None:
        self.total = 0
        self._watch = watch
        self._done = 0

    def started(self, node: Node) -> None:
        self._watch(self._done / self.total, f"making {node.layer} · {node.name}")

    def ended(self, node: Node, outcome: results.Outcome, remaining_s: float) -> None:
        self._done += 1
        self._watch(min(1.0, self._done / self.total), f"made {node.layer} · {node.name}")


def _failure(chain: Sequence[Node], outcomes: Mapping[str, results.Outcome]) -> Failure:
    """How the topmost of the chain's nodes that did not end well ended."""
    ends = (outcomes[node.key] for node in chain if node.key in outcomes)
    bad = next(outcome for outcome in ends if outcome.status != "ok")
    return Failure(bad.status, bad.message)


def _time(
    case: Case, contenders: Sequence[Contender], made: _Made, device: Hardware, watch: Watch
) -> dict[str, Outcome]:
    """A contender's timing, or why there is none."""
    outcomes: dict[str, Outcome] = {}
    timed = {}
    for contender in contenders:
        folder = made[case.name, contender.name]
        if isinstance(folder, Failure):
            outcomes[contender.name] = folder
        else:
            opening = partial(device.open, folder)
            timed[contender.name] = interleave.Contender(opening, device.protocol)
    interleave.measure(timed, outcomes.__setitem__, progress=watch)
    return outcomes


def _finished(
    case: Case,
    network: Network,
    contenders: Sequence[Contender],
    made: _Made,
    outcomes: Mapping[str, Outcome],
    peaks: Mapping[str, float],
) -> Finished:
    timed: list[Timed] = []
    faults: list[Fault] = []
    doubts: list[Flag] = []
    for contender in contenders:
        folder, outcome = made[case.name, contender.name], outcomes[contender.name]
        if isinstance(outcome, Failure) or isinstance(folder, Failure):
            assert isinstance(outcome, Failure)
            sentence = f"{outcome.status.replace('_', ' ')}: {outcome.message}"
            faults.append(Fault(case.name, contender.name, contender.precision, sentence))
            continue
        # A system that computes in another type than the network's says so.
        emulated, asked = read_header(folder).emulated, contender.precision != contender.given
        precision = contender.precision if emulated else contender.given
        timed.append(
            Timed(
                contender.name,
                contender.is_peer,
                precision,
                outcome.latency_s,
                outcome.block_medians_s(),
                outcome.group,
                contender.format,
                contender.system["name"],
                contender.algorithm in WINOGRAD,
                "" if asked else emulated,
            )
        )
        doubts += [flag for flag in outcome.warnings if flag.kind in _OF_MACHINE]
    rows: Sequence[Row] = rows_of(case.name, network.macs / case.copies, timed, peaks, case.copies)
    if case.format != DENSE:
        expected = network.macs / max(1, network.effective_macs)
        rows = sparse_rows_of(rows, timed, network.sparsity, expected)
    elif len(case.precisions) > 1:
        rows = precision_rows_of(rows, timed)
    return Finished(case.name, [*rows, *faults], doubts)
