"""What a benchmark leaves: rows of plain numbers, one per case and contender."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from dlas.errors import InputError
from dlas.hardware.probe import Probe
from dlas.measure.statistics import Estimate, paired_ratio
from dlas.plan import DENSE

#: The kind of arithmetic whose measured ceiling a precision is judged by.
CEILINGS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8"}


class Row(msgspec.Struct, frozen=True):
    """Seconds of one inference of a network, or of one layer. ``gflops`` counts two per
    multiply-accumulate, in 10⁹ per second; ``share_of_peak`` is its share of what this machine
    was measured to do at most in that precision. ``ratio_to_best_peer``: time / that of the
    fastest peer in the same precision, round by round, the median of the rounds: not the ratio of
    the medians, which falls apart where others disturb some rounds. None where there is nothing
    to judge by."""

    case: str
    contender: str
    precision: str
    median_s: float
    ci95_s: tuple[float | None, float | None]
    gflops: float
    share_of_peak: float | None
    ratio_to_best_peer: float | None


class SparseRow(Row, frozen=True):
    """The same of a network with zeros: their share of the weights, in [0, 1], and the ``format``
    that the contender stores weights in. ``expected_speedup``: multiply-accumulates, those with
    zeros among them, over those without. ``measured_speedup``: the time of our fastest dense
    contender / this one's, round by round; None where there is no such. Zeros count in ``gflops``
    too, so ``share_of_peak`` may be above 1."""

    zeros: float
    format: str
    expected_speedup: float
    measured_speedup: float | None


class PrecisionRow(Row, frozen=True):
    """The same of a network in several precisions. ``ratio_to_any_peer``: time / that of the
    fastest peer in whichever precision. ``speedup_over_float32``: the time of the same system's
    fastest contender in float32 without Winograd / this one's; None where there is no such. Both
    round by round. ``emulated`` says how it computes in a wider type than it is given."""

    ratio_to_any_peer: float | None
    speedup_over_float32: float | None
    emulated: str


class Fault(msgspec.Struct, frozen=True):
    """Why there is no row of numbers."""

    case: str
    contender: str
    precision: str
    error: str


class Timed(NamedTuple):
    """A contender's latency for a whole case: of all samples, and the median of every round.
    Rounds of one ``group`` were taken side by side. ``winograd``: its algorithm may be Winograd's;
    ``emulated``: how it computes in a wider type than ``precision``."""

    contender: str
    is_peer: bool
    precision: str
    latency_s: Estimate
    rounds_s: Sequence[float]
    group: str
    format: str = DENSE
    system: str = ""
    winograd: bool = False
    emulated: str = ""


class Mean(NamedTuple):
    """Geometric means of a contender over the ``cases`` it finished; ``worst`` is its largest
    ratio. None where no case has the figure."""

    contender: str
    precision: str
    cases: int
    ratio: float | None
    worst: float | None
    share_of_peak: float | None


def rows_of(
    case: str,
    macs: float,
    timed: Sequence[Timed],
    peaks: Mapping[str, float],
    copies: int = 1,
) -> list[Row]:
    """``macs`` and the reported times are those of one of the ``copies``; ``peaks``: operations
    per second by precision."""
    rows = []
    for one in timed:
        median_s, low, high = (None if s is None else s / copies for s in one.latency_s)
        assert median_s is not None
        flops, peak = 2 * macs / median_s, peaks.get(one.precision)
        rival = _best_peer(one.precision, timed)
        rows.append(
            Row(
                case=case,
                contender=one.contender,
                precision=one.precision,
                median_s=median_s,
                ci95_s=(low, high),
                gflops=flops / 1e9,
                share_of_peak=flops / peak if peak else None,
                ratio_to_best_peer=_ratio(one, rival) if rival else None,
            )
        )
    return rows


def sparse_rows_of(
    rows: Sequence[Row], timed: Sequence[Timed], zeros: float, expected_speedup: float
) -> list[SparseRow]:
    """The rows, one for each timed, of a network with such a share of zeros."""
    dense = _fastest([one for one in timed if not one.is_peer and one.format == DENSE])
    return [
        SparseRow(
            **msgspec.structs.asdict(row),
            zeros=zeros,
            format=one.format,
            expected_speedup=expected_speedup,
            measured_speedup=_ratio(dense, one) if dense else None,
        )
        for row, one in zip(rows, timed, strict=True)
    ]


def precision_rows_of(rows: Sequence[Row], timed: Sequence[Timed]) -> list[PrecisionRow]:
    """The rows, one for each timed, of a network in several precisions."""
    rival = _fastest([one for one in timed if one.is_peer])
    found = []
    for row, one in zip(rows, timed, strict=True):
        base = _fastest([other for other in _unreduced(timed) if other.system == one.system])
        found.append(
            PrecisionRow(
                **msgspec.structs.asdict(row),
                ratio_to_any_peer=_ratio(one, rival) if rival else None,
                speedup_over_float32=_ratio(base, one) if base else None,
                emulated=one.emulated,
            )
        )
    return found


def _unreduced(timed: Sequence[Timed]) -> list[Timed]:
    return [one for one in timed if one.precision == "float32" and not one.winograd]


def _best_peer(precision: str, timed: Sequence[Timed]) -> Timed | None:
    """The fastest of the peers in this precision."""
    return _fastest([one for one in timed if one.is_peer and one.precision == precision])


def _fastest(several: Sequence[Timed]) -> Timed | None:
    """Each compared with the first."""
    return min(several, key=lambda one: _ratio(one, several[0]), default=None)


def _ratio(one: Timed, other: Timed) -> float:
    """By the rounds that both ran; by the medians where they were not timed side by side."""
    rounds = min(len(one.rounds_s), len(other.rounds_s))
    if one.group != other.group:
        return one.latency_s.value / other.latency_s.value
    return paired_ratio(one.rounds_s[:rounds], other.rounds_s[:rounds]).value


def peaks_of(probe: Probe | None, threads: int) -> dict[str, float]:
    """Operations per second by precision that so many threads can do at most, as measured. None
    for several threads where all cores did less than one: others had them meanwhile."""
    if probe is None:
        return {}
    found = {}
    for precision, kind in CEILINGS.items():
        ceiling = probe.arithmetic.get(kind)
        if ceiling:
            one, every = ceiling.one_core.best, ceiling.all_cores.best
            if threads == 1 or every >= one:
                found[precision] = one if threads == 1 else min(threads * one, every)
    return found


def means(rows: Iterable[Row | Fault]) -> list[Mean]:
    """One per contender and precision, in their order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if isinstance(row, Row):
            groups.setdefault((row.contender, row.precision), []).append(row)
    found = []
    for (contender, precision), group in groups.items():
        ratios = [r.ratio_to_best_peer for r in group if r.ratio_to_best_peer is not None]
        shares = [r.share_of_peak for r in group if r.share_of_peak is not None]
        worst = max(ratios, default=None)
        ratio, share = geometric_mean(ratios), geometric_mean(shares)
        found.append(Mean(contender, precision, len(group), ratio, worst, share))
    return found


def geometric_mean(values: Sequence[float]) -> float | None:
    """None for no values; all must be positive."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else None


def write_rows(rows: Sequence[msgspec.Struct], path: Path) -> None:
    """The rows as a JSON list, written aside and renamed, so that the file is always whole.
    InputError where it cannot be written."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    lines = b",\n".join(b"  " + msgspec.json.encode(row) for row in rows)
    try:
        scratch.write_bytes(b"[\n" + lines + b"\n]\n")
        scratch.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
