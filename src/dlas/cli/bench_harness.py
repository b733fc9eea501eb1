"""``dlas bench harness``: what running a study costs beside its work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def harness(
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Nodes made at once; by default one per core."),
    ] = None,
    time_budget: Annotated[
        float, typer.Option(min=0.01, help="Seconds to run each executable, at most.")
    ] = 0.8,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Run a small study in a store of its own, and print what the grid cost against its stacks one
    by one, and what the harness added to the work."""
    import tempfile

    import msgspec
    from rich.console import Console

    from dlas.bench.harness import GRID_SHARE, OVERHEAD_SHARE, study
    from dlas.cli.progress import Progress
    from dlas.errors import DlasError
    from dlas.store.store import open_store
    from dlas.study.costs import cost_lines, last_spent
    from dlas.study.making import usual_limits
    from dlas.study.run import run_study
    from dlas.study.standing import Standing

    console = Console(emoji=False, highlight=False)
    made_up = study(time_budget)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        with Progress(console) as progress:
            run_study(made_up, store, limits=usual_limits(jobs), watcher=progress)
        grid = Standing(store.results, made_up.name).cost()
        spent = last_spent(store.results.runs(made_up.name))
    if spent is None:
        raise DlasError("the run was not recorded")
    for line in cost_lines(grid, spent):
        console.print(line, markup=False)
    word = {True: "within", False: "above"}
    console.print(
        f"grid {grid.share:.3f}, {word[grid.share <= GRID_SHARE]} {GRID_SHARE:g}; harness "
        f"{spent.overhead_share:.1%} of all work and {spent.strict_share:.1%} of measuring and "
        f"compiling alone, {word[spent.strict_share <= OVERHEAD_SHARE]} {OVERHEAD_SHARE:.0%}"
    )
    if json is not None:
        figures = {
            "grid": grid._asdict(),
            "spent": msgspec.to_builtins(spent),
            "overhead_share": spent.overhead_share,
            "strict_share": spent.strict_share,
        }
        json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
