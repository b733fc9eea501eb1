"""One self-contained HTML page per study: no network, no files beside it, nothing to install.

Drawn by a few hundred lines of our own script rather than a chart library: the page stays small,
and every mark can be reached by keyboard and carries its whole stack.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from contextlib import suppress
from dataclasses import asdict
from importlib.resources import files
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from dlas.analysis.claims import judge, published
from dlas.analysis.interactions import understand
from dlas.analysis.speedup import by_optimization, promised_and_measured
from dlas.errors import StoreError
from dlas.report.chosen import choice_tables
from dlas.report.compact import Samples
from dlas.report.evidence import Rows
from dlas.report.headline import headline
from dlas.report.info import ReportInfo
from dlas.report.payload import payload, rounded, script_json
from dlas.report.precisions import precision_tables
from dlas.report.quantities import count, number, scaled, times
from dlas.report.rows import (
    STATUS_WORDS,
    absences,
    engine,
    machines,
    measured,
    name,
    ready,
    tasks,
)  # fmt: skip
from dlas.report.understanding import TO_FRONT, maps, percent, to_front, understanding
from dlas.report.verdicts import SIGNS, verdict_counts, verdict_groups
from dlas.store.schema import RESULTS

#: The page's parts, in ``parts/``; later ones use, or restyle, what earlier ones made.
STYLES = (
    "page.css", "answer.css", "charts.css", "tables.css", "understanding.css", "stack.css",
    "narrow.css",
)  # fmt: skip
SCRIPTS = (
    "study.js", "evidence.js", "filter.js", "scatter.js", "matrix.js", "table.js",
    "interactions.js", "histogram.js", "profile.js", "diff.js", "stack.js", "page.js", "claims.js",
    "export.js",
)  # fmt: skip
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def write_report(
    frame: pd.DataFrame,
    info: ReportInfo,
    path: Path,
    samples: Samples | None = None,
    rounds: Samples | None = None,
) -> Path:
    """Write the page of a results frame (the columns of ``store.schema.RESULTS``) to ``path``.
    By the stacks' keys, ``samples``: seconds of every run, ``rounds``: the median of each round.

    Raises StoreError where it cannot be written; an older page then stays as it was."""
    text = render(frame, info, samples, rounds)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):  # the folder itself may be what cannot be reached
            aside.unlink(missing_ok=True)
        raise StoreError(f"{path}: the report cannot be written: {error.strerror}") from error
    return path


def render(
    frame: pd.DataFrame,
    info: ReportInfo,
    samples: Samples | None = None,
    rounds: Samples | None = None,
) -> str:
    """The page as text. Jinja escapes every name that came from a user."""
    import jinja2

    stacks = ready(frame)
    rows = Rows(stacks)
    found = understand(frame, rounds)
    verdicts = judge(published(), frame, rounds)
    charted = maps(found)
    data = payload(stacks, info, samples) | {"study": info.study, "maps": charted}
    data["numbers"]["to_front"] = rounded(to_front(found, stacks))
    data["quantities"]["to_front"] = asdict(TO_FRONT)
    script = "\n".join(_part(part) for part in SCRIPTS)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": number, "scaled": scaled, "times": times, "percent": percent
    }  # fmt: skip
    environment.globals |= {"count": count}
    return environment.get_template("page.jinja").render(
        info=info,
        style="".join(_part(part) for part in STYLES),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=script_json(data),
        machines=[machine for machine in machines(stacks) if machine],
        understanding=understanding(found, stacks, rows),
        maps=charted,
        verdicts=verdict_groups(verdicts, rows),
        verdict_counts=verdict_counts(verdicts),
        verdict_signs=SIGNS,
        headlines=_headlines(stacks),
        tally=_tally(stacks),
        promises=_promises(stacks),
        precisions=precision_tables(stacks),
        chosen=choice_tables(stacks, info.choices),
        absences=absences(stacks),
        doubts=_doubts(stacks),
        has_energy=bool(stacks["energy_j"].notna().any()),
        columns=RESULTS,
    )


def _part(file: str) -> str:
    return (files("dlas.report") / "parts" / file).read_text(encoding="utf-8")


def _headlines(stacks: pd.DataFrame) -> list[tuple[str, Any]]:
    """(task, its headline); an empty study has one without a name."""
    if stacks.empty:
        return [("", headline(stacks))]
    return [(task, headline(group)) for task, group in tasks(stacks)]


def _tally(stacks: pd.DataFrame) -> list[tuple[str, int]]:
    found = stacks["status"].value_counts()
    return [(STATUS_WORDS.get(str(s), str(s)), int(n)) for s, n in found.items()]


def _promises(stacks: pd.DataFrame) -> list[dict[str, Any]]:
    """Per task a table: rows of optimizations × columns of engines, cells of ``by_optimization``
    with the numbers of the notes that explain them."""
    tables = []
    for task, group in tasks(stacks):
        found = by_optimization(promised_and_measured(group))
        if len(found):
            engines = dict.fromkeys(zip(group["algorithm"], group["system"], strict=True))
            rows = found.to_dict("records")
            notes = list(dict.fromkeys(s for r in rows for s in (*r["why"], *r["emulated"])))
            for r in rows:
                r["notes"] = [notes.index(s) + 1 for s in (*r["why"], *r["emulated"])]
            tables.append(
                {
                    "task": task,
                    "optimizations": list(dict.fromkeys(found["optimizations"])),
                    "engines": {pair: engine(pair[1], pair[0]) for pair in engines},
                    "cells": {(r["optimizations"], r["algorithm"], r["system"]): r for r in rows},
                    "notes": notes,
                }
            )
    return tables


def _doubts(stacks: pd.DataFrame) -> list[tuple[str, list[tuple[str, str]]]]:
    """(warning, (stack, warning) of all it was given for) of the doubtful measurements. Warnings
    that differ in numbers alone are one, with the least and the most of each."""
    alike: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for _, row in measured(stacks).iterrows():
        for warning in filter(None, row["warnings"].split("; ")):
            alike.setdefault(tuple(_NUMBER.split(warning)), []).append((name(row), warning))
    found = []
    for words, given in alike.items():
        numbers = zip(*(_NUMBER.findall(warning) for _, warning in given), strict=True)
        ends = [(min(each, key=float), max(each, key=float)) for each in numbers]
        spans = [low if low == high else f"{low}–{high}" for low, high in ends]
        told = "".join(chain.from_iterable(zip_longest(words, spans, fillvalue="")))
        found.append((told, given))
    return found
