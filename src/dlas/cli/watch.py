"""``dlas watch``: a running study, seen from another terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dlas.cli.options import StoreOption, StudyName

if TYPE_CHECKING:
    from rich.console import Console

    from dlas.store.store import Store
    from dlas.study.live import State
    from dlas.study.standing import Standing

#: In a file or a pipe, a line that only tells the time left is written as seldom as this.
PLAIN_EVERY_S = 10.0


def watch(
    study: StudyName,
    store: StoreOption = None,
    every: Annotated[
        float, typer.Option(min=0.2, help="Seconds between two looks at the run.")
    ] = 1.0,
) -> None:
    """Watch a study that runs in another terminal: what is being made and timed, what has ended
    how, the fastest stacks so far. Ctrl-C ends the watching, not the run."""
    from rich.console import Console

    from dlas import api
    from dlas.store.store import open_store

    name, place = api.study_name(study), open_store(store)
    command = f"dlas run {study}" if study.endswith(".toml") else ""
    kept = f" --store {store}" if store else ""
    Watching(Console(emoji=False, highlight=False), place, name, command, kept).follow(every)


class Watching:
    """Follows one study until its run ends. ``command``: how it is run, where that is known;
    ``kept``: the option that names the store."""

    def __init__(self, console: Console, store: Store, study: str, command: str, kept: str) -> None:
        self._console, self._store, self._study = console, store, study
        self._command, self._kept = command, kept
        self._standing: Standing | None = None
        self._run: tuple[object, ...] = ()
        self._read = 0  # steps whose results ``_standing`` has

    def follow(self, every_s: float) -> None:
        import time

        from dlas.study.live import read_state

        state = self._look()
        if state is None and self._standing is None:
            how = f"; start it with: {self._command}{self._kept}" if self._command else ""
            others = self._store.results.studies()
            there = f"; there are {', '.join(others)}" if others and not how else ""
            self._say(f"{self._study} was never run with this store{how}{there}")
            return
        if state is not None and state.is_running(time.time()):
            follow = self._live if self._console.is_terminal else self._plain
            follow(every_s)
        self._end(read_state(self._store.root, self._study), time.time())

    def _look(self) -> State | None:
        """The run's last word; ``_standing`` follows it, anew for another run."""
        from dlas.errors import StoreError
        from dlas.study.live import read_state
        from dlas.study.standing import Standing

        state = read_state(self._store.root, self._study)
        run = (state.started, state.phase == "planning") if state else ()
        if self._standing is None or run != self._run:
            try:
                self._standing = Standing(self._store.results, self._study)
            except StoreError:  # it is planning for the first time
                return state
            self._run, self._read = run, 0
        if state is None or state.done != self._read:
            self._standing.refresh()
            self._read = state.done if state else 0
        return state

    def _live(self, every_s: float) -> None:
        import time

        from rich.live import Live
        from rich.text import Text

        from dlas.report.live import view

        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while (state := self._look()) and state.is_running(time.time()):
                shown = view(self._standing, state, time.time()) if self._standing else None
                live.update(shown or Text(f"{self._study}: planning"), refresh=True)
                time.sleep(every_s)

    def _plain(self, every_s: float) -> None:
        """A line for what has changed."""
        import time

        from dlas.report.live import fault_line, result_line, sentence

        said: set[object] = set()
        written, first = 0.0, True

        def once(what: object, line: str) -> None:
            if what not in said:
                said.add(what)
                if not first:  # what was there before is in the numbers
                    self._say(line)

        running = True
        while running:
            state = self._look()
            running = state is not None and state.is_running(time.time())
            if state is not None and self._standing is not None:
                for timed in reversed(self._standing.latest(100)):
                    once(timed, result_line(timed))
                for fault in self._standing.faults():
                    once(fault[:3], fault_line(fault))
                first = False
                for key, doing in state.doing.items():
                    if doing.layer != "hardware":
                        once(key, f"making {doing.layer}: {self._standing.where(key)}")
                if running and time.time() - written > PLAIN_EVERY_S:
                    written = time.time()
                    self._say(sentence(self._standing, state, written))
            time.sleep(every_s if running else 0)

    def _end(self, state: State | None, now: float) -> None:
        from dlas.report.live import end_lines, sentence, view
        from dlas.study.costs import last_spent

        if self._standing is None:
            message = state.message if state else "no run is at work"
            self._say(f"{self._study}: the run ended before its stacks were known: {message}")
            return
        self._standing.refresh()
        spent = last_spent(self._store.results.runs(self._study))
        if state is not None and state.command:
            state.command += self._kept
        if self._console.is_terminal:
            self._console.print(view(self._standing, state, now))
            self._say("")
        else:
            self._say(sentence(self._standing, state, now))
        for line in end_lines(self._standing, spent):
            self._say(line + (self._kept if line.startswith("results:") else ""))

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=not self._console.is_terminal)
