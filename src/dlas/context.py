"""What a member gets to work with besides its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def silent(fraction: float, text: str) -> None:
    """A progress callback for those who do not watch."""


@dataclass(frozen=True)
class Context:
    """``folder``: fill it; it becomes the artifact. ``checkpoints``: what is left here survives a
    kill and is found again by the next try. ``threads``: how many cores this work may use.
    ``progress(fraction in [0, 1], what)``: call it now and then."""

    folder: Path
    checkpoints: Path
    threads: int = 1
    progress: Callable[[float, str], None] = silent
