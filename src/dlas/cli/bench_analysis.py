"""``dlas bench analysis``: what understanding and reporting take where there are many results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from dlas.store.results import Results
    from dlas.testing.planted import Planted

#: What is promised: of everything from the store to the page, and of one query.
TOTAL_S, PEAK_BYTES, QUERY_S = 20.0, 1 << 30, 2.0


class Step(NamedTuple):
    """``cpu_s``: of all threads; less than ``seconds`` where others were at work on the machine.
    ``peak_bytes``: the most memory the process had held by its end."""

    name: str
    seconds: float
    cpu_s: float
    peak_bytes: int


def analysis(
    rows: Annotated[
        int, typer.Option(min=0, help="Result rows of the large store; 0 leaves it out.")
    ] = 1_000_000,
    samples: Annotated[int, typer.Option(min=6, help="Samples of each stack.")] = 150,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Keep the made-up stores in this folder, and use those that are there (nowhere)."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    planted: Annotated[
        int, typer.Option(min=0, help="Draws of studies with known truths to find; 0 is none.")
    ] = 0,
) -> None:
    """Time the analysis and the report of 2,016 stacks, and every query behind it in a large
    store; count what is found of truths planted in made-up studies. Results are made up."""
    import tempfile

    from rich.console import Console

    console = Console()
    with tempfile.TemporaryDirectory() as nowhere:
        place = store or Path(nowhere)
        report = _report(console, place / "study", samples)
        queries = _queries(console, place / "many", rows) if rows else []
    found = _planted(console, planted) if planted else None
    if json is not None:
        _write(json, report, queries, found)


def _report(console: Any, root: Path, samples: int) -> list[Step]:
    from dlas.bench.analysis import STUDY, fill, study
    from dlas.store.store import open_store

    results = open_store(root).results
    made_up = study()
    if STUDY not in results.studies():
        console.print(f"making {len(made_up.stacks):,} stacks × {samples} samples …")
        fill(results, made_up, samples)
    results.engine.dispose()
    steps = _apart(report_steps, root, STUDY)
    total_s, peak = sum(step.seconds for step in steps), max(step.peak_bytes for step in steps)
    cpu_s = sum(step.cpu_s for step in steps)
    _table(console, "From the store to the page", steps, memory=True)
    console.print(
        f"together {total_s:.1f} s ({_bar(total_s <= TOTAL_S)} {TOTAL_S:g} s), {cpu_s:.1f} s of "
        f"CPU, at most {peak / 2**20:,.0f} MiB ({_bar(peak <= PEAK_BYTES)} "
        f"{PEAK_BYTES / 2**20:,.0f} MiB)\n",
        highlight=False,
    )
    return steps


def _queries(console: Any, root: Path, rows: int) -> list[Step]:
    from dlas.bench.analysis import STUDY, fill_many, study
    from dlas.cli.progress import Left
    from dlas.store.store import open_store

    results = open_store(root).results
    count = -(-rows // len(study().stacks))
    if not results.studies():
        with Left(console, f"making {count * len(study().stacks):,} result rows …") as left:
            for share in fill_many(results, count):
                left(share, "made")
    results.engine.dispose()
    steps = _apart(query_steps, root, f"{STUDY}-0")
    _table(console, f"Queries, {count * len(study().stacks):,} result rows", steps, memory=False)
    slowest = max(steps, key=lambda step: step.seconds)
    console.print(
        f"the slowest, {slowest.name}, takes {slowest.seconds:.2f} s, {slowest.cpu_s:.2f} s of CPU "
        f"({_bar(slowest.seconds <= QUERY_S)} {QUERY_S:g} s)",
        highlight=False,
    )
    return steps


def report_steps(root: Path, study: str) -> list[Step]:
    """All that ``dlas report`` does, and what an analysis by itself takes."""
    from dlas.analysis.claims import judge, published
    from dlas.analysis.interactions import understand
    from dlas.report.gather import gather_info
    from dlas.report.page import write_report
    from dlas.store.archive import read_results
    from dlas.store.store import open_store

    store = open_store(root)
    steps = Steps()
    found = steps.take("results and samples", lambda: read_results(store.results, study))
    info = steps.take("circumstances", lambda: gather_info(store, study))
    steps.take("understand", lambda: understand(found.frame, found.rounds))
    steps.take("judge", lambda: judge(published(), found.frame, found.rounds))
    page = root / "page.html"
    steps.take(
        "page, both again",
        lambda: write_report(found.frame, info, page, found.samples, found.rounds),
    )
    return list(steps)


def query_steps(root: Path, study: str) -> list[Step]:
    """Every query of the store that a plan, a report or watching asks, for one study."""
    from dlas.store.frame import results_frame
    from dlas.store.results import Results

    steps = Steps()
    results = steps.take("open", lambda: Results(f"sqlite:///{root / 'results.sqlite'}"))
    members = steps.take("members", lambda: results.members(study))
    keys = [member["key"] for member in members]
    nodes = list(steps.take("nodes", lambda: results.nodes(keys)))
    for name, ask in _asked(results, study, keys, nodes):
        steps.take(name, ask)
    steps.take("results frame, all of it", lambda: results_frame(results, study))
    return list(steps)


def _asked(
    results: Results, study: str, keys: list[str], nodes: list[str]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "studies", results.studies
    yield "study", lambda: results.study(study)
    yield "outcomes", lambda: results.outcomes(nodes)
    yield "endings", lambda: results.endings(nodes)
    yield "endings after", lambda: results.endings_after(results.last_number() - 100)
    yield "observations", lambda: results.observations(keys)
    yield "last observations", lambda: results.last_observations(keys)
    yield "observed", lambda: results.observed(keys)
    yield "usual seconds", results.usual_seconds
    yield "find", lambda: results.find(keys[0][:6])
    yield "studies of a stack", lambda: results.studies_of(keys[0])
    yield "runs", lambda: results.runs(study)


class Steps(list[Step]):
    def take(self, name: str, work: Callable[[], Any]) -> Any:
        """Do it, and note what it took."""
        from dlas.hardware.memory import peak_bytes

        began, cpu_s = time.perf_counter(), time.process_time()
        found = work()
        took = time.perf_counter() - began, time.process_time() - cpu_s
        self.append(Step(name, *took, peak_bytes()))
        return found


def _apart(work: Callable[[Path, str], list[Step]], root: Path, study: str) -> list[Step]:
    """In a fresh process, so that memory is that of the work alone."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, root, study).result()


def _planted(console: Any, draws: int) -> Planted:
    from dlas.testing.planted import planted

    found = planted(draws, 0)
    console.print(found)
    return found


def _bar(kept: bool) -> str:
    return "within" if kept else "[red]above[/]"


def _table(console: Any, title: str, steps: list[Step], memory: bool) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title)
    table.add_column("s", justify="right")
    table.add_column("CPU s", justify="right")
    if memory:
        table.add_column("peak MiB", justify="right")
    for step in steps:
        peak = [f"{step.peak_bytes / 2**20:,.0f}"] if memory else []
        table.add_row(step.name, f"{step.seconds:.3f}", f"{step.cpu_s:.3f}", *peak)
    console.print(table)


def _write(path: Path, report: list[Step], queries: list[Step], found: Planted | None) -> None:
    import msgspec

    figures: dict[str, Any] = {
        "report": [step._asdict() for step in report],
        "queries": [step._asdict() for step in queries],
    }
    if found is not None:
        figures["planted"] = msgspec.to_builtins(found)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
