"""What every device must do."""

from __future__ import annotations

import contextlib
import platform
import sys
import time
from pathlib import Path

import psutil
import pytest

from dlas.errors import InputError, Refused
from dlas.executable import compile_network
from dlas.hardware import MEMBERS
from dlas.hardware.base import Hardware
from dlas.hardware.local import last_cores
from dlas.hardware.process import ProcessSession
from dlas.layer import member
from dlas.measure.interleave import Contender, measure
from dlas.measure.observation import Observation, Outcome
from dlas.measure.protocol import Protocol
from dlas.plan import Plan
from dlas.spec import parse_member
from dlas.systems.onnxruntime import OnnxRuntime
from dlas.target.target import host
from dlas.testing.networks import tiny


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("executable")
    compile_network(OnnxRuntime(), tiny("plain"), Plan("vendor", ()), folder)
    return folder


@pytest.fixture(params=sorted(MEMBERS))
def hardware(request: pytest.FixtureRequest) -> Hardware:
    kind = member("hardware", request.param)
    if why := kind().missing():
        pytest.skip(why)
    made = kind(protocol=Protocol(runs=20, warmups=1, time_budget_s=2, time_limit_s=60))
    assert isinstance(made, Hardware)
    return made


def test_a_session_times_every_run(hardware: Hardware, executable: Path) -> None:
    session = hardware.open(executable)
    try:
        session.wait()
        for count in (1, 3):
            samples_s = session.run(count)
            assert len(samples_s) == count
            assert all(0 < sample_s < 60 for sample_s in samples_s)
        usage = session.usage()
        assert 0 <= usage.base_bytes <= usage.peak_bytes
        assert usage.cpu_s >= 0
        assert (session.energy_j() is None) == (session.energy_absent() != "")
    finally:
        session.close()
    session.close()


def test_a_session_tells_where_time_goes_or_why_it_cannot(
    hardware: Hardware, executable: Path
) -> None:
    session = hardware.open(executable)
    try:
        session.wait()
        session.run(3)
        peak_bytes = session.usage().peak_bytes
        with contextlib.suppress(Refused):
            assert any(row.layers for row in session.profile(3))
        assert session.usage().peak_bytes == peak_bytes  # what profiling takes is not counted
        assert len(session.run(2)) == 2
    finally:
        session.close()


def test_sessions_live_side_by_side(hardware: Hardware, executable: Path) -> None:
    sessions = [hardware.open(executable) for _ in range(2)]
    for session in sessions:
        session.wait()
    for session in reversed(sessions):
        assert session.run(1)[0] > 0
        session.close()


def test_it_can_be_measured(hardware: Hardware, executable: Path) -> None:
    contender = Contender(lambda: hardware.open(executable), hardware.protocol)
    found: dict[str, Outcome] = {}
    measure({"a": contender, "b": contender}, found.__setitem__)
    for outcome in found.values():
        assert isinstance(outcome, Observation)
        assert outcome.latency_s.value > 0
        assert 5 <= len(outcome.samples_s) <= 20


def test_a_folder_without_executable_is_refused(hardware: Hardware, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no executable"):
        hardware.open(tmp_path)


def test_its_fingerprint_is_in_the_key_and_names_nobody(hardware: Hardware) -> None:
    fingerprint = hardware.fingerprint()
    assert fingerprint
    assert fingerprint == hardware.fingerprint()
    assert all(isinstance(value, str) and value for value in fingerprint.values())
    assert fingerprint.items() <= hardware.tools().items()
    assert platform.node() not in str(fingerprint)


def test_its_spec_reads_back(hardware: Hardware) -> None:
    assert parse_member("hardware", hardware.spec(), "$.hardware") == hardware


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a session is not stopped")
def test_a_session_stands_still_between_requests(executable: Path) -> None:
    """Threads that spin while they wait would slow whoever is timed next."""
    session = ProcessSession(executable, last_cores(host(), 1), 1, 60.0)
    try:
        session.wait()
        assert len(session.run(3)) == 3
        process = psutil.Process(session.pid)
        deadline = time.monotonic() + 10
        while process.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.status() == psutil.STATUS_STOPPED
        assert len(session.run(2)) == 2
    finally:
        session.close()
    assert not psutil.pid_exists(session.pid)
