"""What a system chose where a plan left it a choice: per layer the way taken, and what every other
way would have cost. It lies in the executable's folder, to be read, shown and replayed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dlas.errors import InputError
from dlas.plan import Plan, Way

FILE = "choices.json"


class Costed(msgspec.Struct, frozen=True):
    """A way to compute a layer, and its seconds: ``measured`` here, or predicted. None: it could
    not be computed so, as ``note`` says. In another ``precision`` than the network's, the changes
    to it and back are counted in."""

    primitive: str
    format: str
    seconds: float | None
    measured: bool
    note: str = ""
    precision: str = ""

    @property
    def name(self) -> str:
        """That of the way."""
        return Way(self.primitive, self.format, self.precision).name


class Choice(msgspec.Struct, frozen=True):
    """``taken``: the index of the way taken among ``ways``."""

    layer: str
    ways: tuple[Costed, ...]
    taken: int


class Choices(msgspec.Struct, frozen=True):
    """``plan``: with nothing left to choose; ``layers``: why. ``changes_s``: seconds of bringing
    images from one layout into another, and ``others_s``: of all else that is no layer;
    ``predicted_s``: of the whole network; ``uniform_s``: of the whole network computed by one
    algorithm, by its name, as predicted from the same records."""

    plan: Plan
    layers: tuple[Choice, ...]
    changes_s: float
    others_s: float
    predicted_s: float
    uniform_s: dict[str, float]

    def save(self, folder: Path) -> None:
        (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))


def open_choices(folder: Path) -> Choices | None:
    """What ``save`` wrote; None where nothing was left to choose. InputError for a damaged file."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Choices)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError):
        raise InputError(f"{folder} holds a damaged {FILE}: compile the network again") from None
