"""``dlas show``: the results of a study in the terminal, or exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlas.cli.options import StoreOption, check_export


def show(
    study: Annotated[
        str | None,
        typer.Argument(
            help="A study: its TOML file, its name or a Parquet file of results; none lists the "
            "studies."
        ),
    ] = None,
    store: StoreOption = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Write all columns to a .csv file instead, or with the raw samples and "
            "circumstances to a .parquet file, which every command that takes a study reads."
        ),
    ] = None,
) -> None:
    """Show the results of a study; without a name, the studies in the store."""
    from rich.console import Console

    from dlas import api
    from dlas.report.quantities import count
    from dlas.report.terminal import results_table
    from dlas.store.store import open_store

    check_export(export)
    console = Console()
    place = open_store(store)
    if study is None:
        names = place.results.studies()
        console.print(
            "\n".join(names) if names else "no study was run with this store yet", markup=False
        )
        return
    found = api.study_results(study, place)
    if export is None:
        console.print(results_table(found.frame))
        if found.place:
            console.print(f"from {found.place}", soft_wrap=True, markup=False)
        return
    api.export_results(study, export, place)
    console.print(
        f"{count(len(found.frame), 'stack')} written to {export}", soft_wrap=True, markup=False
    )
