"""Measuring several executables side by side, so that drift hits them alike.

The sessions of a group are opened first, then timed in rounds: each round every contender runs one
block of runs, in an order shuffled anew. A contender leaves when the 95 % interval of its median is
narrow enough, or its runs or its time budget end; the others go on. Only one runs at a time.

After another contender has run, caches and predictors are cold: the first runs of every block, 2 ms
of them and at least one, only re-warm and are discarded, unless runs take so long that this does
not matter. The first run after loading and the warm-ups are kept apart. When a contender has all
its samples, some more runs tell where their time goes; they count for nothing else.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

from msgspec.structs import replace

from dlas.context import silent
from dlas.errors import DlasError, InputError, Refused
from dlas.measure import statistics
from dlas.measure.conditions import Conditions, Machine, ThisMachine
from dlas.measure.observation import Failure, Observation, Outcome, warnings
from dlas.measure.protocol import LayerTime, Protocol, Session, SessionError

#: A block runs at least this long: enough for the clock frequency to settle.
BLOCK_S = 0.02
#: … and has at least this many samples, so that the discarded run costs a fifth at most.
BLOCK_RUNS = 4
#: Runs at the start of a block that are discarded.
REWARM_S = 0.002
#: Runs longer than this are not discarded: refilling the largest caches takes milliseconds.
LONG_RUN_S = 1.0
#: Samples come from at least this many rounds before a narrow interval is believed.
ROUNDS = 10
#: Runs of a profile, which together may take this share of the time budget.
PROFILE_RUNS = 10
PROFILE_SHARE = 0.1
#: … and fewer than this are none: their median would be chance.
FEWEST_PROFILED = 3
#: Processes that load at once before the memory that one takes is known.
MOST_LOADING = 8
#: The share of the available memory that the sessions of one group may hold.
MEMORY_SHARE = 0.5

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Contender:
    """``open`` starts the session; it may raise SessionError, Refused or InputError."""

    open: Callable[[], Session]
    protocol: Protocol = field(default_factory=Protocol)


def measure(
    contenders: Mapping[Key, Contender],
    done: Callable[[Key, Outcome], None],
    *,
    seed: int = 0,
    machine: Machine | None = None,
    progress: Callable[[float, str], None] = silent,
) -> None:
    """Measure all contenders and call ``done`` with each outcome as soon as it is known.

    One group, unless their processes would hold more than half of the available memory: then they
    are split in the order given. A contender that fails, dies or hangs gives a Failure and leaves
    the others alone. ``progress`` is called after every block."""
    machine = machine or ThisMachine()
    waiting = deque(contenders.items())
    total, finished = len(contenders), 0

    def finish(key: Key, outcome: Outcome) -> None:
        nonlocal finished
        finished += 1
        done(key, outcome)

    while waiting:
        sessions: list[Session] = []
        try:
            entries = _open(waiting, sessions, machine, finish)
            if entries:
                progress(finished / total, f"timing {len(entries)} executables")
            for share in _time(entries, seed, machine, finish):
                progress((finished + share) / total, f"timing {len(entries)} executables")
        finally:
            with ThreadPoolExecutor(max_workers=8) as pool:
                list(pool.map(lambda session: session.close(), sessions))


class _Entry:
    """One contender while it is timed."""

    def __init__(self, session: Session, protocol: Protocol) -> None:
        self.session = session
        self.protocol = protocol
        self.first_run_s = 0.0
        self.warmups_s: list[float] = []
        self.samples_s: list[float] = []
        self.blocks: list[int] = []
        self.spent_s = 0.0
        self.energy_j = 0.0
        self.metered_runs = 0

    def warm_up(self) -> None:
        """The first run and the warm-ups, which take at most half the budget."""
        (self.first_run_s,) = self._run(1)
        affordable = int(self.protocol.time_budget_s / 2 / max(self.first_run_s, 1e-9))
        count = min(self.protocol.warmups, affordable)
        if count:
            self.warmups_s = self._run(count)

    def block(self) -> None:
        """Runs that only re-warm, then as many samples as a block holds."""
        latency_s = max(1e-6, min(self.samples_s or self.warmups_s or [self.first_run_s]))
        discarded = math.ceil(REWARM_S / latency_s) if latency_s < LONG_RUN_S else 0
        wanted = max(BLOCK_RUNS, math.ceil(BLOCK_S / latency_s))
        most = math.ceil(self.protocol.runs / ROUNDS)
        affordable = int((self.protocol.time_budget_s - self.spent_s) / latency_s) - discarded
        left = self.protocol.runs - len(self.samples_s)
        count = max(1, min(wanted, most, affordable, left))
        self.samples_s += self._run(discarded + count)[discarded:]
        self.blocks.append(count)
        energy_j = self.session.energy_j()
        if energy_j is not None:
            self.energy_j += energy_j * count
            self.metered_runs += count

    def _run(self, count: int) -> list[float]:
        samples_s = self.session.run(count)
        self.spent_s += sum(samples_s)
        return samples_s

    @property
    def finished(self) -> bool:
        ended = len(self.samples_s) >= self.protocol.runs or self._share_of_budget >= 1
        settled = len(self.blocks) >= ROUNDS
        if ended or not settled:
            return ended
        found = statistics.rounds_interval(self.samples_s, self.blocks)
        return found.half_width <= self.protocol.interval

    @property
    def share(self) -> float:
        """How far it is, in [0, 1], were it to need all its runs."""
        return min(1.0, max(len(self.samples_s) / self.protocol.runs, self._share_of_budget))

    @property
    def _share_of_budget(self) -> float:
        return self.spent_s / self.protocol.time_budget_s

    def profile(self) -> tuple[tuple[LayerTime, ...], str]:
        """Where a run's time goes, or why that is not known."""
        latency_s = statistics.median(self.samples_s)
        allowed_s = PROFILE_SHARE * self.protocol.time_budget_s
        count = min(PROFILE_RUNS, int(allowed_s / max(latency_s, 1e-9)))
        if count < FEWEST_PROFILED:
            return (), (
                f"{FEWEST_PROFILED} runs of {latency_s:.2g} s are more than {PROFILE_SHARE:.0%} of "
                f"the time budget of {self.protocol.time_budget_s:g} s"
            )
        try:
            return self.session.profile(count), ""
        except (SessionError, Refused) as reason:
            return (), str(reason)

    def observation(
        self, group: str, taken_at: str, before: Conditions, after: Conditions, workers_s: float
    ) -> Observation:
        usage = self.session.usage()
        samples_s = tuple(self.samples_s)
        return Observation(
            samples_s=samples_s,
            blocks=tuple(self.blocks),
            first_run_s=self.first_run_s,
            warmups_s=tuple(self.warmups_s),
            taken_at=taken_at,
            group=group,
            protocol=self.protocol,
            before=before,
            after=after,
            peak_bytes=usage.peak_bytes,
            base_bytes=usage.base_bytes,
            energy_j=self.energy_j / self.metered_runs if self.metered_runs else None,
            energy_absent=self.session.energy_absent(),
            warnings=warnings(
                samples_s, tuple(self.blocks), self.protocol, before, after, workers_s
            ),
        )


