"""Arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlas.errors import DlasError, InputError

StoreOption = Annotated[
    Path | None,
    typer.Option("--store", help="The folder of results; by default $DLAS_STORE or .dlas."),
]
LevelsOption = Annotated[str, typer.Option(help="Percent of zeros, with commas between them.")]
StudyFile = Annotated[Path, typer.Argument(help="A study, as a TOML file.")]
StudyName = Annotated[str, typer.Argument(help="A study: its TOML file or its name in the store.")]
StackKey = Annotated[
    str, typer.Argument(help="A stack: the first digits of its key, as `dlas show` prints.")
]


def check_export(path: Path | None) -> None:
    """DlasError for a file of another kind than results are exported to."""
    if path and path.suffix not in (".parquet", ".csv"):
        raise DlasError(f"--export {path}: the file must end in .parquet or .csv")


def shares(text: str, option: str) -> tuple[float, ...]:
    """``"50,90"`` → (0.5, 0.9), rising. InputError where that is not percents between 0 and 100."""
    found = set()
    for part in text.split(","):
        try:
            percent = float(part)
        except ValueError:
            percent = 0.0
        if not 0 < percent < 100:
            raise InputError(f"{option}: {part.strip()!r} is not a percentage between 0 and 100")
        found.add(percent / 100)
    return tuple(sorted(found))
