"""What layer 5 hands down: a folder that another process can load and run.

``executable.json`` names the system with its spec, the shapes and the digests of the other files,
which are the system's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.content import digest
from dlas.errors import InputError
from dlas.spec import parse_member

if TYPE_CHECKING:  # loading an executable needs no onnx
    from dlas.measure.protocol import LayerTime
    from dlas.network import Network
    from dlas.plan import Plan
    from dlas.systems.base import System

FILE = "executable.json"

#: One inference: (N, C, H, W) float32, C-contiguous and writeable → (N, classes) float32, which is
#: the caller's to keep. N is the batch that it was compiled for.
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Header(msgspec.Struct, frozen=True):
    """``executable.json``: the system's spec, the shapes of one inference, the versions of what
    compiled it, and the sha256 of every file by its relative name.

    ``emulated`` says in a sentence where the numbers are computed in another type than the network
    states, as float16 is on most CPUs; "" when they are computed as stated."""

    system: dict[str, Any]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    threads: int
    tools: dict[str, str]
    files: dict[str, str]
    emulated: str = ""


#: ``(image, count)`` → where the time of a run goes, by ``count`` runs; Refused with a sentence.
Profile = Callable[[NDArray[np.float32], int], "tuple[LayerTime, ...]"]


@dataclass(frozen=True)
class Executable:
    header: Header
    run: Run
    profile: Profile

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C, H, W) float32 → (N, classes) float32. InputError names both shapes."""
        if images.shape != self.header.input_shape:
            expected = self.header.input_shape
            raise InputError(
                f"the input has shape {images.shape}, this executable takes {expected}"
            )
        return self.run(np.require(images, np.float32, ["C", "W"]))

    def scores(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of any number of images (n, C, H, W) → (n, classes), batch after batch. The last batch is
        filled up with images that it holds, whose scores are dropped."""
        batch, *image = self.header.input_shape
        found = [
            self(np.resize(part, (batch, *image)))[: len(part)]
            for part in (images[at : at + batch] for at in range(0, len(images), batch))
        ]
        return np.concatenate(found)


def compile_network(system: System, network: Network, plan: Plan, folder: Path) -> None:
    """Compile into ``folder``, which is empty, and write its header. InputError where the plan was
    made for other zeros than the network's."""
    plan.check(network)
    system.compile(network, plan, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    header = Header(
        system.spec(),
        (system.batch, *network.input_shape),
        (system.batch, network.classes),
        system.threads,
        system.tools(),
        {str(path.relative_to(folder)): digest(path) for path in files},
        system.emulated(network, folder),
    )
    (folder / FILE).write_bytes(msgspec.json.encode(header))


def read_header(folder: Path) -> Header:
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Header)
    except (OSError, msgspec.MsgspecError):
        raise InputError(f"{folder} holds no executable of dlas, or a damaged one") from None


def load(folder: Path | str) -> Executable:
    """Load an executable that some process compiled on a machine with this target. InputError
    where it is damaged or other versions compiled it: its native code is not tried then."""
    folder = Path(folder)
    header = read_header(folder)
    system: Any = parse_member("systems", header.system, "$.system")
    _check_tools(folder, header.tools, system.tools())
    for name, expected in header.files.items():
        if digest(folder / name) != expected:
            raise InputError(f"{folder / name} is damaged: compile the network again")
    run = system.load(folder)
    return Executable(header, run, partial(system.profile, folder, run))


def _check_tools(folder: Path, then: dict[str, str], now: dict[str, str]) -> None:
    for tool, version in then.items():
        found = now.get(tool, "absent")
        if found != version and tool == "target":
            raise InputError(
                f"{folder} was compiled for {version}, and this is {found}: compile it here"
            )
        if found != version:
            raise InputError(
                f"{folder} was compiled with {tool} {version}, and here it is {found}: "
                f"install that version, or compile the network again"
            )
