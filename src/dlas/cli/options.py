"""Arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StoreOption = Annotated[
    Path | None,
    typer.Option("--store", help="The folder of results; by default $DLAS_STORE or .dlas."),
]
StudyFile = Annotated[Path, typer.Argument(help="A study, as a TOML file.")]
StudyName = Annotated[str, typer.Argument(help="A study: its TOML file or its name in the store.")]
StackKey = Annotated[
    str, typer.Argument(help="A stack: the first digits of its key, as `dlas show` prints.")
]
