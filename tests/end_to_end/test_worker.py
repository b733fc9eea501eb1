"""The process an executable is timed in: what it is given, how it ends, and what it leaves."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import msgspec
import pytest

from dlas.errors import Refused, SpecError
from dlas.executable import compile_network
from dlas.hardware.local import Local
from dlas.hardware.process import ProcessSession
from dlas.measure.interleave import Contender, measure
from dlas.measure.observation import Failure, Observation, Outcome
from dlas.measure.protocol import Protocol, SessionError
from dlas.plan import Plan
from dlas.spec import parse_member
from dlas.target.target import host
from dlas.testing.networks import tiny

#: A third-party system that behaves as its field says.
SYSTEM = """
import json, os, signal, sys, time
from typing import ClassVar
from dlas.systems.base import System

class Actor(System, frozen=True, kw_only=True):
    name: ClassVar[str] = "actor"
    act: str = ""

    def compile(self, network, plan, folder): ...

    def load(self, folder):
        print("libraries print"); os.write(1, b"even past Python\\n")
        act, when = self.act.rpartition(" ")[::2] if " " in self.act else (self.act, "run")
        def perform():
            if act == "raise": raise ValueError("the weights are upside down")
            if act == "memory": raise MemoryError
            if act == "alloc": raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            if act == "exit": print("goodbye", file=sys.stderr); os._exit(3)
            if act == "kill": os.kill(os.getpid(), signal.SIGKILL)
            if act == "crash": os.kill(os.getpid(), signal.SIGSEGV)
            if act == "sleep": time.sleep(600)
            if act == "spin":
                while True: pass
        if when == "load": perform()
        def run(image):
            if act == "report":
                names = [n for n in os.environ if n.endswith("_NUM_THREADS")]
                state = {"cores": sorted(os.sched_getaffinity(0)), "shape": image.shape,
                         "sum": float(image.sum()), "threads": {n: os.environ[n] for n in names}}
                (folder / "report.json").write_text(json.dumps(state))
            perform()
            return image
        return run
"""
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prctl")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a distribution that brings the system ``actor``."""
    info = tmp_path / "plugin" / "actor-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: actor\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dlas.systems]\nactor = actor:Actor\n")
    (info.parent / "actor.py").write_text(SYSTEM)
    monkeypatch.syspath_prepend(info.parent)
    return tmp_path


def acting(folder: Path, act: str, threads: int = 1) -> Path:
    executable = folder / (act or "good")
    executable.mkdir()
    actor = importlib.import_module("actor").Actor(act=act, threads=threads)
    compile_network(actor, tiny("plain"), Plan("vendor", ()), executable)
    return executable


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@linux_only
def test_it_is_pinned_and_knows_its_threads(plugin: Path) -> None:
    executable = acting(plugin, "report")
    core = host().cpus[0]
    session = Local(cores=(core,)).open(executable)
    session.wait()
    assert all(sample_s > 0 for sample_s in session.run(2))
    first = msgspec.json.decode((executable / "report.json").read_bytes())
    session.close()
    assert first["cores"] == [core]
    assert first["shape"] == [1, 3, 16, 16]
    assert first["threads"]["OMP_NUM_THREADS"] == first["threads"]["TVM_NUM_THREADS"] == "1"
    again = Local().open(executable)
    again.wait()
    again.run(1)
    again.close()
    second = msgspec.json.decode((executable / "report.json").read_bytes())
    assert second["sum"] == first["sum"]  # the same image in every process
    assert second["cores"] == [host().cpus[-1]]


ENDS = {
    "raise": ("failed", "the weights are upside down"),
    "memory": ("out_of_memory", "MemoryError"),
    "alloc": ("out_of_memory", "can't allocate memory"),
    "exit": ("failed", "ended with status 3: goodbye"),
    "kill": ("out_of_memory", "was killed, most likely by the system, for want of memory"),
    "crash": ("failed", "was ended by SIGSEGV"),
}


