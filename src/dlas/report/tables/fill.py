"""Marks in a Markdown file, and the tables that stand between them."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Mapping

from dlas.errors import InputError
from dlas.layer import did_you_mean
from dlas.report.tables import beyond, costs, findings, latency, study
from dlas.report.tables.table import Table
from dlas.store.archive import StudyResults

#: Several studies, and options → a table. An option that a table does not know is an error.
Maker = Callable[..., Table]

TABLES: Mapping[str, Maker] = {
    "studies": study.studies,
    "holes": study.holes,
    "latency": latency.latency,
    "fastest": latency.fastest,
    "threads": latency.threads,
    "speedups": latency.speedups,
    "accuracy": costs.accuracy,
    "sizes": costs.sizes,
    "tuning": costs.tuning,
    "first_runs": beyond.first_runs,
    "memory": beyond.memory,
    "batches": beyond.batches,
    "verdicts": findings.verdicts,
    "effects": findings.effects,
    "flips": findings.flips,
}

_MARK = re.compile(
    r"^<!-- dlas: (?P<what>.*?) -->\n(?P<old>.*?)^<!-- /dlas -->$", re.MULTILINE | re.DOTALL
)


def fill(text: str, results: Callable[[str], StudyResults], place: str = "the text") -> str:
    """The text with every table made anew. ``results`` opens what a mark names: a study's file, or
    its name. InputError names the mark that cannot be followed."""

    def made(match: re.Match[str]) -> str:
        table = _table(match["what"], results, place)
        return f"<!-- dlas: {match['what']} -->\n{table.markdown()}\n<!-- /dlas -->"

    if text.count("<!-- dlas:") != len(_MARK.findall(text)):
        raise InputError(f"{place}: a mark <!-- dlas: … --> has no <!-- /dlas --> below it")
    return _MARK.sub(made, text)


def _table(what: str, results: Callable[[str], StudyResults], place: str) -> Table:
    try:
        name, *rest = shlex.split(what) or [""]
    except ValueError as error:  # a quote is open
        raise InputError(f"{place}: the mark {what}: {error}") from None
    if name not in TABLES:
        hint = did_you_mean(name, TABLES) or f"; there are {', '.join(TABLES)}"
        raise InputError(f"{place}: there is no table {name!r}{hint}")
    options = dict(word.split("=", 1) for word in rest if "=" in word)
    found = [results(word) for word in rest if "=" not in word]
    if not found:
        raise InputError(f"{place}: the table {name} names no study")
    try:
        inspect.signature(TABLES[name]).bind(found, **options)
    except TypeError as error:
        raise InputError(f"{place}: the table {name}: {error}") from None
    try:
        return TABLES[name](found, **options)
    except InputError as error:
        raise InputError(f"{place}: the table {name}: {error}") from None
