"""Where the time of a stack goes, layer by layer: arithmetic's promise against the measurement.

A layer's promise is its share of the network's multiply-accumulates with a weight that is not zero,
each counted by the width of the layer's numbers: what its time would be, were time arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dlas.measure.protocol import LayerTime

#: Rows below this share, of both time and promise, are told together.
SMALL = 0.01
#: Between the names of layers that one kernel computes.
AND = " + "


class LayerShare(msgspec.Struct, frozen=True):
    """Of a convolution or dense layer: ``promised``, its share of the network's arithmetic, in
    [0, 1]."""

    layer: str
    op: str
    promised: float


@dataclass(frozen=True)
class ProfileRow:
    """A kernel or operator of one inference, or several that are told together. ``name``: the
    layers that it computes, else the system's own name; ``promised`` is None where it computes
    none, ``seconds`` and ``share`` where a layer was not seen."""

    name: str
    op: str
    kind: str  # layer | layout | other
    promised: float | None
    seconds: float | None
    share: float | None

    @property
    def ratio(self) -> float | None:
        """Its share of the time over its share of the arithmetic."""
        return self.share / self.promised if self.share is not None and self.promised else None


@dataclass(frozen=True)
class ProfileTable:
    """``rows`` in the order of computing; ``sum_s``: of their seconds; ``latency_s``: of a whole
    inference, measured without profiling; None where it is not known."""

    rows: tuple[ProfileRow, ...]
    sum_s: float
    latency_s: float | None = None

    def sentences(self) -> list[str]:
        """What the rows add up to, and how far the sum can be trusted."""
        said = []
        if self.latency_s:
            ratio = self.sum_s / self.latency_s
            rest = "the rest lies between operators, or went to other processes"
            why = rest if ratio < 1 else "profiling itself takes time"
            said.append(f"the profile's sum is {ratio:.2f} times the median latency: {why}")
        for kind, words in (("layout", "moving images into other layouts"), ("other", "all else")):
            seconds = math.fsum(row.seconds or 0.0 for row in self.rows if row.kind == kind)
            if seconds >= SMALL * self.sum_s > 0:
                said.append(f"{words} took {seconds / self.sum_s:.0%} of it")
        unseen = [row.name for row in self.rows if row.seconds is None]
        if unseen:
            said.append(f"not seen in the profile: {', '.join(unseen)}")
        return said


def promised_layers(network: Path | None) -> tuple[LayerShare, ...]:
    """The layers of the network in an artifact's folder; none where it is not there any more, or
    damaged. ``network``: of the last optimization, or of the model."""
    from dlas.network.layers import DTYPE_SPEEDUP, LayerRow
    from dlas.network.network import LAYERS_FILE

    if network is None:
        return ()
    try:
        data = (network / LAYERS_FILE).read_bytes()
        rows = msgspec.json.decode(data, type=list[LayerRow])
    except (OSError, msgspec.MsgspecError):
        return ()
    work = [row.effective_macs / DTYPE_SPEEDUP[row.dtype] for row in rows]
    total = math.fsum(work) or 1.0
    return tuple(
        LayerShare(row.name, row.op, each / total) for row, each in zip(rows, work, strict=True)
    )


def recorded_profile(record: Mapping[str, Any]) -> tuple[tuple[LayerTime, ...], str]:
    """The profile in a measurement's record, or why there is none."""
    found = msgspec.convert(record.get("profile", ()), tuple[LayerTime, ...])
    absent = record.get("profile_absent") or "it was measured before dlas took profiles"
    return found, "" if found else str(absent)


def profile_table(
    promised: Sequence[LayerShare], profile: Sequence[LayerTime], latency_s: float | None = None
) -> ProfileTable:
    """Both, joined by layer. What computes a layer in several steps is one row, at the place of the
    first; layers that were not seen come last."""
    layers = {layer.layer: layer for layer in promised}
    total = math.fsum(row.seconds for row in profile)
    steps: dict[tuple[str, ...], list[LayerTime]] = {}
    for index, time in enumerate(profile):
        steps.setdefault(time.layers or (str(index), time.name), []).append(time)
    rows = []
    for same in steps.values():
        first, seconds = same[0], math.fsum(time.seconds for time in same)
        known = [layers[name].promised for name in first.layers if name in layers]
        rows.append(
            ProfileRow(
                name=AND.join(first.layers) or first.name,
                op=AND.join(dict.fromkeys(time.op for time in same)),
                kind=first.kind,
                promised=math.fsum(known) if known else None,
                seconds=seconds,
                share=seconds / total if total else None,
            )
        )
    seen = {name for time in profile for name in time.layers}
    unseen = [layer for layer in promised if layer.layer not in seen]
    rows += [ProfileRow(each.layer, each.op, "layer", each.promised, None, None) for each in unseen]
    return ProfileTable(tuple(rows), total, latency_s)


def without_small(table: ProfileTable, small: float = SMALL) -> list[ProfileRow]:
    """The rows, with those of a kind that matter little as one at the end."""
    kept: list[ProfileRow] = []
    others: dict[str, list[ProfileRow]] = {}
    for row in table.rows:
        is_small = max(row.share or 0.0, row.promised or 0.0) < small
        (others.setdefault(row.kind, []) if is_small else kept).append(row)
    for kind, rows in others.items():
        kept += rows if len(rows) == 1 else [_together(kind, rows)]
    return kept


def _together(kind: str, rows: Sequence[ProfileRow]) -> ProfileRow:
    def total(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return math.fsum(known) if known else None

    words = {"layer": "layers", "layout": "changes of layout"}.get(kind, "other operators")
    return ProfileRow(
        name=f"{len(rows)} {words}",
        op="",
        kind=kind,
        promised=total([row.promised for row in rows]),
        seconds=total([row.seconds for row in rows]),
        share=total([row.share for row in rows]),
    )
