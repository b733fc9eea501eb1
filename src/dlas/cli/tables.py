"""``dlas tables``: write a study's tables into a Markdown file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlas.cli.options import StoreOption


def tables(
    file: Annotated[
        Path,
        typer.Argument(
            help="A Markdown file with marks: <!-- dlas: TABLE STUDY… --> and <!-- /dlas -->."
        ),
    ],
    check: Annotated[
        bool,
        typer.Option("--check", help="Change nothing; say whether the tables are as they were."),
    ] = False,
    store: StoreOption = None,
) -> None:
    """Make the tables of a Markdown file anew from the studies that its marks name.

    A study is its TOML file, its results in a Parquet file (both seen from the Markdown file), or
    its name in the store."""
    from functools import cache

    from dlas import api
    from dlas.errors import DlasError, InputError
    from dlas.report.tables import fill
    from dlas.store.archive import StudyResults
    from dlas.store.store import open_store

    place = open_store(store)

    @cache
    def results(name: str) -> StudyResults:
        beside = file.parent / name
        return api.study_results(beside if beside.exists() else name, place)

    try:
        before = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not a text file") from None
    after = fill(before, results, str(file))
    if before == after:
        print(f"{file}: its tables are as they were")
    elif check:
        raise DlasError(
            f"{file}: its tables have changed; write them anew with: dlas tables {file}"
        )
    else:
        file.write_text(after, encoding="utf-8")
        print(f"{file}: tables written")