@pytest.mark.parametrize("when", ["load", "run"])
@pytest.mark.parametrize("act", ENDS)
def test_every_end_has_its_sentence(plugin: Path, act: str, when: str) -> None:
    check_end(acting(plugin, f"{act} {when}"), when, 60.0, *ENDS[act])


@pytest.mark.parametrize("act, when", [("sleep", "load"), ("spin", "run")])
def test_one_that_hangs_is_given_up(plugin: Path, act: str, when: str) -> None:
    check_end(acting(plugin, f"{act} {when}"), when, 4.0, "timed_out", "took longer than 4 s")


def check_end(executable: Path, when: str, limit_s: float, status: str, said: str) -> None:
    session = ProcessSession(executable, [host().cpus[-1]], 1, limit_s)
    if when == "run":
        session.wait()
    with pytest.raises(SessionError) as caught:
        session.wait() if when == "load" else session.run(2)
    session.close()
    assert caught.value.status == status
    assert said in str(caught.value)
    assert ("loading" in str(caught.value)) == (when == "load")
    assert "Traceback" not in str(caught.value)
    assert not is_alive(session.pid)


def test_good_ones_are_measured_beside_bad_ones(plugin: Path) -> None:
    hardware = Local(protocol=Protocol(runs=15, warmups=1, time_budget_s=2, time_limit_s=5))
    contenders = {
        act: Contender(partial(hardware.open, acting(plugin, act)), hardware.protocol)
        for act in ("", "raise run", "kill load", "crash run")
    }
    found: dict[str, Outcome] = {}
    measure(contenders, found.__setitem__)
    good = found.pop("")
    assert isinstance(good, Observation)
    assert good.peak_bytes > good.base_bytes > 1 << 20
    assert {
        act: outcome.status for act, outcome in found.items() if isinstance(outcome, Failure)
    } == {"raise run": "failed", "kill load": "out_of_memory", "crash run": "failed"}


@linux_only
@pytest.mark.parametrize("doing", ["", "sleep run", "spin run", "sleep load"])
def test_killing_the_parent_leaves_no_worker(plugin: Path, doing: str) -> None:
    script = f"""
        from pathlib import Path
        import sys, time
        sys.path[:0] = {sys.path!r}
        from dlas.hardware.local import Local
        session = Local().open(Path({str(acting(plugin, doing))!r}))
        print(session.pid, flush=True)
        session.wait()
        session.run(1)
        time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.stdout.close()
    time.sleep(1.0)  # it loads, or runs
    assert is_alive(worker)
    parent.kill()
    parent.wait()
    for _ in range(200):
        if not is_alive(worker):
            break
        time.sleep(0.05)
    else:
        os.kill(worker, signal.SIGKILL)
        pytest.fail("the worker outlived its parent")


def test_ctrl_c_is_for_the_parent_alone(plugin: Path) -> None:
    session = ProcessSession(acting(plugin, ""), [host().cpus[-1]], 1, 60.0)
    session.wait()
    assert os.getpgid(session.pid) != os.getpgid(0)
    session.close()


def test_more_threads_than_cores_are_refused(plugin: Path) -> None:
    with pytest.raises(Refused, match="computes with 2 threads and local has 1 CPUs"):
        Local(cores=(host().cpus[0],)).open(acting(plugin, "", threads=2))


@pytest.mark.parametrize(
    "cores, sentence",
    [
        ([9999], r"\$\.hardware\.cores\[0\]: 9999 is not one of the CPUs 0"),
        ([0, 0], r"\$\.hardware\.cores: \[0, 0\] names a CPU twice"),
        ([], r"\$\.hardware\.cores: names no CPU"),
        ([-1], r"\$\.hardware\.cores\[0\]: -1 is not in \[0, inf\)"),
    ],
)
def test_cores_that_are_not_there_are_named(cores: list[int], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        parse_member("hardware", {"name": "local", "cores": cores}, "$.hardware")
