"""What layer 4 hands down: for each layer of a network, the primitive and the weight format."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError

if TYPE_CHECKING:
    from dlas.network import LayerRow, Network

FILE = "plan.json"

#: Formats of weights that are no sparse matrices.
DENSE, KEPT = "dense", "kept_channels"
#: Types of layers that may as well be computed in float32, from what their numbers stand for.
NARROW, WIDE = ("int8", "bfloat16"), "float32"


class Way(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to compute a layer: see ``Step``."""

    primitive: str
    format: str = DENSE
    precision: str = ""

    @property
    def name(self) -> str:
        """As people read it: "winograd4", "direct csr", "depthwise in float32"."""
        form = "" if self.format == DENSE else f" {self.format}"
        return self.primitive + form + (f" in {self.precision}" if self.precision else "")

    def computed(self, row: LayerRow) -> LayerRow:
        """The layer with the type that it is computed in."""
        return msgspec.structs.replace(row, dtype=self.precision or row.dtype)


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one layer is computed. ``layer`` is the ONNX node's name; ``primitive`` a name in the
    algorithms' table or ``"vendor"`` (the system's own kernels); ``format`` how its weights are
    stored; ``note`` says why a layer fell back from what was asked. ``pattern`` tells where the
    weights are not zero, in other formats than dense: the plan holds for that pattern only.
    ``ways``: what else may compute it, this one among them, where the system is to choose.
    ``precision``: "" computes as the network says; "float32" a layer of narrower numbers from what
    they stand for, which means the same up to rounding."""

    layer: str
    primitive: str
    format: str = DENSE
    note: str = ""
    pattern: str = ""
    ways: tuple[Way, ...] = ()
    precision: str = ""

    @property
    def way(self) -> Way:
        """Its own, whatever it leaves open."""
        return Way(self.primitive, self.format, self.precision)

    @property
    def is_sparse(self) -> bool:
        """Whether single weights or blocks of them are left out."""
        return self.format not in (DENSE, KEPT)


class Plan(msgspec.Struct, frozen=True):
    """One step per convolution and dense layer, in graph order."""

    algorithm: str
    steps: tuple[Step, ...]

    def primitive(self, layer: str) -> str:
        """The primitive of a layer named in the plan; KeyError otherwise."""
        return self.step(layer).primitive

    def step(self, layer: str) -> Step:
        return {step.layer: step for step in self.steps}[layer]

    def check(self, network: Network) -> None:
        """Raise InputError where the network's layers, or zeros, are not those that the plan was
        made for. A plan without steps leaves every layer to the system."""
        if not self.steps:
            return
        rows, planned = {row.name: row for row in network.layers}, {s.layer for s in self.steps}
        for name in rows:
            if name not in planned:
                raise InputError(f"the network has a layer {name!r}, and the plan has not")
        for step in self.steps:
            row = rows.get(step.layer)
            if row is None:
                raise InputError(f"the plan has a layer {step.layer!r}, and the network has not")
            if step.pattern and step.pattern != pattern_of(network.weight(row)):
                raise InputError(
                    f"the weights of {step.layer!r} are zero in other places than when the plan "
                    "was made: make the plan anew from this network"
                )

    def save(self, folder: Path) -> None:
        (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))


def pattern_of(weight: NDArray[Any]) -> str:
    """Where a weight is not zero, as 16 hexadecimal digits."""
    return hashlib.sha256(np.packbits(weight != 0).tobytes()).hexdigest()[:16]


def open_plan(folder: Path) -> Plan:
    """Read what ``save`` wrote. InputError where there is none, or a damaged one."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Plan)
    except (OSError, msgspec.MsgspecError):
        raise InputError(f"{folder} holds no plan of dlas, or a damaged one") from None
