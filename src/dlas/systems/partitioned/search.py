"""Which system for which stage: stages and pairs of them are timed, a shortest path names the
likeliest mixtures, and those are timed as whole networks beside every single system."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlas.errors import Refused
from dlas.executable import Run
from dlas.measure.statistics import Estimate, median_interval, paired_ratio
from dlas.systems.partitioned.path import spans, ways, winner
from dlas.systems.partitioned.pieces import Pieces
from dlas.systems.partitioned.record import Candidate, Part, Partition, Stage
from dlas.systems.partitioned.timing import Step, in_turns

#: Mixtures that are compiled and timed as whole networks.
MIXTURES = 3
#: Enough turns to rank mixtures by; whether one wins is decided by more.
STAGE_TURNS = 3

Seconds = NDArray[np.float64]
#: (first stage, end, what runs them), in order.
Lane = list[tuple[int, int, Run]]


class Found(NamedTuple):
    """``folders``: where each part of the chosen candidate has been compiled to."""

    partition: Partition
    folders: list[Path]


@dataclass(frozen=True)
class Costs:
    """By (system, stage): ``stage``, seconds in every turn; ``saved``, how many the system saves
    when it goes on into the next stage, as the two are compiled as one. ``whole``: seconds of the
    whole network by system."""

    systems: int
    stages: int
    stage: Mapping[tuple[int, int], Seconds]
    saved: Mapping[tuple[int, int], float]
    whole: Mapping[int, float]

    def table(self) -> list[dict[int, float]]:
        """Seconds of every stage, by system."""
        return [
            {
                system: float(np.median(self.stage[system, stage]))
                for system in range(self.systems)
                if (system, stage) in self.stage
            }
            for stage in range(self.stages)
        ]

    def gain(self) -> float:
        """What mixing would save if crossings cost nothing, as a share of the fastest system's
        time: 0 where a stage can be done by none, 1 where every stage can, but in no system all.
        A system's stages are taken to share what it loses to crossings in proportion."""
        table = self.table()
        if not all(table):
            return 0.0
        for system, whole in self.whole.items():
            apart = sum(row.get(system, math.inf) for row in table)
            for row in table:
                if system in row and math.isfinite(apart):
                    row[system] *= min(1.0, whole / apart)
        every = set.intersection(*(set(row) for row in table))
        single = min((sum(row[system] for row in table) for system in every), default=math.inf)
        return 1 - sum(min(row.values()) for row in table) / single

    def likely(self, margin: float) -> list[tuple[tuple[int, ...], float | None]]:
        """The system of every stage, and the predicted seconds (None where crossings were not
        measured): every system alone, then mixtures that should be faster than any of them."""
        alone = [(system,) * self.stages for system in range(self.systems)]
        if self.gain() <= margin:
            return [(rank, None) for rank in alone]
        table = self.table()
        known: dict[tuple[int, ...], float] = {}
        for system in range(self.systems):
            only = [{k: v for k, v in row.items() if k == system} for row in table]
            known.update((way.rank, way.seconds) for way in ways(only, self.saved, 1))
        fastest = min(known.values(), default=math.inf)
        mixed = [way for way in ways(table, self.saved, MIXTURES + self.systems) if way.crossings]
        better = [(way.rank, way.seconds) for way in mixed[:MIXTURES] if way.seconds < fastest]
        return [*((rank, known.get(rank)) for rank in alone), *better]


def search(pieces: Pieces, margin: float, time_budget_s: float) -> Found:
    """Compile, time and choose. Raises Refused where no system runs the network."""
    costs = stage_costs(pieces, margin, time_budget_s / 2)
    chances, runs = [], []
    for rank, predicted_s in costs.likely(margin):
        parts = tuple(_compiled(pieces, spans(rank)))
        run = pieces.run(parts) if parts else None
        if run is not None:
            chances.append((parts, predicted_s))
            runs.append(run)
    if not runs:
        raise Refused(f"no system runs the network: {'; '.join(pieces.notes)}")
    lanes = {index: [Step(run, pieces.images[0])] for index, run in enumerate(runs)}
    turns = {index: found[:, 0] for index, found in in_turns(lanes, time_budget_s / 2).items()}
    candidates = tuple(
        Candidate(parts, predicted_s, median_interval(turns[index]))
        for index, (parts, predicted_s) in enumerate(chances)
    )
    chosen = winner(
        [each.measured_s for each in candidates], [each.is_mixed for each in candidates], margin
    )
    names = [system.name for system in pieces.systems]
    partition = Partition(
        _stages(pieces),
        {name: _intervals(costs, system) for system, name in enumerate(names)},
        {name: _saved(costs, system) for system, name in enumerate(names)},
        candidates,
        chosen,
        _ratio(candidates, turns),
        tuple(dict.fromkeys(pieces.notes)),
    )
    return Found(partition, [pieces.folder(part) for part in partition.parts])


