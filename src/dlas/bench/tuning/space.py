"""Every candidate of a layer, or so many of them, measured beside each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dlas.bench.tuning.layers import Layer
from dlas.target import host
from dlas.tuning.record import Record


@dataclass(frozen=True)
class Measured:
    """``records``: of the candidates, cheapest estimate first; those that failed are among them.
    ``wall_s``: of building and timing one, the mean up to this layer, processes side by side
    reckoned as one after another."""

    layer: Layer
    records: Sequence[Record]
    wall_s: float

    @property
    def best_s(self) -> float:
        return min(record.seconds for record in self.records if record.seconds is not None)


def measured(
    layers: Sequence[Layer], most: int, watch: Callable[[float, str], None]
) -> Iterator[Measured]:
    """Layers as they are done. Of ``most`` candidates three quarters are those of the cheapest
    estimates, the others drawn from the rest."""
    from dlas.systems.tvm.contest import Contests
    from dlas.systems.tvm.tuning import Search, jobs_for, place_of
    from dlas.tuning.model import CostModel

    chosen = [some_of(len(layer.question.knobs), most) for layer in layers]
    contests = [layer.question.contest(few) for layer, few in zip(layers, chosen, strict=True)]
    jobs, place = jobs_for(1), place_of(host())
    start, candidates = time.monotonic(), 0
    held = Contests(contests, host(), 1, jobs)
    for done, (number, outcomes) in enumerate(held.hold(), 1):
        layer, candidates = layers[number], candidates + len(outcomes)
        watch(done / len(layers), layer.name)
        search = Search(layer.question, (), CostModel([]))
        pairs = zip(chosen[number], outcomes, strict=True)
        records = [search.record(index, outcome, place) for index, outcome in pairs]
        if any(record.seconds is not None for record in records):
            yield Measured(layer, records, (time.monotonic() - start) * jobs / candidates)


def some_of(number: int, most: int) -> list[int]:
    if number <= most:
        return list(range(number))
    first = most * 3 // 4
    rest = np.random.default_rng(0).choice(np.arange(first, number), most - first, replace=False)
    return [*range(first), *sorted(int(i) for i in rest)]
