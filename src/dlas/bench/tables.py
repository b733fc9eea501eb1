"""A benchmark in the terminal: a row per case and contender, and means over the cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from dlas.bench.rows import Fault, PrecisionRow, Row, SparseRow, geometric_mean, means
from dlas.measure.conditions import Flag
from dlas.measure.statistics import Estimate
from dlas.plan import DENSE

ABSENT = "–"
_SHORT = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def case_table(rows: Sequence[Row | Fault]) -> Table:
    """Every row, the fastest contender of a case first; of one that failed how it ended."""
    table = _table("medians, 95 % intervals", "case, contender")
    columns = next((_COLUMNS[type(row)] for row in rows if isinstance(row, Row)), _DENSE)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for case in dict.fromkeys(row.case for row in rows):
        table.add_section()
        table.add_row(Text(case, style="bold"))
        for row in sorted((row for row in rows if row.case == case), key=_speed):
            table.add_row(*map(Text, _cells(row, columns)))
    return table


def fault_lines(rows: Sequence[Row | Fault]) -> list[str]:
    """A sentence for each row without numbers."""
    faults = (row for row in rows if isinstance(row, Fault))
    return [f"{fault.case} · {fault.contender} {fault.error}" for fault in faults]


def _speed(row: Row | Fault) -> tuple[bool, float]:
    return (False, row.median_s) if isinstance(row, Row) else (True, 0.0)


def _cells(row: Row | Fault, columns: _Columns) -> list[str]:
    if isinstance(row, Fault):
        return [
            f"  {_name(row)}",
            _SHORT.get(row.precision, row.precision),
            row.error.partition(":")[0],
        ]
    return [
        f"  {_name(row)}",
        _SHORT.get(row.precision, row.precision),
        *(cell(row) for cell in columns.values()),
    ]


def _name(row: Row | Fault) -> str:
    """Without the precision, which stands beside it."""
    return row.contender.removesuffix(f"-{row.precision}")


def mean_table(rows: Sequence[Row | Fault]) -> Table:
    """Geometric means by contender, the fastest first."""
    cases = len({row.case for row in rows})
    table = _table("geometric means", "contender")
    for heading in ("cases", "of peak", "× peer", "worst"):
        table.add_column(heading, justify="right", no_wrap=True)
    for mean in sorted(means(rows), key=lambda mean: (mean.ratio is None, mean.ratio or 0.0)):
        numbers = (_share(mean.share_of_peak), _ratio(mean.ratio), _ratio(mean.worst))
        kind = _SHORT.get(mean.precision, mean.precision)
        table.add_row(mean.contender, kind, f"{mean.cases} of {cases}", *numbers)
    return table


def speedup_table(rows: Sequence[Row | Fault]) -> Table:
    """Geometric means of the speedups over the cases of a level, by contender."""
    groups: dict[tuple[str, str], list[SparseRow]] = {}
    for row in rows:
        if isinstance(row, SparseRow) and row.format != DENSE:
            groups.setdefault((row.contender, f"{row.zeros:.0%}"), []).append(row)
    table = _table("geometric means", "contender")
    for heading in ("zeros", "cases", "expected", "measured", "× peer"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (contender, zeros), group in groups.items():
        speedups = [row.measured_speedup for row in group if row.measured_speedup is not None]
        ratios = [row.ratio_to_best_peer for row in group if row.ratio_to_best_peer is not None]
        expected = geometric_mean([row.expected_speedup for row in group])
        numbers = map(_times, (expected, geometric_mean(speedups)))
        table.add_row(
            contender, "f32", zeros, str(len(group)), *numbers, _ratio(geometric_mean(ratios))
        )
    return table


def precision_table(rows: Sequence[Row | Fault]) -> Table:
    """Geometric means by precision and contender: time / the best peer's in the same precision
    with the worst case, / the best peer's in any, and the speedup over float32 (each contender's
    over that of its own system)."""
    table = _table("geometric means", "contender")
    for heading in ("cases", "of peak", "× peer", "worst", "× any", "over f32"):
        table.add_column(heading, justify="right", no_wrap=True)
    found = [row for row in rows if isinstance(row, PrecisionRow)]
    for precision in dict.fromkeys(row.precision for row in found):
        table.add_section()
        groups: dict[str, list[PrecisionRow]] = {}
        for row in found:
            if row.precision == precision:
                groups.setdefault(row.contender, []).append(row)
        for group in groups.values():
            peer = [row.ratio_to_best_peer for row in group]
            numbers = (
                str(len(group)),
                _share(_mean([row.share_of_peak for row in group])),
                _ratio(_mean(peer)),
                _ratio(max(filter(None, peer), default=None)),
                _ratio(_mean([row.ratio_to_any_peer for row in group])),
                _times(_mean([row.speedup_over_float32 for row in group])),
            )
            table.add_row(_name(group[0]), _SHORT.get(precision, precision), *numbers)
    return table


def _mean(values: Sequence[float | None]) -> float | None:
    return geometric_mean([value for value in values if value is not None])


def emulated_lines(rows: Sequence[Row | Fault]) -> list[str]:
    """A sentence for each contender that computes in a wider type than it is given."""
    said = {
        row.contender: row.emulated
        for row in rows
        if isinstance(row, PrecisionRow) and row.emulated
    }
    return [f"{contender}: {sentence}" for contender, sentence in said.items()]


def _table(title: str, first: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column(first, overflow="fold")
    table.add_column("type", no_wrap=True)
    return table


def doubt_lines(doubts: Iterable[Flag], measurements: int) -> list[str]:
    """A sentence for each kind of doubt, with how many measurements it is about."""
    kinds: dict[str, list[Flag]] = {}
    for flag in doubts:
        kinds.setdefault(flag.kind, []).append(flag)
    return [
        f"{len(flags)} of {measurements} measurements are doubtful: {flags[0].sentence}"
        + (" (the first of them)" if len(flags) > 1 else "")
        for flags in kinds.values()
    ]


def _half_width(row: Row) -> str:
    return (
        _share(width)
        if isfinite(width := Estimate(row.median_s, *row.ci95_s).half_width)
        else ABSENT
    )


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1%}"


def _ratio(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}"


def _times(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}×"


def _sparse(cell: Callable[[SparseRow], str]) -> Callable[[Row], str]:
    return lambda row: cell(row) if isinstance(row, SparseRow) else ABSENT


def _precise(cell: Callable[[PrecisionRow], str]) -> Callable[[Row], str]:
    return lambda row: cell(row) if isinstance(row, PrecisionRow) else ABSENT


_Columns = Mapping[str, Callable[[Row], str]]
_TIME: _Columns = {"ms": lambda row: f"{1e3 * row.median_s:.4g}", "±": _half_width}
_PEER: _Columns = {"× peer": lambda row: _ratio(row.ratio_to_best_peer)}
_DENSE: _Columns = {
    **_TIME,
    "GFLOP/s": lambda row: f"{row.gflops:.1f}",
    "of peak": lambda row: _share(row.share_of_peak),
    **_PEER,
}
_SPARSE: _Columns = {
    **_TIME,
    **_PEER,
    "expected": _sparse(lambda row: _times(row.expected_speedup)),
    "measured": _sparse(lambda row: _times(row.measured_speedup)),
}
_PRECISION: _Columns = {
    **_TIME,
    "of peak": lambda row: _share(row.share_of_peak),
    **_PEER,
    "over f32": _precise(lambda row: _times(row.speedup_over_float32)),
}
_COLUMNS = {Row: _DENSE, SparseRow: _SPARSE, PrecisionRow: _PRECISION}
