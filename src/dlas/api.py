"""The Python interface: what the command line does, with values in and out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dlas.errors import DlasError
from dlas.store.store import Store, open_store
from dlas.study.making import Limits
from dlas.study.space import Study
from dlas.study.watch import Watcher

if TYPE_CHECKING:
    import pandas as pd

StudyLike = Study | str | os.PathLike[str]


def run(
    study: StudyLike,
    store: Store | str | os.PathLike[str] | None = None,
    *,
    limits: Limits | None = None,
    retry: bool = False,
    watcher: Watcher | None = None,
) -> pd.DataFrame:
    """Make and measure what is missing of a study (a ``Study`` or its TOML file), and give its
    results. ``store``: a folder, by default ``$DLAS_STORE`` or ``.dlas``. ``retry``: try again what
    failed before. Killed or interrupted, the next call goes on where it stopped."""
    from dlas.study.run import run_study

    opened = _study(study)
    place = _store(store)
    run_study(opened, place, limits=limits, retry=retry, watcher=watcher or Watcher())
    return results(opened.name, place)


def results(study: StudyLike, store: Store | str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """The results of a study (a ``Study``, its TOML file or its name): one row per stack, the
    columns of ``dlas.store.schema.RESULTS``."""
    from dlas.store.frame import results_frame

    return results_frame(_store(store).results, study_name(study))


def write_report(
    study: StudyLike,
    store: Store | str | os.PathLike[str] | None = None,
    path: Path | str | None = None,
) -> Path:
    """Write a study's page, by default into the store; where it lies."""
    from dlas.report import page
    from dlas.report.gather import gather_info
    from dlas.store.frame import results_frame

    place, name = _store(store), study_name(study)
    frame = results_frame(place.results, name)
    target = Path(path) if path else place.report(name)
    return page.write_report(frame, gather_info(place, name), target)


def study_name(study: StudyLike) -> str:
    """The name under which a study's results are kept."""
    if isinstance(study, Study):
        return study.name
    text = os.fspath(study)
    return Study.open(text).name if text.endswith(".toml") else text


def _study(study: StudyLike) -> Study:
    if isinstance(study, Study):
        return study
    if not os.fspath(study).endswith(".toml"):
        raise DlasError(f"{study}: a study to run is a .toml file or a dlas.Study")
    return Study.open(os.fspath(study))


def _store(store: Store | str | os.PathLike[str] | None) -> Store:
    return (
        store if isinstance(store, Store) else open_store(store if store is None else Path(store))
    )