def stage_costs(pieces: Pieces, margin: float, budget_s: float) -> Costs:
    """Every stage and the whole network by every system; and every two neighbours as one, unless
    mixing would not save ``margin`` even if crossings cost nothing."""
    stages, systems = len(pieces.line), range(len(pieces.systems))
    lanes: dict[tuple[int, str], Lane] = {}
    for system in systems:
        lanes[system, "stages"] = _loaded(pieces, system, [(k, k + 1) for k in range(stages)])
        lanes[system, "whole"] = _loaded(pieces, system, [(0, stages)])
    costs = _costs(pieces, lanes, budget_s / 2)
    if costs.gain() <= margin:
        return costs
    for system in systems:
        there = {first for first, _, _ in lanes[system, "stages"]}
        for start in (0, 1):  # pairs that do not overlap, so that an image passes through them
            pairs = [(k, k + 2) for k in range(start, stages - 1, 2) if {k, k + 1} <= there]
            lanes[system, f"pairs from {start}"] = _loaded(pieces, system, pairs)
    return _costs(pieces, lanes, budget_s / 2)


def _costs(pieces: Pieces, lanes: Mapping[tuple[int, str], Lane], budget_s: float) -> Costs:
    stages = len(pieces.line)
    steps = {key: _steps(pieces, lane) for key, lane in lanes.items() if lane}
    taken = {
        (system, first, end): turns[:, column]
        for (system, what), turns in in_turns(steps, budget_s, STAGE_TURNS).items()
        for column, (first, end, _) in enumerate(lanes[system, what])
    }
    stage = {(s, first): turns for (s, first, end), turns in taken.items() if end == first + 1}
    saved = {
        (s, first): float(np.median(stage[s, first] + stage[s, first + 1] - turns))
        for (s, first, end), turns in taken.items()
        if end == first + 2 and {(s, first), (s, first + 1)} <= stage.keys()
    }
    whole = {
        s: float(np.median(t)) for (s, first, end), t in taken.items() if end - first == stages
    }
    return Costs(len(pieces.systems), stages, stage, saved, whole)


def _loaded(pieces: Pieces, system: int, wanted: Iterable[tuple[int, int]]) -> Lane:
    found = []
    for first, end in wanted:
        part = pieces.part(system, first, end)
        run = pieces.run([part]) if part else None
        if run is not None:
            found.append((first, end, run))
    return found


def _steps(pieces: Pieces, lane: Lane) -> list[Step]:
    """Each gets what the one before gave, where it is the next."""
    ends = [None, *(end for _, end, _ in lane)]
    return [
        Step(run, None if first == before else pieces.images[first])
        for before, (first, _, run) in zip(ends, lane, strict=False)
    ]


def _compiled(pieces: Pieces, wanted: Iterable[tuple[int, int, int]]) -> list[Part]:
    """The parts; none of them where one cannot be compiled."""
    found = []
    for system, first, end in wanted:
        part = pieces.part(system, first, end)
        if part is None:
            return []
        found.append(part)
    return found


def _stages(pieces: Pieces) -> tuple[Stage, ...]:
    found = []
    for index in range(len(pieces.line)):
        piece = pieces.line.piece(index, index + 1)
        names = tuple(row.name for row in piece.layers)
        found.append(Stage(names, piece.macs, pieces.images[index + 1].shape))
    return tuple(found)


def _intervals(costs: Costs, system: int) -> tuple[Estimate | None, ...]:
    taken = (costs.stage.get((system, stage)) for stage in range(costs.stages))
    return tuple(None if turns is None else median_interval(turns) for turns in taken)


def _saved(costs: Costs, system: int) -> tuple[float | None, ...]:
    return tuple(costs.saved.get((system, stage)) for stage in range(costs.stages - 1))


def _ratio(candidates: Sequence[Candidate], turns: Mapping[int, Seconds]) -> Estimate | None:
    def fastest(wanted: bool) -> Seconds | None:
        alike = [i for i, each in enumerate(candidates) if each.is_mixed == wanted]
        index = min(alike, key=lambda i: candidates[i].measured_s.value, default=None)
        return None if index is None else turns[index]

    mixture, single = fastest(True), fastest(False)
    return None if mixture is None or single is None else paired_ratio(mixture, single)
