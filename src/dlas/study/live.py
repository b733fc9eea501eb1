"""The state of a run as one small file, for whoever watches from another process.

``runs/<study>.json`` in the store is written aside and renamed, at most once a second and only by
the run's own thread, which does nothing else then: publishing costs a timed run nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from dlas.node import Node
from dlas.store.results import Outcome
from dlas.study.costs import Spent
from dlas.study.watch import Watcher

EVERY_S = 1.0
#: A run on another machine that was silent for so long is taken for dead.
SILENT_S = 300.0
RUNNING = ("planning", "making", "measuring")


class Doing(msgspec.Struct):
    """A node at work: ``since`` in seconds of the epoch, and its own word on how far it is."""

    layer: str
    name: str
    since: float
    fraction: float = 0.0
    text: str = ""


class State(msgspec.Struct):
    """A run as it was last heard of. Times are seconds of the epoch. ``phase``: one of ``RUNNING``,
    ``ended``, ``stopped`` (by Ctrl-C) or ``failed`` with the sentence in ``message``. ``doing``: by
    node key. ``born`` is when the process ``pid`` on ``host`` started, for pids are used again."""

    study: str
    command: str
    pid: int
    born: float
    host: str
    started: float
    beat: float
    phase: str = "planning"
    message: str = ""
    total: int = 0
    done: int = 0
    remaining_s: float = 0.0
    doing: dict[str, Doing] = {}
    spent: Spent = msgspec.field(default_factory=Spent)

    def is_running(self, now: float) -> bool:
        """Whether the run says so and its process is there."""
        if self.phase not in RUNNING:
            return False
        if self.host != socket.gethostname():
            return now - self.beat < SILENT_S
        with suppress(psutil.Error):
            return bool(abs(psutil.Process(self.pid).create_time() - self.born) < 1.0)
        return False

    def was_killed(self, now: float) -> bool:
        return self.phase in RUNNING and not self.is_running(now)


def state_file(root: Path, study: str) -> Path:
    return root / "runs" / f"{study}.json"


def read_state(root: Path, study: str) -> State | None:
    """None where there is no such run, or its file is damaged."""
    try:
        return msgspec.json.decode(state_file(root, study).read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        return None


class Publisher(Watcher):
    """Writes the state of this process's run. A store that cannot be written is no reason to stop:
    whoever watches then sees an old state."""

    def __init__(
        self, root: Path, study: str, command: str, clock: Callable[[], float] = time.time
    ) -> None:
        process = psutil.Process()
        now = clock()
        self.state = State(
            study, command, process.pid, process.create_time(), socket.gethostname(), now, now
        )
        self._file, self._clock, self._written = state_file(root, study), clock, 0.0

    def entered(self, phase: str) -> None:
        self.state.phase = phase
        self.write()

    def planned(self, total: int, remaining_s: float) -> None:
        self.state.total, self.state.remaining_s = total, remaining_s
        self.write()

    def started(self, node: Node) -> None:
        if node.layer == "hardware":  # one group is timed at a time
            self.state.doing.clear()
        self.state.doing[node.key] = Doing(node.layer, node.name, self._clock())
        self.idle()

    def progressed(self, node: Node, fraction: float, text: str) -> None:
        doing = self.state.doing.setdefault(
            node.key, Doing(node.layer, node.name, self._clock())
        )  # of a group that goes on after its first stack has ended
        doing.fraction, doing.text = fraction, text
        self.idle()

    def ended(self, node: Node, outcome: Outcome, remaining_s: float) -> None:
        if node.layer != "hardware":
            self.state.doing.pop(node.key, None)
        self.state.done += 1
        self.state.remaining_s = remaining_s
        self.idle()

    def idle(self) -> None:
        if not 0 <= self._clock() - self._written < EVERY_S:
            self.write()

    def close(self, phase: str, message: str = "") -> None:
        """The last word of a run."""
        self.state.phase, self.state.message = phase, message
        self.state.doing.clear()
        self.write()

    def write(self) -> None:
        self._written = self.state.beat = self._clock()
        aside = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(msgspec.json.encode(self.state))
            aside.replace(self._file)
