"""``dlas run``: make and measure what is missing of a study, then report."""

from __future__ import annotations

from typing import Annotated

import typer

from dlas.cli.options import StoreOption, StudyFile


def run(
    study: StudyFile,
    store: StoreOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Nodes made at once, sharing the cores; by default one per core."),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed before.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Measure again, side by side, what was measured.")
    ] = False,
    time_limit: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds one node may take; by default 6 hours."),
    ] = None,
) -> None:
    """Run a study: make and measure what is missing, print a table, write the report.

    What is finished is never repeated: stop it with Ctrl-C, or kill it, and run it again."""
    from rich.console import Console

    from dlas import api
    from dlas.cli.progress import Progress
    from dlas.errors import DlasError
    from dlas.report.terminal import summary
    from dlas.store.store import open_store
    from dlas.study.costs import cost_lines, last_spent
    from dlas.study.making import usual_limits
    from dlas.study.space import Study
    from dlas.study.standing import Standing

    console = Console(emoji=False)
    kept = f" --store {store}" if store else ""
    opened, place = Study.open(study), open_store(store)
    try:
        with Progress(console) as progress:
            limits = usual_limits(jobs, time_limit)
            frame = api.run(
                opened, place, limits=limits, retry=retry, again=again, watcher=progress
            )
    except KeyboardInterrupt:
        console.print(
            f"Stopped. What is finished is kept; go on with: dlas run {study}{kept}", markup=False
        )
        raise typer.Exit(130) from None
    console.print(summary(frame))
    spent = last_spent(place.results.runs(opened.name))
    for line in cost_lines(Standing(place.results, opened.name).cost(), spent):
        console.print(line, style="dim", soft_wrap=True, markup=False, highlight=False)
    path = api.write_report(opened.name, place)
    console.print(f"report: {path}", soft_wrap=True, markup=False)
    if not (frame["status"] == "ok").any():
        reasons = "; ".join(dict.fromkeys(frame["message"]))
        raise DlasError(f"nothing could be measured: {reasons}")