def _open(
    waiting: deque[tuple[Key, Contender]],
    sessions: list[Session],
    machine: Machine,
    finish: Callable[[Key, Outcome], None],
) -> dict[Key, _Entry]:
    """Open contenders from the left of ``waiting`` while memory lasts, as many loading at a time
    as there are CPUs. Every session that was started is added to ``sessions``."""
    limit = MEMORY_SHARE * machine.available_bytes()
    at_a_time = min(machine.usable_cpus(), MOST_LOADING)
    loading: deque[tuple[Key, Session, Protocol]] = deque()
    entries: dict[Key, _Entry] = {}
    held = largest = 0
    while loading or waiting:
        room = held + largest * (len(loading) + 1) <= limit
        if waiting and len(loading) < at_a_time and (room or not (loading or entries)):
            key, contender = waiting.popleft()
            try:
                session = contender.open()
            except (SessionError, Refused, InputError) as error:
                finish(key, _failure(error))
                continue
            sessions.append(session)
            loading.append((key, session, contender.protocol))
            continue
        if not loading:
            break
        key, session, protocol = loading.popleft()
        try:
            session.wait()
        except SessionError as error:
            session.close()
            finish(key, _failure(error))
            continue
        entries[key] = _Entry(session, protocol)
        peak = session.usage().peak_bytes
        held, largest = held + peak, max(largest, peak)
    return entries


def _time(
    entries: dict[Key, _Entry], seed: int, machine: Machine, finish: Callable[[Key, Outcome], None]
) -> Iterator[float]:
    """Time the entries in rounds; after every block, how much of the unfinished work is done, in
    contenders."""
    group = uuid4().hex
    order = random.Random(seed)
    before, taken_at = machine.conditions(), machine.now().isoformat(timespec="seconds")
    already_s = {key: entry.session.usage().cpu_s for key, entry in entries.items()}
    used_s = dict(already_s)
    alive = list(entries)
    started = set[Key]()
    while alive:
        order.shuffle(alive)
        for key in tuple(alive):
            entry = entries[key]
            try:
                if key in started:
                    entry.block()
                else:
                    entry.warm_up()
                    started.add(key)
                used_s[key] = entry.session.usage().cpu_s
            except SessionError as error:
                entry.session.close()
                alive.remove(key)
                finish(key, _failure(error))
                continue
            if entry.samples_s and entry.finished:
                alive.remove(key)
                workers_s = sum(used_s.values()) - sum(already_s.values())
                after = machine.conditions()
                observation = entry.observation(group, taken_at, before, after, workers_s)
                profile, absent = entry.profile()
                used_s[key] = entry.session.usage().cpu_s  # ours, not another process's
                finish(key, replace(observation, profile=profile, profile_absent=absent))
            yield sum(entries[other].share for other in alive)


def _failure(error: DlasError) -> Failure:
    if isinstance(error, SessionError):
        return Failure(error.status, str(error))
    return Failure("refused" if isinstance(error, Refused) else "failed", str(error))
