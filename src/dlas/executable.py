"""What layer 5 hands down: a folder that another process can load and run.

``executable.json`` names the system with its spec and the shapes; the other files are the system's
own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError
from dlas.network import Network
from dlas.plan import Plan
from dlas.spec import parse_member

if TYPE_CHECKING:
    from dlas.systems.base import System

FILE = "executable.json"

#: One inference: (1, C, H, W) float32 → (1, classes) float32.
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Header(msgspec.Struct, frozen=True):
    """``executable.json``: the system's spec and the shapes of one inference.

    ``emulated`` says in a sentence where the numbers are computed in a wider type than the network
    states, as float16 is on most CPUs; "" when they are computed as stated."""

    system: dict[str, Any]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    threads: int
    emulated: str = ""


@dataclass(frozen=True)
class Executable:
    header: Header
    run: Run

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(1, C, H, W) float32 → (1, classes) float32. InputError names both shapes."""
        if images.shape != self.header.input_shape:
            raise InputError(
                f"the input has shape {images.shape}, this executable takes {self.header.input_shape}"
            )
        return self.run(images)


def compile_network(system: System, network: Network, plan: Plan, folder: Path) -> None:
    """Compile into ``folder`` and write its header."""
    system.compile(network, plan, folder)
    header = Header(
        system.spec(),
        (1, *network.input_shape),
        (1, network.classes),
        system.threads,
        system.emulates(network),
    )
    (folder / FILE).write_bytes(msgspec.json.encode(header))


def read_header(folder: Path) -> Header:
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Header)
    except (FileNotFoundError, msgspec.DecodeError):
        raise InputError(f"{folder} holds no executable of dlas") from None


def load(folder: Path | str) -> Executable:
    """Load an executable that some process compiled on a machine with this target."""
    header = read_header(Path(folder))
    system: Any = parse_member("systems", header.system, "$.system")
    return Executable(header, system.load(Path(folder)))
