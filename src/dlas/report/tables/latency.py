"""Latencies and speedups of a study, arranged as papers arrange them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dlas.analysis.speedup import NONE, promised_and_measured
from dlas.report.quantities import ABSENT, QUANTITIES, number, times
from dlas.report.rows import at, measured, word
from dlas.report.tables.stacks import by_system, stacks_of
from dlas.report.tables.table import Table
from dlas.store.archive import StudyResults

LATENCY = QUANTITIES["latency_s"]
_TUNINGS = ("untuned", "template", "auto")


def latency(found: Sequence[StudyResults], software: str = "tvm", threads: str = "1") -> Table:
    """Milliseconds: rows of network and compression, columns of primitive and tuning. The least of
    a row is bold; where the intervals of others touch its own, they are bold too."""
    frame = stacks_of(found, threads)
    frame = frame[frame["software"] == software]
    columns = [
        (primitive, tuning)
        for tuning in _TUNINGS
        for primitive in dict.fromkeys(frame["primitive"])
        if ((frame["primitive"] == primitive) & (frame["tuning"] == tuning)).any()
    ]
    rows = []
    for (network, compression), group in frame.groupby(["network", "compression"], sort=False):
        cells = [_cell(group, *column) for column in columns]
        rows.append([str(network), str(compression), *_bold(cells)])
    headings = [f"{primitive}, {tuning}" for primitive, tuning in columns]
    return Table(["Network", "Compression", *headings], rows, texts=2)


def _cell(group: pd.DataFrame, primitive: str, tuning: str) -> pd.Series | None:
    rows = group[(group["primitive"] == primitive) & (group["tuning"] == tuning)]
    if rows.empty:
        return None
    known = rows["latency_s"].notna().any()
    return at(rows, rows["latency_s"].idxmin() if known else rows.index[0])


def _bold(cells: Sequence[pd.Series | None]) -> list[str]:
    known = [c for c in cells if c is not None and pd.notna(c["latency_s"])]
    best = min(known, key=lambda cell: float(cell["latency_s"]), default=None)
    found = []
    for cell in cells:
        if cell is None:
            found.append(ABSENT)
        elif pd.isna(cell["latency_s"]):
            found.append(word(cell))
        else:
            text = LATENCY.number(cell["latency_s"])
            low, high = cell["latency_low_s"], best["latency_high_s"] if best is not None else 0.0
            first = best is not None and cell["key"] == best["key"]
            found.append(f"**{text}**" if first or low <= high else text)
    return found


def fastest(found: Sequence[StudyResults], threads: str = "1") -> Table:
    """Of each network and compression: our fastest stack, the fastest of each peer, and the ratio
    to the fastest peer's, with its interval's ends."""
    frame = measured(stacks_of(found, threads))
    peers = [name for name in dict.fromkeys(frame["software"]) if name != "tvm"]
    rows = []
    for (network, compression), group in frame.groupby(["network", "compression"], sort=False):
        ours = _least(group[group["software"] == "tvm"])
        theirs = [_least(group[group["software"] == peer]) for peer in peers]
        row = [str(network), str(compression)]
        row += [_shown(ours), f"{ours['primitive']}, {ours['tuning']}" if ours is not None else ""]
        row += [_shown(each) for each in theirs]
        known = [each for each in theirs if each is not None]
        if ours is not None and known:
            best = min(known, key=lambda each: float(each["latency_s"]))
            ratio = ours["latency_s"] / best["latency_s"]
            low = ours["latency_low_s"] / best["latency_high_s"]
            high = ours["latency_high_s"] / best["latency_low_s"]
            row.append(f"{ratio:.2f} ({low:.2f}–{high:.2f})")
        else:
            row.append(ABSENT)
        rows.append(row)
    headings = ["Network", "Compression", "tvm, ms", "by", *(f"{p}, ms" for p in peers)]
    return Table([*headings, "tvm / best peer"], rows, texts=2)


def _least(rows: pd.DataFrame) -> pd.Series | None:
    return None if rows.empty else at(rows, rows["latency_s"].idxmin())


def _shown(row: pd.Series | None) -> str:
    return ABSENT if row is None else LATENCY.number(row["latency_s"])


def threads(found: Sequence[StudyResults], compression: str = NONE) -> Table:
    """Of each network and system: one thread's latency over two threads', the fastest of each."""
    frame = measured(stacks_of(found))

    def gain(own: pd.DataFrame) -> str:
        one, two = (own[own["threads"] == n]["latency_s"].min() for n in (1, 2))
        return times(one / two) if pd.notna(one / two) else ABSENT

    systems, rows = by_system(frame[frame["compression"] == compression], ["network"], gain)
    return Table(["Network", *systems], rows)


def speedups(found: Sequence[StudyResults], threads: str = "1") -> Table:
    """Of each network and compression, in TVM: what was promised, what the fastest stack of each
    tuning gains over the fastest uncompressed one of that tuning, and what a stack gains in the
    median over the same one uncompressed."""
    frame = stacks_of(found, threads)
    frame = frame[frame["software"] == "tvm"]
    compared = promised_and_measured(frame)
    timed = measured(frame)
    rows = []
    for (network, compression), group in compared.join(
        frame[["network", "compression", "tuning"]]
    ).groupby(["network", "compression"], sort=False):
        if compression == NONE:
            continue
        row = [str(network), str(compression), _ratio(group["promised"].median())]
        of_network = timed[timed["network"] == network]
        for tuning in _TUNINGS:
            own = of_network[of_network["tuning"] == tuning]
            plain = own[own["compression"] == NONE]["latency_s"].min()
            small = own[own["compression"] == compression]["latency_s"].min()
            row.append(_ratio(plain / small))
            row.append(_ratio(group[group["tuning"] == tuning]["measured"].median()))
        rows.append(row)
    pairs = [f"{t}: {kind}" for t in _TUNINGS for kind in ("best", "median")]
    return Table(["Network", "Compression", "Promised", *pairs], rows, texts=2)


def _ratio(value: float) -> str:
    return f"{number(value)}×" if np.isfinite(value) else ABSENT
