"""The Python interface: what the command line does, with values in and out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dlas.errors import DlasError
from dlas.store.store import Store, open_store
from dlas.study.making import Limits
from dlas.study.space import Study
from dlas.study.watch import Watcher

if TYPE_CHECKING:
    import pandas as pd

    from dlas.report.info import ReportInfo
    from dlas.store.archive import StudyResults

#: What a report's circumstances hold stack by stack.
_BY_STACK = ("choices", "warmups_s", "layers")

StudyLike = Study | str | os.PathLike[str]


def run(
    study: StudyLike,
    store: Store | str | os.PathLike[str] | None = None,
    *,
    limits: Limits | None = None,
    retry: bool = False,
    again: bool = False,
    watcher: Watcher | None = None,
) -> pd.DataFrame:
    """Make and measure what is missing of a study (a ``Study`` or its TOML file), and give its
    results. ``store``: a folder, by default ``$DLAS_STORE`` or ``.dlas``. ``retry``: try again what
    failed before; ``again``: measure again what was measured; earlier numbers stay in the store.
    Killed or interrupted, the next call goes on where it stopped."""
    from dlas.study.run import run_study

    opened = _study(study)
    place = _store(store)
    run_study(opened, place, limits=limits, retry=retry, again=again, watcher=watcher or Watcher())
    return results(opened.name, place)


def results(study: StudyLike, store: Store | str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """The results of a study (a ``Study``, its TOML file or its name): one row per stack, the
    columns of ``dlas.store.schema.RESULTS``. See ``study_results``."""
    return study_results(study, store).frame


def study_results(
    study: StudyLike, store: Store | str | os.PathLike[str] | None = None
) -> StudyResults:
    """The results of a study with its raw samples: of a ``Study``, its TOML file or its name from
    the store, else from the results that lie beside the TOML file (``NAME.parquet``); or of such a
    file itself. StoreError where there are none."""
    from dlas.store.archive import ENDING, open_archive, read_results

    text = study.path if isinstance(study, Study) else os.fspath(study)
    if text.endswith(ENDING):
        return open_archive(Path(text))
    place, name = _store(store), study_name(study)
    beside = Path(text).with_suffix(ENDING) if text.endswith(".toml") else None
    if beside is not None and beside.exists() and not _was_measured(place, name):
        return open_archive(beside)
    return read_results(place.results, name)


def save_results(
    study: StudyLike, path: Path | str, store: Store | str | os.PathLike[str] | None = None
) -> Path:
    """Write a study's results with their samples and circumstances as one Parquet file, which
    ``study_results`` and every command that takes a study read again."""
    from dlas.store.archive import save_archive

    place = _store(store)
    found = study_results(study, place)
    facts = msgspec.to_builtins(study_info(found, place))
    nested = {name: facts.pop(name) for name in _BY_STACK}
    save_archive(replace(found, nested=nested, circumstances=facts), Path(path))
    return Path(path)


def export_results(
    study: StudyLike, path: Path | str, store: Store | str | os.PathLike[str] | None = None
) -> Path:
    """Write a study's results as ``save_results`` does, or to a .csv file without samples."""
    if Path(path).suffix != ".csv":
        return save_results(study, path, store)
    results(study, store).to_csv(path, index=False)
    return Path(path)


def study_info(found: StudyResults, store: Store) -> ReportInfo:
    """What is known of a study beside its results."""
    from dlas.report.gather import gather_info
    from dlas.report.info import ReportInfo

    if not found.circumstances:
        return gather_info(store, found.study)
    return msgspec.convert({**found.circumstances, **found.nested}, ReportInfo)


def write_report(
    study: StudyLike,
    store: Store | str | os.PathLike[str] | None = None,
    path: Path | str | None = None,
) -> Path:
    """Write a study's page, by default into the store; where it lies."""
    from dlas.report import page

    place = _store(store)
    found = study_results(study, place)
    target = Path(path) if path else place.report(found.study)
    return page.write_report(
        found.frame, study_info(found, place), target, found.samples, found.rounds
    )


def write_figures(
    study: StudyLike,
    folder: Path | str,
    store: Store | str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Write the charts of a study's report as SVG and PDF files into a folder; where they lie."""
    from dlas.analysis.interactions import understand
    from dlas.report import figures

    found = study_results(study, store)
    understood = understand(found.frame, found.rounds)
    return figures.write_figures(found.frame, understood, Path(folder))


def study_name(study: StudyLike) -> str:
    """The name under which a study's results are kept."""
    if isinstance(study, Study):
        return study.name
    text = os.fspath(study)
    return Study.open(text).name if text.endswith(".toml") else text


def _was_measured(store: Store, study: str) -> bool:
    if study not in store.results.studies():
        return False
    keys = [member["key"] for member in store.results.members(study)]
    return bool(store.results.observed(keys))


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
