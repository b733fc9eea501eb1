"""Choosing the knobs of every kernel: the primitive's estimate ranks them, the first few are
measured, and the best is remembered.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tvm
from tvm import tirx

from dlas.layer import distribution_version
from dlas.systems.tvm.knobs import KnobStore, kernel_key
from dlas.systems.tvm.lower import compiled
from dlas.systems.tvm.pages import in_huge_pages
from dlas.systems.tvm.template import by_rule, by_template, opened, primitive_in, weight_of
from dlas.target import Target

if TYPE_CHECKING:
    from dlas.algorithms.dot.kernel import Kernel as DotKernel
    from dlas.algorithms.sparse.kernel import Kernel
    from dlas.algorithms.template import Knobs

#: Goes up when a template gives other loops for the same knobs.
REVISION = 4
#: All of a network's measuring takes no longer; kernels that are left get the first estimate.
BUDGET_S = 40.0
#: Candidates take turns, so that what else the machine does falls on all of them alike.
ROUNDS, SHORTEST_S = 4, 1e-3
#: Copies of a kernel's weights: no more, and of no more than so many bytes, beyond every cache.
COPIES, COPIED_BYTES = 32, 64 << 20
#: What gives the seconds of one call, and how many calls it makes for that.
Run = tuple[Callable[[], float], int]


@dataclass
class Tuner:
    """``trials``: how many candidates are measured for one kernel; 1 measures nothing.
    ``weight_bytes``: of the whole network. In the network a kernel's weights come from where the
    others' have left them, the second or third cache or memory; so they do when it is measured."""

    target: Target
    threads: int
    trials: int
    weight_bytes: int
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

    def choose_tile(self, kernels: Sequence[Kernel]) -> Kernel:
        """The fastest of a sparse layer's kernels, with its own weights: where its zeros are
        decides which tile is best."""
        if len(kernels) == 1:
            return kernels[0]
        key = self.tile_key(kernels)
        return kernels[self.fastest(key, [partial(self.sparse_run, each) for each in kernels])]

    def fastest(self, key: str, makers: Sequence[Callable[[], Run]]) -> int:
        """Which of several is, as it was measured once or is now; the first beyond the budget."""
        known = self.store.get(key)
        if known is not None:
            return known["candidate"]
        if self.spent_s > BUDGET_S:
            return 0
        start = time.monotonic()
        runs, calls = zip(*(make() for make in makers), strict=True)
        times = interleaved(runs, calls[0])
        self.spent_s += time.monotonic() - start
        best = int(np.argmin(times))
        self.store.put(key, {"candidate": best}, times[best])
        return best

    def tile_key(self, kernels: Sequence[Kernel]) -> str:
        tiles = (repr(kernel.tile) for kernel in kernels)
        weights = hashlib.sha256(b"".join(a.tobytes() for a in kernels[0].packed.arrays))
        tools = distribution_version("apache-tvm"), str(REVISION)
        return kernel_key(
            (*tiles, weights.hexdigest(), self.target.name, str(self.threads), *tools)
        )

    def sparse_run(self, kernel: Kernel) -> Run:
        order = opened(kernel.function())
        form = primitive_in(order)
        assert form is not None
        form.apply(order, form.candidates(order, self.target)[0], self.threads)
        main = order.mod["main"].with_attr("global_symbol", "main")
        random = np.random.default_rng(0)
        image, *_, bias, output = (
            random.random(tuple(map(int, each.shape)), np.float32) for each in main.params
        )
        given = (image, *kernel.packed.arrays, bias, output)
        arguments = [tvm.runtime.tensor(np.ascontiguousarray(value)) for value in given]
        return partial(seconds, self.built(main), [arguments]), 1

    def choose_dots(self, kernels: Sequence[DotKernel]) -> DotKernel:
        """The fastest of a layer's kernels on narrow numbers."""
        if len(kernels) == 1:
            return kernels[0]
        tools = distribution_version("apache-tvm"), str(REVISION)
        names = (each.identity for each in kernels)
        key = kernel_key((*names, self.target.name, str(self.threads), self.cold, *tools))
        return kernels[self.fastest(key, [partial(self.dot_run, each) for each in kernels])]

    def dot_run(self, kernel: DotKernel) -> Run:
        number = kernel.tile.window.number.stored
        order = opened(kernel.function(number))
        form = primitive_in(order)
        assert form is not None
        form.apply(order, {}, self.threads)
        main = order.mod["main"].with_attr("global_symbol", "main")
        random = np.random.default_rng(0)
        # Small integers, and as bits of bfloat16 small numbers.
        image = random.integers(0, 127, kernel.image_shape).astype(number)
        output = np.zeros(kernel.output_shape, number)
        constants = kernel.constants
        held = min(self.weight_bytes, COPIED_BYTES) // constants["weights"].nbytes
        with in_huge_pages():
            copies = [
                tvm.runtime.tensor(constants["weights"]) for _ in range(min(held, COPIES) or 1)
            ]
            same = {
                name: tvm.runtime.tensor(np.ascontiguousarray(value))
                for name, value in {"image": image, **constants, "output": output}.items()
            }
        arguments = [list({**same, "weights": copy}.values()) for copy in copies]
        return partial(seconds, self.built(main), arguments), len(arguments)

    @property
    def cold(self) -> str:
        """How many bits the bytes have that weights come from."""
        return str(min(self.weight_bytes, COPIED_BYTES).bit_length())

    def key(self, kernel: tirx.PrimFunc) -> str:
        text = kernel.without_attr("global_symbol").script()
        tools = distribution_version("apache-tvm"), str(REVISION), str(self.trials)
        return kernel_key((text, self.target.name, str(self.threads), self.cold, *tools))

    def measure(self, kernel: tirx.PrimFunc, candidates: Sequence[Knobs]) -> list[float]:
        """The shortest of a few runs of each candidate, in seconds, on random data."""
        arguments, runs = self.arguments(kernel), []
        for knobs in candidates:
            tried = by_template(kernel, knobs, self.threads).with_attr("global_symbol", "main")
            runs.append(partial(seconds, self.built(tried), arguments))
        return interleaved(runs, len(arguments))

    def built(self, main: tirx.PrimFunc) -> Callable[..., None]:
        """A kernel with its loops in order, to be called here. Code that checks its arguments takes
        longer to compile than the loops."""
        with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
            module = compiled(tvm.IRModule({"main": main}), self.target, self.threads)
        found: Callable[..., None] = module.jit()["main"]
        return found

    def arguments(self, kernel: tirx.PrimFunc) -> list[list[tvm.runtime.Tensor]]:
        """What the kernel is called with in turns: the same images and other weights."""
        random, weight = np.random.default_rng(0), weight_of(opened(kernel))
        values = [
            random.random(tuple(map(int, each.shape)), np.float32).astype(str(each.dtype))
            for each in kernel.params
        ]
        held = min(self.weight_bytes, COPIED_BYTES) // values[weight].nbytes
        with in_huge_pages():
            same = [tvm.runtime.tensor(value) for value in values]
            copies = [tvm.runtime.tensor(values[weight]) for _ in range(min(held, COPIES) or 1)]
        return [[*same[:weight], copy, *same[weight + 1 :]] for copy in copies]


def interleaved(runs: Sequence[Callable[[], float]], calls: int = 1) -> list[float]:
    """The shortest time of each, in turns; one run is so many calls."""
    again = [max(1, math.ceil(SHORTEST_S / calls / run())) for run in runs]
    rounds = [
        [min(run() for _ in range(number)) for run, number in zip(runs, again, strict=True)]
        for _ in range(ROUNDS)
    ]
    return [min(times) for times in zip(*rounds, strict=True)]


def seconds(kernel: Callable[..., None], arguments: Sequence[Sequence[Any]]) -> float:
    """Of one call, the mean over all arguments."""
    start = time.perf_counter()
    for given in arguments:
        kernel(*given)
    return (time.perf_counter() - start) / len(arguments)
