"""What compression costs in accuracy, what it saves in bytes, and what tuning costs in time."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dlas.analysis.speedup import NONE
from dlas.report.quantities import ABSENT, QUANTITIES, number
from dlas.report.rows import measured
from dlas.report.tables.stacks import stacks_of
from dlas.report.tables.table import Table
from dlas.store.archive import StudyResults


def accuracy(found: Sequence[StudyResults]) -> Table:
    """Top-1 of every network and compression as executed: the least and the most of all its
    stacks, and what is lost against the uncompressed network."""
    frame = stacks_of(found)
    shown = QUANTITIES["accuracy"]
    rows = []
    for (network, compression), group in frame.groupby(["network", "compression"], sort=False):
        known = group["accuracy"].dropna()
        before = group["baseline_accuracy"].dropna()
        if known.empty:
            continue
        low, high = shown.number(known.min()), shown.number(known.max())
        lost = ABSENT
        if compression != NONE and len(before):
            lost = f"{100 * (before.iloc[0] - known.median()):+.1f}"
        rows.append([str(network), str(compression), low, high, lost])
    absent = [str(n) for n, g in frame.groupby("network", sort=False) if g["accuracy"].isna().all()]
    note = f"No accuracy, since their weights are random: {', '.join(absent)}." if absent else ""
    headings = ["Network", "Compression", "Least, %", "Most, %", "Points lost, median"]
    return Table(headings, rows, texts=2, notes=[note])


def sizes(found: Sequence[StudyResults]) -> Table:
    """Multiply-adds, weights and bytes of every network and compression; the least memory that any
    system's process took."""
    frame = stacks_of(found)
    rows = []
    for (network, compression), group in frame.groupby(["network", "compression"], sort=False):
        cells = []
        for column in ("macs", "effective_macs", "nonzeros", "sparse_bytes", "peak_bytes"):
            least = group[column].min()
            factor = 1e-6
            cells.append(number(least * factor) if pd.notna(least) else ABSENT)
        rows.append([str(network), str(compression), *cells])
    headings = ["MACs, M", "Effective, M", "Weights not zero, M", "Weights, MB", "Least memory, MB"]
    return Table(["Network", "Compression", *headings], rows, texts=2)


def tuning(found: Sequence[StudyResults], threads: str = "1") -> Table:
    """Of every uncompressed network by tuning: seconds of compiling, the median of its stacks, and
    how much faster the fastest of them is than the fastest untuned one."""
    frame = measured(stacks_of(found, threads))
    frame = frame[(frame["software"] == "tvm") & (frame["compression"] == NONE)]
    kinds = [t for t in ("untuned", "template", "auto") if (frame["tuning"] == t).any()]
    rows = []
    for network, group in frame.groupby("network", sort=False):
        row = [str(network)]
        base = group[group["tuning"] == "untuned"]["latency_s"].min()
        for kind in kinds:
            own = group[group["tuning"] == kind]
            taken_s = own["compile_s"].dropna()
            row.append(number(taken_s.median()) if len(taken_s) else ABSENT)
            least = own["latency_s"].min()
            row.append(f"{number(base / least)}×" if pd.notna(base / least) else ABSENT)
        rows.append(row)
    headings = [text for kind in kinds for text in (f"{kind}: compiling, s", f"{kind}: speedup")]
    note = "Kernels that were tuned before are not tuned again; searches that gave up are left out."
    return Table(["Network", *headings], rows, notes=[note])
