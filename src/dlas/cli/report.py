"""``dlas report``: write a study's page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlas.cli.options import StoreOption, StudyName


def report(
    study: StudyName,
    store: StoreOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write it.")
    ] = None,
) -> None:
    """Write a study's report: one HTML page that works offline."""
    from dlas import api
    from dlas.store.store import open_store

    print(f"report: {api.write_report(study, open_store(store), output)}")
