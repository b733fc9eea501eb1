"""What ``dlas bench tuning`` leaves."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class LayerRow(msgspec.Struct, frozen=True, tag="layer", tag_field="row"):
    """A distinct kernel of ``networks``. ``candidates``: how many there are; ``tried``: of these
    measured; ``best_s``: the shortest time of all, auto's among them. ``quality``: by method and
    number of measured candidates, ``best_s`` / the best time by then, in [0, 1]. ``wall_s``: of
    building and timing one candidate."""

    layer: str
    networks: tuple[str, ...]
    candidates: int
    tried: int
    best_s: float
    quality: dict[str, dict[int, float]]
    wall_s: float


class AutoRow(msgspec.Struct, frozen=True, tag="auto", tag_field="row"):
    """MetaSchedule on one of the layers: ``seconds`` of a call, of its best of ``trials``
    candidates, timed beside the best of ours (``template_s``); ``wall_s``: of the search.
    ``reached_s``: seconds until ours were as fast, by the method "transfer" and its measured
    candidates; None where they never were."""

    layer: str
    trials: int
    seconds: float | None
    template_s: float
    wall_s: float
    reached_s: float | None
    notes: tuple[str, ...]


class NetworkRow(msgspec.Struct, frozen=True, tag="network", tag_field="row"):
    """A network by one algorithm. ``median_s`` of an inference, and ``predicted_s`` from the
    records of its kernels. ``over_best``: time / that of ``best``, round by round. ``tuning_s``,
    ``measured``: of measuring candidates, and how many, with the records of the other networks to
    begin with; ``compile_s``: of all. Later rows of a network know what earlier ones measured."""

    network: str
    algorithm: str
    median_s: float
    ci95_s: tuple[float | None, float | None]
    predicted_s: float | None
    over_best: float | None
    tuning_s: float
    measured: int
    compile_s: float


class FaultRow(msgspec.Struct, frozen=True, tag="fault", tag_field="row"):
    """Why there is no row of numbers."""

    case: str
    error: str


TuningRow = LayerRow | AutoRow | NetworkRow | FaultRow


def prediction_error(row: NetworkRow) -> float | None:
    """|predicted - measured| / measured."""
    if row.predicted_s is None:
        return None
    return abs(row.predicted_s - row.median_s) / row.median_s


def singles(rows: Sequence[NetworkRow], network: str) -> list[NetworkRow]:
    """Of a network, computed by one algorithm throughout."""
    return [row for row in rows if row.network == network and row.algorithm in SINGLE]


#: Algorithms that compute every layer alike, as far as they apply; the paper's come first.
SINGLE = ("direct", "gemm", "spatial_pack", "winograd", "winograd4")
OF_THE_PAPER = SINGLE[:3]
