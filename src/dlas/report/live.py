"""A running study in the terminal, as wide as that is; and the same as lines, for a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dlas.measure.statistics import Estimate
from dlas.report.quantities import QUANTITIES, count
from dlas.report.rows import STATUS_WORDS
from dlas.study.costs import Spent, cost_lines, duration
from dlas.study.live import Doing, State
from dlas.study.standing import CUT_OFF, Fault, Standing, Timed

#: How many of each list are shown; the page and ``dlas show`` have all.
LATEST, FASTEST, FAULTS = 5, 8, 4
_LATENCY = QUANTITIES["latency_s"]
_STATUSES = ("ok", "refused", "failed", "out_of_memory", "timed_out", CUT_OFF, "pending")


def view(standing: Standing, state: State | None, now: float) -> RenderableType:
    """``now``: seconds of the epoch."""
    parts: list[RenderableType] = [Text(sentence(standing, state, now), "bold")]
    if state and state.is_running(now):
        if state.total:
            bar = Table.grid()  # a bar by itself does not end its line
            bar.add_row(ProgressBar(total=state.total, completed=state.done, width=40))
            parts.append(bar)
        parts += list(_doing(standing, state, now))
    parts += [Text(), _tally(standing)]
    if latest := standing.latest(LATEST):
        parts += [Text(), _timed("Measured last", latest)]
    if fastest := standing.fastest():
        shown = [best.timed for best in fastest[:FASTEST]]
        rivals = [best.rivals for best in fastest[:FASTEST]]
        title = "Fastest so far" if len(fastest) <= FASTEST else (
            f"Fastest so far, {FASTEST} of {len(fastest)} networks"
        )  # fmt: skip
        parts += [Text(), _timed(title, shown, rivals)]
    if faults := standing.faults():
        parts += [Text(), *map(_fault, faults[:FAULTS])]
        if len(faults) > FAULTS:
            parts.append(Text(f"… and {count(len(faults) - FAULTS, 'more reason')}", "dim"))
    return Group(*parts)


def sentence(standing: Standing, state: State | None, now: float) -> str:
    """What the study is at, or how it ended."""
    study = standing.study
    if state is None:
        return f"{study}: no run is at work"
    if state.is_running(now):
        if state.phase == "planning":
            return f"{study}: planning"
        left = f", about {duration(state.remaining_s)} left" if state.total else ""
        silent = f", silent for {duration(now - state.beat)}" if now - state.beat > 30 else ""
        return f"{study}: {state.phase}, {state.done:,} of {state.total:,} steps{left}{silent}"
    at = _clock(state.beat)
    go_on = f"; go on with: {state.command}" if state.command else ""
    if state.was_killed(now):
        return f"{study}: the run was killed at about {at}, while {state.phase}{go_on}"
    if state.phase == "stopped":
        return f"{study}: the run was stopped at {at}{go_on}"
    if state.phase == "failed":
        return f"{study}: the run failed at {at}: {state.message}"
    if not state.total:
        return f"{study}: there was nothing left to do at {at}"
    took = duration(state.beat - state.started)
    return f"{study}: the run ended at {at}, after {took} and {count(state.done, 'step')}"


def end_lines(standing: Standing, spent: Spent | None) -> list[str]:
    """What the study cost, and what comes next."""
    whole = not standing.stacks()["pending"]
    costs = cost_lines(standing.cost(), spent) if whole else []
    return [*costs, f"results: dlas show {standing.study}"]


def result_line(timed: Timed) -> str:
    return f"measured {timed.network} · {timed.name}: {_latency(timed.latency_s)}"


def fault_line(fault: Fault) -> str:
    word = STATUS_WORDS.get(fault.status, fault.status)
    more = f" and {fault.times - 1} more" if fault.times > 1 else ""
    why = fault.message or "no reason was recorded"
    return f"{word} {fault.layer} · {fault.where}{more}: {why}"


def _clock(moment: float) -> str:
    """The hour where it is of today, else the day, too."""
    local = time.localtime(moment)
    today = time.localtime()[:3] == local[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", local)


def _doing(standing: Standing, state: State, now: float) -> Iterator[RenderableType]:
    for key, doing in state.doing.items():
        line = Text("  ", no_wrap=True, overflow="ellipsis")
        line.append(f"{duration(max(0.0, now - doing.since)):>6}  ", "dim")
        line.append(_words(doing, standing.where(key)))
        yield line


def _words(doing: Doing, where: str) -> str:
    if doing.layer == "hardware":  # a group, of which the node is only the first stack
        return f"{doing.text or 'loading'}, {doing.fraction:.0%}, of {where.partition(' · ')[0]}"
    far = f" {doing.fraction:.0%}" if doing.fraction else ""
    text = f" ({doing.text}{far})" if doing.text else far
    return f"{doing.layer}{text}: {where or doing.name}"


def _tally(standing: Standing) -> Table:
    """Rows of layers, then the stacks; columns of the statuses that there are."""
    rows: dict[str, Counter[str]] = {**standing.layers(), "stacks": standing.stacks()}
    there = [s for s in _STATUSES if any(tally[s] for tally in rows.values())]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for status in there:
        title = "done" if status == "ok" else STATUS_WORDS.get(status, status)
        table.add_column(title, justify="right", overflow="fold")
    for layer, tally in rows.items():
        style = "bold" if layer == "stacks" else ""
        table.add_row(layer, *(f"{tally[s]:,}" if tally[s] else "" for s in there), style=style)
    return table


def _timed(title: str, many: list[Timed], rivals: Sequence[int] = ()) -> Group:
    """Latencies are never cut; names are, where the terminal is narrow."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_header=any(rivals))
    table.add_column("")
    table.add_column("")
    table.add_column("", justify="right", no_wrap=True)
    if any(rivals):
        table.add_column("as fast", no_wrap=True, style="dim")
    for i, timed in enumerate(many):
        others = [f"{n} more" if n else "" for n in rivals[i : i + 1]] if any(rivals) else []
        table.add_row(
            _cut(timed.network), _cut(timed.name), Text(_latency(timed.latency_s)), *others
        )
    return Group(Text(title, "dim"), table)


def _cut(name: str) -> Text:
    return Text(name, no_wrap=True, overflow="ellipsis")


def _latency(latency_s: Estimate) -> str:
    """``"0.412 ms (0.405–0.420)"``."""
    text = _LATENCY.text(latency_s.value)
    if latency_s.low is None or latency_s.high is None:
        return f"{text} (no interval)"
    return f"{text} ({_LATENCY.number(latency_s.low)}–{_LATENCY.number(latency_s.high)})"


def _fault(fault: Fault) -> Text:
    return Text(fault_line(fault), "yellow" if fault.status == "refused" else "red")
