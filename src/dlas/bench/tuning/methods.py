"""In which order a method measures a layer's candidates: replayed on times that are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from dlas.bench.tuning.space import Measured
from dlas.tuning.model import CostModel
from dlas.tuning.record import Record

#: Numbers of measured candidates at which the quality is told.
AT = (1, 2, 4, 8, 16)
DRAWS = 50
#: Of another network's layer what a first compile would have measured.
FIRST = 8

#: The candidates, by index, in the order in which they are measured.
Order = list[int]


class Quality(msgspec.Struct, frozen=True):
    """Of a method on one layer: best time of all / best of the first so many, by how many."""

    method: str
    by_trials: dict[int, float]


@dataclass(frozen=True)
class Methods:
    """``every``: the layers that methods may learn from. One of the same loops with something else
    fused to it is another layer."""

    every: Sequence[Measured]

    def qualities(self, one: Measured) -> list[Quality]:
        space = len(one.records)
        orders: Mapping[str, Callable[[], Order]] = {
            "template": lambda: list(range(space)),
            "model": lambda: modelled(one, self.known(one, same_network=True)),
            "transfer": lambda: modelled(one, self.known(one, same_network=False)),
        }
        found = [Quality(name, reached(one, [order()])) for name, order in orders.items()]
        draws = [
            [int(i) for i in np.random.default_rng(d).permutation(space)] for d in range(DRAWS)
        ]
        return [*found, Quality("random", reached(one, draws))]

    def known(self, one: Measured, same_network: bool) -> list[Record]:
        """Of the same primitive: of other layers, or of those that no network of this one has."""
        mine = set(one.layer.networks)
        return [
            record
            for other in self.every
            if other.layer.question.primitive == one.layer.question.primitive
            and (other is not one if same_network else not mine & set(other.layer.networks))
            for record in other.records[:FIRST]
        ]


def reached(one: Measured, orders: Sequence[Order]) -> dict[int, float]:
    """The mean over the orders."""
    found = {}
    for trials in AT:
        firsts = [
            [one.records[i].seconds for i in order[:trials] if one.records[i].seconds is not None]
            for order in orders
        ]
        shares = [one.best_s / min(filter(None, first)) if first else 0.0 for first in firsts]
        found[trials] = float(np.mean(shares))
    return found


def modelled(one: Measured, known: Sequence[Record]) -> Order:
    """Half of the candidates that the model puts first, then those that it does when it knows
    these; as ``Tuner`` measures in waves, for each number of ``AT``."""
    model = CostModel(known)
    order: Order = []
    for trials in AT:
        refined = (
            CostModel([*(one.records[i] for i in order), *known], model.scales) if order else model
        )
        question = one.layer.question
        knobs = [record.knobs for record in one.records]
        estimates = [record.estimate for record in one.records]
        ranked = refined.predict(question.workload, knobs, estimates).order
        order += [i for i in ranked if i not in order][: trials - len(order)]
    return order
