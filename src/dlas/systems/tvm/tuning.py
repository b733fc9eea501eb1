"""Choosing the knobs of every kernel: the primitive's estimate ranks them, the first few are
measured, and the best is remembered.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import tvm
from tvm import tirx

from dlas.layer import distribution_version
from dlas.systems.tvm.knobs import KnobStore, kernel_key
from dlas.systems.tvm.lower import llvm_target
from dlas.systems.tvm.template import by_rule, by_template, opened, primitive_in
from dlas.target import Target

if TYPE_CHECKING:
    from dlas.algorithms.blocked import Knobs

#: Goes up when a template gives other loops for the same knobs.
REVISION = 1
#: All of a network's measuring takes no longer; kernels that are left get the first estimate.
BUDGET_S = 40.0
#: Candidates take turns, so that what else the machine does falls on all of them alike.
ROUNDS, SHORTEST_S = 4, 1e-3


@dataclass
class Tuner:
    """``trials``: how many candidates are measured for one kernel; 1 measures nothing."""

    target: Target
    threads: int
    trials: int
    store: KnobStore = field(default_factory=KnobStore)
    spent_s: float = 0.0

    def arrange(self, kernel: tirx.PrimFunc) -> tirx.PrimFunc:
        """The kernel with its loops in order."""
        order = opened(kernel)
        primitive = primitive_in(order)
        if primitive is None:
            return by_rule(kernel, self.target, self.threads)
        candidates = primitive.candidates(order, self.target)[: self.trials]
        return by_template(kernel, self.choose(kernel, candidates), self.threads)

    def choose(self, kernel: tirx.PrimFunc, candidates: Sequence[Knobs]) -> Knobs:
        if len(candidates) == 1:
            return candidates[0]
        key = self.key(kernel)
        known = self.store.get(key)
        if known is not None:
            return known
        if self.spent_s > BUDGET_S:
            return candidates[0]
        start = time.monotonic()
        seconds = self.measure(kernel, candidates)
        self.spent_s += time.monotonic() - start
        best = int(np.argmin(seconds))
        self.store.put(key, candidates[best], seconds[best])
        return candidates[best]

    def key(self, kernel: tirx.PrimFunc) -> str:
        text = kernel.without_attr("global_symbol").script()
        tools = distribution_version("apache-tvm"), str(REVISION), str(self.trials)
        return kernel_key((text, self.target.name, str(self.threads), *tools))

    def measure(self, kernel: tirx.PrimFunc, candidates: Sequence[Knobs]) -> list[float]:
        """The shortest of a few runs of each candidate, in seconds, on random data."""
        target, random = llvm_target(self.target, self.threads), np.random.default_rng(0)
        shapes = [tuple(map(int, parameter.shape)) for parameter in kernel.params]
        data = [tvm.runtime.tensor(random.random(shape, np.float32)) for shape in shapes]
        runs = []
        for knobs in candidates:
            tried = by_template(kernel, knobs, self.threads).with_attr("global_symbol", "main")
            built = tvm.compile(tvm.IRModule({"main": tried}), target).jit()
            first = built.time_evaluator("main", tvm.cpu(), number=1)(*data).mean
            number = max(1, int(SHORTEST_S / max(first, 1e-7)))
            runs.append(built.time_evaluator("main", tvm.cpu(), number=number))
        rounds = [[run(*data).mean for run in runs] for _ in range(ROUNDS)]
        return [min(times) for times in zip(*rounds, strict=True)]
