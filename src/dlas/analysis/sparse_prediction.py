"""What zeros would bring to a network, by estimate, before anything is pruned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dlas.algorithms.formats import weight_format
from dlas.algorithms.sparse.cost import Machine
from dlas.analysis.sparse_cost import PlanCost, plan_cost
from dlas.errors import InputError, Refused
from dlas.layer import member
from dlas.network import Network
from dlas.optimizations.magnitude import magnitude_masks, zeroed
from dlas.plan import DENSE
from dlas.spec import parse_member


@dataclass(frozen=True)
class Predicted:
    """``level``: the share of zeros in every layer, those of least magnitude."""

    level: float
    cost: PlanCost


def predicted(
    network: Network, algorithm: str, name: str, levels: Sequence[float], machine: Machine
) -> Iterator[Predicted]:
    """Without more zeros than there are, then level by level, by this algorithm in the format
    ``name``. InputError and Refused for what has no such form."""
    if weight_format(name, "--format").kind not in ("csr", "bsr"):
        raise InputError(f"--format {name} skips no single weights; there are csr and bsr_RxC")
    dense, sparse = (_algorithm(algorithm, format) for format in (DENSE, name))
    if network.dtype != "float32":
        raise Refused(f"sparse formats store float32 weights, and this network is {network.dtype}")
    plain = dense.plan(network)
    yield Predicted(0.0, plan_cost(network, plain, plain, machine))
    for level in levels:
        masks = magnitude_masks(network, level, "layer", weight_format(name).block)
        pruned = zeroed(network, masks)
        cost = plan_cost(pruned, sparse.plan(pruned), dense.plan(pruned), machine)
        yield Predicted(level, cost)


def write_costs(found: Sequence[Predicted], slot_s: float, path: Path) -> None:
    """``{layer: {share of zeros: seconds}}``, as ``weight_pruning`` reads it (``costs``).
    InputError where the file cannot be written."""
    layers: dict[str, dict[str, float]] = {}
    for one in found:
        for layer in one.cost.layers:
            layers.setdefault(layer.row.name, {})[f"{one.level:g}"] = slot_s * layer.total
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(layers), indent=1) + b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def _algorithm(name: str, format: str) -> Any:
    if "format" not in member("algorithms", name, "--primitive").__struct_fields__:
        raise InputError(f"--primitive {name} has no sparse form; cheapest chooses among all")
    return parse_member("algorithms", {"name": name, "format": format}, "--primitive")
