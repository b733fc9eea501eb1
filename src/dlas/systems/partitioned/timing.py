"""Timing several executables in this process, in turns, so that drift hits them alike.

A *lane* is a network's stages one after the other, each timed by itself: so a stage finds the
caches as the stage before it leaves them, and not its own weights in them.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dlas.executable import Run

#: Passes in one turn: as many as last this long, but no more than so many.
TURN_S, MOST_PASSES = 0.02, 4
#: Turns: fewer than the first give no interval, more than the second hardly narrow it.
LEAST_TURNS, MOST_TURNS = 7, 50

Key = TypeVar("Key", bound=Hashable)
Array = NDArray[np.float32]


class Step(NamedTuple):
    """``image``: what it is given, where that is not what the step before gave."""

    run: Run
    image: Array | None


Lane = Sequence[Step]


def in_turns(
    lanes: Mapping[Key, Lane], budget_s: float, least_turns: int = LEAST_TURNS
) -> dict[Key, NDArray[np.float64]]:
    """(turns, steps) seconds of every lane: of each turn, the median of its passes but the first,
    which only warms up. The order is shuffled anew each time. It ends after ``budget_s``, but not
    before ``least_turns``."""
    order, shuffle = list(lanes), random.Random(0).shuffle
    found: dict[Key, list[NDArray[np.float64]]] = {key: [] for key in lanes}
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = time.monotonic() + budget_s
        for turn in range(MOST_TURNS):
            if turn >= least_turns and time.monotonic() > end:
                break
            shuffle(order)
            for key in order:
                found[key].append(_turn(lanes[key]))
    finally:
        if collecting:
            gc.enable()
    return {key: np.array(rows) for key, rows in found.items()}


def _turn(lane: Lane) -> NDArray[np.float64]:
    first_s = sum(_pass(lane))
    passes = min(MOST_PASSES, math.ceil(TURN_S / max(first_s, 1e-9)))
    return np.median([_pass(lane) for _ in range(passes)], axis=0)


def _pass(lane: Lane) -> list[float]:
    now, seconds = time.perf_counter, []
    image: Array | None = None
    for run, given in lane:
        image = image if given is None else given
        start = now()
        image = run(np.require(image, np.float32, ["C", "W"]))
        seconds.append(now() - start)
    return seconds
