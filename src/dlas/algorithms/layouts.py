"""Which of several ways each layer is computed, with what it costs to bring images from one layout
into another counted: a shortest path through the layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from dlas.algorithms.primitive import Layout
from dlas.network import LayerRow
from dlas.plan import Step

#: Multiply-adds in the time that one number takes to be brought into blocks, or back: measured
#: with the images of MobileNetV2 after its first stages, 0.6 ns each.
CHANGED = 60


class Way(NamedTuple):
    """A step, how the images lie that it reads and writes, and its cost in multiply-adds."""

    step: Step
    layout: Layout
    cost: float


def cheapest_ways(rows: Sequence[LayerRow], ways: Sequence[Sequence[Way]]) -> list[Step]:
    """One way for each row, the cheapest together. A layer is taken to read what the row before it
    wrote: true of chains, and near the truth where branches meet, for they are computed alike."""
    paths: dict[Layout, tuple[float, list[Step]]] = {"plain": (0.0, [])}
    for row, choices in zip(rows, ways, strict=True):
        change = CHANGED * row.in_channels * math.prod(row.input_hw)
        found: dict[Layout, tuple[float, list[Step]]] = {}
        for way in choices:
            for layout, (spent, steps) in paths.items():
                total = spent + way.cost + (change if layout != way.layout else 0.0)
                if way.layout not in found or total < found[way.layout][0]:
                    found[way.layout] = total, [*steps, way.step]
        paths = found
    return min(paths.values(), key=lambda path: path[0])[1]
