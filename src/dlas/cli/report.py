"""``dlas report``: write a study's page, its figures and its data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlas.cli.options import StoreOption, StudyName, check_export


def report(
    study: StudyName,
    store: StoreOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write it.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(help="A folder to write the charts to as well, as .svg and .pdf for papers."),
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="A .parquet or .csv file to write the results to as well.")
    ] = None,
) -> None:
    """Write a study's report: one HTML page that works offline."""
    from dlas import api
    from dlas.store.store import open_store

    check_export(export)
    place = open_store(store)
    print(f"report: {api.write_report(study, place, output)}")
    if figures:
        written = api.write_figures(study, figures, place)
        print(f"figures: {len(written)} files in {figures}")
    if export:
        print(f"data: {api.export_results(study, export, place)}")
