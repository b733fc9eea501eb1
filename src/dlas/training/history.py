"""``history.json``: what training went through, a row per epoch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

FILE = "history.json"


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """``loss``: mean over the images; ``lr``: in the last step; ``seconds``: of wall time."""

    epoch: int
    loss: float
    lr: float
    seconds: float


def append_history(folder: Path, epochs: Iterable[Epoch]) -> None:
    """Put rows behind those that earlier trainings in this folder left."""
    rows = [*read_history(folder), *epochs]
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1))


def read_history(folder: Path) -> list[Epoch]:
    """The rows in order; none where nothing was trained."""
    file = folder / FILE
    return msgspec.json.decode(file.read_bytes(), type=list[Epoch]) if file.exists() else []
