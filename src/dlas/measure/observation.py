"""What a measurement leaves: raw samples with all that is needed to judge them, or a failure."""

from __future__ import annotations

import math

import msgspec

from dlas.measure import statistics
from dlas.measure.conditions import Conditions, Flag, judge
from dlas.measure.protocol import LayerTime, Protocol
from dlas.measure.statistics import Estimate


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies of one executable on one device, in seconds and in the order they were taken.

    ``blocks``: how many samples each round gave; observations of one ``group`` were interleaved,
    so their blocks of one round were taken side by side. ``first_run_s`` follows loading,
    ``warmups_s`` follow it; neither is a sample. ``energy_j`` is per inference; where it is None,
    ``energy_absent`` says why. ``peak_bytes`` is the most memory the timing process held,
    ``base_bytes`` what it held before it loaded the executable. ``before`` and ``after``
    enclose the timing of its group. ``profile``: where the time of a run goes, by further runs;
    where it is empty, ``profile_absent`` says why, unless the record is older than profiles."""

    samples_s: tuple[float, ...]
    blocks: tuple[int, ...]
    first_run_s: float
    warmups_s: tuple[float, ...]
    taken_at: str
    group: str
    protocol: Protocol
    before: Conditions
    after: Conditions
    peak_bytes: int
    base_bytes: int
    energy_j: float | None
    energy_absent: str
    warnings: tuple[Flag, ...]
    profile: tuple[LayerTime, ...] = ()
    profile_absent: str = ""

    @property
    def latency_s(self) -> Estimate:
        """The median, with its 95 % interval."""
        return statistics.rounds_interval(self.samples_s, self.blocks)

    def block_medians_s(self) -> list[float]:
        """One latency per round; pairs with those of the same group."""
        return [float(s) for s in statistics.round_medians(self.samples_s, self.blocks)]


class Failure(msgspec.Struct, frozen=True):
    """Why there is no observation. ``status``: refused, failed, out_of_memory or timed_out."""

    status: str
    message: str


Outcome = Observation | Failure


def warnings(
    samples_s: tuple[float, ...],
    blocks: tuple[int, ...],
    protocol: Protocol,
    before: Conditions,
    after: Conditions,
    workers_s: float,
) -> tuple[Flag, ...]:
    """All that makes these samples doubtful: the machine's state, drift, a wide interval."""
    flags = judge(before, after, workers_s)
    moved = statistics.drift(samples_s)
    if moved.certain and abs(moved.change) > protocol.interval:
        word = "slower" if moved.change > 0 else "faster"
        sentence = f"the last half of the runs was {abs(moved.change):.1%} {word} than the first"
        flags.append(Flag("drift", sentence))
    width = statistics.rounds_interval(samples_s, blocks).half_width
    if width > protocol.interval:
        more = statistics.runs_missing(len(samples_s), width, protocol.interval)
        found = "is unknown" if math.isinf(width) else f"is ±{width:.1%}"
        flags.append(
            Flag(
                "wide_interval",
                f"the 95 % interval of the median of {len(samples_s)} runs {found}, wanted "
                f"±{protocol.interval:.1%}: about {more} more runs are needed",
            )
        )
    return tuple(flags)
