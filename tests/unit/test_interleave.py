"""Measuring side by side, on a machine whose time passes only when its sessions run."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import msgspec
import numpy as np
import pytest

from dlas.errors import InputError, Refused
from dlas.measure.interleave import PROFILE_RUNS, ROUNDS, Contender, measure
from dlas.measure.observation import Failure, Observation, Outcome
from dlas.measure.protocol import Protocol, Session, SessionError
from dlas.measure.statistics import paired_ratio
from dlas.testing.clock import FakeMachine, FakeSession, Latency

QUICK = Protocol(runs=150, warmups=3, interval=0.01, time_budget_s=10)


def noisy(latency_s: float, sigma: float = 0.3, seed: int = 0) -> Latency:
    random = np.random.default_rng(seed)
    return lambda at_s: latency_s * float(random.lognormal(sigma=sigma))


def contender(
    machine: FakeMachine,
    name: str,
    latency: float | Latency,
    protocol: Protocol = QUICK,
    **failing: object,
) -> Contender:
    return Contender(lambda: FakeSession(machine, name, latency, **failing), protocol)  # type: ignore[arg-type]


def outcomes(
    machine: FakeMachine, contenders: dict[str, Contender], seed: int = 0
) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    measure(contenders, found.__setitem__, seed=seed, machine=machine)
    assert machine.open == []
    return found


def observed(
    latency: float | Latency, protocol: Protocol = QUICK, machine: FakeMachine | None = None
) -> Observation:
    machine = machine or FakeMachine()
    found = outcomes(machine, {"a": contender(machine, "a", latency, protocol)})["a"]
    assert isinstance(found, Observation)
    return found


def kinds(observation: Observation) -> list[str]:
    return [flag.kind for flag in observation.warnings]


def test_a_steady_contender_stops_early() -> None:
    steady = observed(0.005)
    assert len(steady.blocks) == ROUNDS
    assert len(steady.samples_s) == sum(steady.blocks) < QUICK.runs
    assert steady.latency_s == (0.005, 0.005, 0.005)
    assert steady.warnings == ()


def test_a_noisy_contender_has_all_its_runs_and_says_what_is_missing() -> None:
    noise = observed(noisy(0.005))
    assert len(noise.samples_s) == QUICK.runs
    (flag,) = noise.warnings
    assert flag.kind == "wide_interval"
    assert "more runs are needed" in flag.sentence


def test_the_budget_ends_a_slow_contender() -> None:
    slow = observed(noisy(0.3), Protocol(time_budget_s=10))
    assert 20 <= len(slow.samples_s) < 40
    assert sum([slow.first_run_s, *slow.warmups_s, *slow.samples_s]) < 11


def test_a_run_longer_than_the_budget_still_gives_a_sample() -> None:
    slower = observed(30.0, Protocol(time_budget_s=10))
    assert slower.samples_s == (30.0,)
    assert slower.warmups_s == ()
    assert slower.latency_s == (30.0, None, None)
    assert "is unknown" in slower.warnings[0].sentence
    assert "about 5 more runs" in slower.warnings[0].sentence


def test_the_first_run_and_warm_ups_stand_apart() -> None:
    def settling(at_s: float) -> float:
        return 1.0 if at_s == 0 else 0.02 if at_s < 1.05 else 0.005

    found = observed(settling)
    assert found.first_run_s == 1.0
    assert found.warmups_s == (0.02, 0.02, 0.02)
    assert set(found.samples_s) == {0.005}


def test_the_first_runs_of_a_block_are_discarded_unless_they_are_long() -> None:
    machine = FakeMachine()
    found = observed(0.005, machine=machine)
    assert [count for _, count in machine.log] == [1, 3, *(count + 1 for count in found.blocks)]
    machine = FakeMachine()
    found = observed(2**-11, machine=machine)  # 0.49 ms: five of them last 2 ms
    assert [count for _, count in machine.log] == [1, 3, *(count + 5 for count in found.blocks)]
    machine = FakeMachine()
    found = observed(2.0, Protocol(time_budget_s=30), machine)
    assert [count for _, count in machine.log] == [1, 3, *found.blocks]


def test_blocks_last_long_enough_and_runs_are_spread_over_rounds() -> None:
    assert observed(0.002).blocks[0] == 10  # 20 ms
    assert observed(0.1).blocks[0] == 4  # the discarded run costs a fifth
    assert observed(1e-5).blocks == (15,) * ROUNDS  # 150 runs, never in fewer rounds


def test_every_round_runs_everyone_in_a_new_order() -> None:
    machine = FakeMachine()
    names = "abcdef"
    outcomes(machine, {name: contender(machine, name, 0.01) for name in names})
    order = [name for name, _ in groupby(machine.log, key=lambda entry: entry[0])]
    blocks = [name for name, count in machine.log if count not in (1, 3)]
    rounds = ["".join(blocks[i : i + 6]) for i in range(0, len(blocks), 6)]
    assert all(sorted(round_) == list(names) for round_ in rounds)
    assert len(set(rounds)) > 1
    assert len(order) > len(names) * ROUNDS


def test_the_order_follows_the_seed() -> None:
    def log(seed: int) -> list[tuple[str, int]]:
        machine = FakeMachine()
        outcomes(machine, {name: contender(machine, name, 0.01) for name in "abc"}, seed)
        return machine.log

    assert log(1) == log(1)
    assert log(1) != log(2)


def test_drift_hits_all_alike() -> None:
    """The machine slows to half its speed; b takes twice as long as a at any moment."""
    machine = FakeMachine()

    def slowing(factor: float, seed: int) -> Latency:
        noise = noisy(factor * 0.005, 0.02, seed)
        return lambda at_s: noise(at_s) * (1 + min(1.0, at_s / 2))

    found = outcomes(
        machine,
        {"a": contender(machine, "a", slowing(1, 1)), "b": contender(machine, "b", slowing(2, 2))},
    )
    a, b = found["a"], found["b"]
    assert isinstance(a, Observation)
    assert isinstance(b, Observation)
    assert "drift" in kinds(a)
    assert "drift" in kinds(b)
    assert a.group == b.group
    rounds = min(len(a.blocks), len(b.blocks))
    ratio = paired_ratio(b.block_medians_s()[:rounds], a.block_medians_s()[:rounds])
    assert ratio.value == pytest.approx(2, rel=0.03)


def test_the_others_go_on_when_one_is_settled() -> None:
    machine = FakeMachine()
    order: list[str] = []
    contenders = {
        "noisy": contender(machine, "noisy", noisy(0.004)),
        "steady": contender(machine, "steady", 0.004),
    }
    measure(contenders, lambda key, _: order.append(key), machine=machine)
    assert order == ["steady", "noisy"]
    last = max(i for i, (name, _) in enumerate(machine.log) if name == "steady")
    assert {name for name, _ in machine.log[last + 1 :]} == {"noisy"}


@pytest.mark.parametrize("fails_at", [-1, 0, 2, 17])
@pytest.mark.parametrize("status", ["failed", "out_of_memory", "timed_out"])
def test_one_that_dies_or_hangs_harms_no_other(fails_at: int, status: str) -> None:
    machine = FakeMachine()
    error = SessionError(status, "it stopped")
    found = outcomes(
        machine,
        {
            "good": contender(machine, "good", 0.005),
            "bad": contender(machine, "bad", 0.005, fails_at=fails_at, error=error),
            "also good": contender(machine, "also good", 0.005),
        },
    )
    assert found["bad"] == Failure(status, "it stopped")
    for name in ("good", "also good"):
        good = found[name]
        assert isinstance(good, Observation)
        assert good.warnings == ()


@pytest.mark.parametrize(
    "error, status",
    [(Refused("too many threads"), "refused"), (InputError("is damaged"), "failed")],
)
def test_one_that_cannot_be_opened_is_told(error: Exception, status: str) -> None:
    machine = FakeMachine()

    def refuse() -> Session:
        raise error

    found = outcomes(machine, {"no": Contender(refuse), "yes": contender(machine, "yes", 0.01)})
    assert found["no"] == Failure(status, str(error))
    assert isinstance(found["yes"], Observation)


def test_a_busy_machine_is_flagged() -> None:
    assert kinds(observed(1e-4, machine=FakeMachine(others=0.4))) == []  # too short to tell
    busy = observed(noisy(0.05), machine=FakeMachine(others=0.4))
    assert kinds(busy)[0] == "busy"
    assert "40%" in busy.warnings[0].sentence
    assert kinds(observed(noisy(0.05), machine=FakeMachine()))[0] != "busy"


def test_stolen_time_is_flagged() -> None:
    assert "steal" in kinds(observed(noisy(0.05), machine=FakeMachine(steal=0.05)))


def test_groups_are_split_where_memory_is_short() -> None:
    machine = FakeMachine(available_bytes=1000)  # 500 may be held
    names = [f"n{i}" for i in range(6)]
    most = 0

    def spy(make: Callable[[], Session]) -> Callable[[], Session]:
        def opened() -> Session:
            nonlocal most
            session = make()
            most = max(most, len(machine.open))
            return session

        return opened

    contenders = {
        name: Contender(spy(contender(machine, name, 0.01, peak_bytes=200).open), QUICK)
        for name in names
    }
    found = outcomes(machine, contenders)
    assert list(found) != []
    assert all(isinstance(outcome, Observation) for outcome in found.values())
    groups = {outcome.group for outcome in found.values() if isinstance(outcome, Observation)}
    assert len(groups) == 3
    assert most == 2


def test_one_that_needs_more_than_its_share_of_memory_is_tried_alone() -> None:
    machine = FakeMachine(available_bytes=100)
    big = {name: contender(machine, name, 0.01, peak_bytes=200) for name in "ab"}
    assert all(isinstance(outcome, Observation) for outcome in outcomes(machine, big).values())


def test_an_interruption_closes_every_session() -> None:
    machine = FakeMachine()

    def interrupt(fraction: float, text: str) -> None:
        if fraction > 0.3:
            raise KeyboardInterrupt

    kept: dict[str, Outcome] = {}
    contenders = {name: contender(machine, name, noisy(0.01)) for name in "abc"}
    with pytest.raises(KeyboardInterrupt):
        measure(contenders, kept.__setitem__, machine=machine, progress=interrupt)
    assert machine.open == []


def test_progress_only_grows_and_ends_at_one() -> None:
    machine = FakeMachine()
    seen: list[float] = []
    contenders = {name: contender(machine, name, noisy(0.01)) for name in "abc"}
    measure(
        contenders, lambda key, outcome: None, machine=machine, progress=lambda f, _: seen.append(f)
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_nothing_to_measure_is_nothing() -> None:
    assert outcomes(FakeMachine(), {}) == {}


def test_observations_say_when_and_how() -> None:
    found = observed(0.01, Protocol(runs=12))
    assert found.taken_at == "2000-01-01T00:00:00+00:00"
    assert found.protocol.runs == 12
    assert found.energy_j is None
    assert found.energy_absent.endswith("no energy counter")
    assert found.after.at_s > found.before.at_s
    assert found.peak_bytes == 1 << 20
    assert len(found.block_medians_s()) == len(found.blocks)


def test_a_profile_follows_the_samples_and_counts_for_nothing_else() -> None:
    machine = FakeMachine()
    found = observed(0.005, machine=machine)
    assert [(row.layers, row.kind, row.seconds) for row in found.profile] == [
        (("conv",), "layer", 0.0025),
        ((), "other", 0.0025),
    ]
    assert found.profile_absent == ""
    runs = sum(count for _, count in machine.log)
    assert machine.worked_s == pytest.approx(0.005 * (runs + PROFILE_RUNS))


def test_a_profile_takes_a_small_share_of_the_budget() -> None:
    machine = FakeMachine()
    found = observed(0.2, Protocol(time_budget_s=10), machine)
    runs = sum(count for _, count in machine.log)
    assert machine.worked_s == pytest.approx(0.2 * (runs + 5))
    assert found.profile
    slow = observed(0.5, Protocol(time_budget_s=10))
    assert slow.profile == ()
    expected = "3 runs of 0.5 s are more than 10% of the time budget of 10 s"
    assert slow.profile_absent == expected


@pytest.mark.parametrize(
    "reason", [Refused("it does not tell"), SessionError("failed", "it died")], ids=["told", "died"]
)
def test_without_a_profile_the_measurement_is_kept_and_the_others_go_on(reason: Exception) -> None:
    machine = FakeMachine()
    found = outcomes(
        machine,
        {
            "a": contender(machine, "a", 0.005, unprofiled=reason),
            "b": contender(machine, "b", noisy(0.005)),
        },
    )
    a, b = found["a"], found["b"]
    assert isinstance(a, Observation)
    assert isinstance(b, Observation)
    assert (a.profile, a.profile_absent) == ((), str(reason))
    assert len(a.samples_s) == sum(a.blocks)
    assert len(b.profile) == 2


def test_profiling_one_is_no_foreign_load_to_the_others() -> None:
    machine = FakeMachine()
    found = outcomes(
        machine,
        {
            "a": contender(machine, "a", 0.1, Protocol(time_budget_s=30)),
            "b": contender(machine, "b", noisy(0.005, sigma=0.01)),
        },
    )
    for each in found.values():
        assert isinstance(each, Observation)
        assert "busy" not in kinds(each)


def test_old_records_without_a_profile_open() -> None:
    record = msgspec.to_builtins(observed(0.005))
    for later in ("profile", "profile_absent"):
        del record[later]
    again = msgspec.convert(record, Observation)
    assert (again.profile, again.profile_absent) == ((), "")
