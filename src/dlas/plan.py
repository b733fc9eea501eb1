"""What layer 4 hands down: for each layer of a network, the primitive and the weight format."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dlas.errors import InputError

FILE = "plan.json"


class Step(msgspec.Struct, frozen=True):
    """How one layer is computed. ``layer`` is the ONNX node's name; ``primitive`` a name in the
    algorithms' table or ``"vendor"`` (the system's own kernels); ``note`` says why a layer fell
    back from what was asked."""

    layer: str
    primitive: str
    format: str = "dense"
    note: str = ""


class Plan(msgspec.Struct, frozen=True):
    """One step per convolution and dense layer, in graph order."""

    algorithm: str
    steps: tuple[Step, ...]

    def primitive(self, layer: str) -> str:
        """The primitive of a layer named in the plan; KeyError otherwise."""
        return {step.layer: step.primitive for step in self.steps}[layer]

    def save(self, folder: Path) -> None:
        (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))


def open_plan(folder: Path) -> Plan:
    """Read what ``save`` wrote. InputError where there is none, or a damaged one."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Plan)
    except (OSError, msgspec.MsgspecError):
        raise InputError(f"{folder} holds no plan of dlas, or a damaged one") from None
