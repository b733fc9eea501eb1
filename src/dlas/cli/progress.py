"""Progress of a run in the terminal: a bar with what is left, and what is being worked on."""

from __future__ import annotations

import logging
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from dlas.node import Node
from dlas.store.results import Outcome
from dlas.study.watch import Watcher

_PLAIN_EVERY_S = 10.0


class Progress(Watcher):
    """In a terminal a live bar; in a file or a pipe a line every ten seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._live = Live(self._bars, console=console, transient=True, refresh_per_second=8)
        self._all: TaskID | None = None
        self._current: dict[str, TaskID] = {}
        self._done = self._total = 0
        self._printed = 0.0
        self._handler = RichHandler(console=console, show_time=False, show_path=False)

    def __enter__(self) -> Progress:
        logging.getLogger("dlas").addHandler(self._handler)
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        logging.getLogger("dlas").removeHandler(self._handler)

    def planned(self, total: int, remaining_s: float) -> None:
        self._total = total
        if total:
            left = _left(remaining_s)
            self._all = self._bars.add_task("study", total=total, left=left)
            self._console.print(f"{total} steps to do, {left}")

    def started(self, node: Node) -> None:
        name = f"  {node.layer} · {node.name}"
        self._current[node.key] = self._bars.add_task(escape(name), total=100, left="")

    def progressed(self, node: Node, fraction: float, text: str) -> None:
        task = self._current.get(node.key)
        if task is not None:
            self._bars.update(task, completed=round(100 * fraction), left=escape(text))

    def ended(self, node: Node, outcome: Outcome, remaining_s: float) -> None:
        self._done += 1
        task = self._current.pop(node.key, None)
        if task is not None:
            self._bars.remove_task(task)
        if self._all is not None:
            self._bars.update(self._all, completed=self._done, left=_left(remaining_s))
        if outcome.status not in ("ok", "refused"):
            place = escape(f"{node.layer} · {node.name}")
            self._console.print(f"[red]{outcome.status}[/] {place}: {escape(outcome.message)}")
        if not self._console.is_terminal and time.monotonic() - self._printed > _PLAIN_EVERY_S:
            self._printed = time.monotonic()
            self._console.print(f"{self._done}/{self._total} steps, {_left(remaining_s)}")


class Left:
    """The share of one long piece of work that is done, and how long the rest should take at the
    same pace. In a terminal a live bar; in a file or a pipe a line every ten seconds."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:.0f} %"),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._task = self._bars.add_task("", total=1.0, left="")
        self._began = self._printed = time.monotonic()
        console.print(title)

    def __enter__(self) -> Left:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def __call__(self, fraction: float, text: str) -> None:
        now = time.monotonic()
        left = _left((now - self._began) * (1 / fraction - 1)) if fraction > 0 else ""
        self._bars.update(self._task, completed=fraction, description=escape(text), left=left)
        if not self._console.is_terminal and now - self._printed > _PLAIN_EVERY_S:
            self._printed = now
            line = ", ".join(filter(None, [f"{fraction:.0%}", left, text]))
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _left(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min left"
    return f"about {seconds / 3600:.1f} h left"
