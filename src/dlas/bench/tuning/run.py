"""The whole benchmark, a row after another."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dlas.bench.cases import PAPER
from dlas.bench.tuning.layers import evenly, layers_of
from dlas.bench.tuning.methods import FIRST, Methods
from dlas.bench.tuning.networks import network_rows, own_cache
from dlas.bench.tuning.rows import AutoRow, LayerRow, TuningRow
from dlas.bench.tuning.space import Measured, measured
from dlas.hardware.base import Hardware
from dlas.target import host
from dlas.tuning.record import Record

Watch = Callable[[float, str], None]


@dataclass(frozen=True)
class TuningBench:
    """``most``: candidates of a layer that are measured, at most. ``auto_layers`` of the layers,
    at equal distances, are searched by MetaSchedule too. ``whole``: whether networks are
    timed."""

    device: Hardware
    networks: Sequence[str] = PAPER
    algorithm: str = "cheapest"
    most: int = 48
    auto_layers: int = 6
    auto_trials: int = 64
    whole: bool = True

    def run(self, watch: Watch) -> Iterator[TuningRow]:
        watch(0.0, "drawing the networks")
        with tempfile.TemporaryDirectory(prefix="dlas-bench-") as folder, own_cache(Path(folder)):
            layers = layers_of(self.networks, self.algorithm)
            spaces = measured(layers, self.most, part(watch, 0.0, 0.3))
            every = {one.layer.name: one for one in spaces}
            methods = Methods(list(every.values()))
            rows = {}
            for number, (name, one) in enumerate(every.items()):
                part(watch, 0.3, 0.1)(number / len(every), f"replayed: {name}")
                rows[name] = layer_row(one, methods)
                yield rows[name]
            chosen = evenly([one.layer for one in every.values()], self.auto_layers)
            for number, layer in enumerate(chosen):
                part(watch, 0.4, 0.3)(number / len(chosen), f"auto: {layer.name}")
                yield self.auto(every[layer.name], rows[layer.name])
        for number, name in enumerate(self.networks if self.whole else ()):
            watch(0.7 + 0.3 * number / len(self.networks), name)
            known = of_others(list(every.values()), name)
            yield from network_rows(name, known, self.device)

    def auto(self, one: Measured, row: LayerRow) -> AutoRow:
        """MetaSchedule on this layer, its best and ours timed in turns."""
        from dlas.systems.tvm.auto import AutoScheduler
        from dlas.systems.tvm.contest import Contests
        from dlas.systems.tvm.trial import Contest

        question, start = one.layer.question, time.monotonic()
        scheduler = AutoScheduler(host(), 1, self.auto_trials, weight_bytes=one.layer.weight_bytes)
        [found] = scheduler.arrange([one.layer.kernel])
        wall_s = time.monotonic() - start
        fastest = min((r for r in one.records if r.seconds), key=lambda r: r.seconds or 0.0)
        index = next(i for i, k in enumerate(question.knobs) if k == fastest.knobs)
        makers = [question.makers[index], lambda: found]
        contest = Contest(makers, partial(question.plain, index), question.arguments)
        [(_, outcomes)] = Contests([contest], host(), 1).hold()
        ours, autos = (outcome.seconds for outcome in outcomes)
        return AutoRow(
            layer=row.layer,
            trials=self.auto_trials,
            seconds=autos,
            template_s=ours or fastest.seconds or 0.0,
            wall_s=wall_s,
            reached_s=reached_s(row, autos, ours) if autos and ours else None,
            notes=tuple(scheduler.notes),
        )


def layer_row(one: Measured, methods: Methods) -> LayerRow:
    return LayerRow(
        layer=one.layer.name,
        networks=tuple(one.layer.networks),
        candidates=len(one.layer.question.knobs),
        tried=len(one.records),
        best_s=one.best_s,
        quality={each.method: each.by_trials for each in methods.qualities(one)},
        wall_s=one.wall_s,
    )


def reached_s(row: LayerRow, auto_s: float, ours_s: float) -> float | None:
    """Seconds until the method "transfer" is as fast as auto; ``ours_s``: its best, timed beside
    auto's."""
    for trials, quality in row.quality["transfer"].items():
        if quality and ours_s / quality <= auto_s:
            return trials * row.wall_s
    return None


def of_others(every: Sequence[Measured], network: str) -> list[Record]:
    """What compiling the other networks would have left of layers that this one does not have."""
    return [
        record
        for one in every
        if network not in one.layer.networks
        for record in one.records[:FIRST]
    ]


def part(watch: Watch, begin: float, length: float) -> Watch:
    """The watch for a part of the work."""
    return lambda fraction, text: watch(begin + length * fraction, text)
