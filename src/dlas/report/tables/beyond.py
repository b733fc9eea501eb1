"""What the paper left for later: the first run, memory, several images at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dlas.analysis.speedup import NONE
from dlas.report.quantities import ABSENT, QUANTITIES, number, times
from dlas.report.rows import at, measured
from dlas.report.tables.stacks import by_system, stacks_of
from dlas.report.tables.table import Table
from dlas.store.archive import StudyResults


def first_runs(found: Sequence[StudyResults], threads: str = "1") -> Table:
    """Of every uncompressed network and system, its fastest stack: milliseconds of the first run
    after loading, and how many times the median run that is."""
    frame = measured(stacks_of(found, threads))

    def first_run(own: pd.DataFrame) -> str:
        if own.empty:
            return ABSENT
        best = at(own, own["latency_s"].idxmin())
        first = QUANTITIES["first_run_s"].number(best["first_run_s"])
        return f"{first} ({times(best['first_run_s'] / best['latency_s'])})"

    systems, rows = by_system(frame[frame["compression"] == NONE], ["network"], first_run)
    return Table(["Network", *(f"{system}, ms" for system in systems)], rows)


def memory(found: Sequence[StudyResults], threads: str = "1") -> Table:
    """Megabytes that the timing process held at most: the least of each system's stacks, by network
    and compression."""
    frame = measured(stacks_of(found, threads))
    systems, rows = by_system(
        frame,
        ["network", "compression"],
        lambda own: QUANTITIES["peak_bytes"].number(own["peak_bytes"].min()),
    )
    return Table(["Network", "Compression", *(f"{s}, MB" for s in systems)], rows, texts=2)


def batches(found: Sequence[StudyResults], threads: str = "1") -> Table:
    """Of every network, compression and system, its fastest stack at each batch: milliseconds per
    image, and how many times the images per second of batch 1 that is."""
    frame = measured(stacks_of(found, threads, batch=None))
    sizes = sorted(frame["batch"].unique())
    rows = []
    same = ["network", "compression", "software"]
    for names, group in frame.groupby(same, sort=False):
        row, alone = [str(name) for name in names], None
        for size in sizes:
            least_s = group[group["batch"] == size]["latency_s"].min() / size
            row.append(ABSENT if pd.isna(least_s) else _per_image(least_s, alone))
            alone = least_s if size == 1 else alone
        rows.append(row)
    headings = [f"batch {size:.0f}, ms per image" for size in sizes]
    return Table(["Network", "Compression", "System", *headings], rows, texts=3)


def _per_image(latency_s: float, alone_s: float | None) -> str:
    text = number(1e3 * latency_s)
    return f"{text} ({times(alone_s / latency_s)})" if alone_s else text
