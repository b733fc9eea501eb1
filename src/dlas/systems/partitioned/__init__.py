"""``partitioned``: several systems in one network, each where it is fastest, if that pays.

    network ── cut ──▶ stages ── pieces, timing ──▶ seconds per stage and system ── path ──▶
    a few candidates ── search ──▶ the fastest, timed as a whole ── record ──▶ partition.json

After Jeon et al., "Collage: Seamless Integration of Deep Learning Backends with Automatic
Placement" (PACT 2022), which places operators; here a part is what lies between two places where
one tensor is alive, so that what a crossing costs can be measured and not only modelled.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.errors import Refused, SpecError
from dlas.executable import Run
from dlas.layer import did_you_mean, member, table
from dlas.measure.protocol import LayerTime
from dlas.spec import parse_member
from dlas.systems.base import System
from dlas.systems.partitioned.record import InTurn, as_input, in_turn, open_partition

if TYPE_CHECKING:
    from dlas.network import Network
    from dlas.plan import Plan

#: How the systems are set up where their defaults are not the fastest.
SETTINGS = {"tvm": {"tuning": "template"}}
#: Not to be timed, and this one.
NO_PARTS = ("reference", "partitioned")


class Partitioned(System, frozen=True, kw_only=True):
    """Cuts the network into about ``stages`` parts of equal arithmetic, times each of them in each
    of the ``systems`` and mixes them where that makes the whole network faster by ``margin`` at
    least; else one system runs all of it. Systems that are not installed are left out.

    Systems that follow the plan's algorithm get its steps, the others choose their own kernels.
    ``precision``: what floating-point layers in OpenVINO compute in, as its own field says.
    ``time_budget_s``: seconds of timing; compiling takes longer. ``partition.json`` in the
    executable's folder has all that was measured."""

    name: ClassVar[str] = "partitioned"
    algorithms: ClassVar[tuple[str, ...]] = ("vendor", "cheapest")
    distributions: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "numpy")

    systems: tuple[str, ...] = ("tvm", "onnxruntime", "openvino")
    stages: Annotated[int, msgspec.Meta(ge=1, le=32)] = 8
    margin: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.03
    time_budget_s: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    precision: Literal["float32", "default"] = "float32"

    def check(self, path: str) -> None:
        allowed = set(table("systems")) - set(NO_PARTS)
        for index, name in enumerate(self.systems):
            if name not in allowed:
                hint = did_you_mean(name, allowed)
                raise SpecError(f"{path}.systems[{index}]", f"{name!r} can run no part{hint}")
        if not self.systems or len(set(self.systems)) < len(self.systems):
            raise SpecError(f"{path}.systems", "name one system or more, each once")

    def combines(self, algorithm: str) -> str | None:
        reasons = [each.combines(algorithm) for each in self.members()]
        return None if None in reasons else "; ".join(filter(None, reasons))

    def tools(self) -> dict[str, str]:
        found = super().tools()
        for each in self.members():
            found |= each.tools()
        return found

    def refuses(self, network: Network, plan: Plan) -> str | None:
        systems, notes = self.usable(plan)
        return None if systems else f"none of its systems can be used: {'; '.join(notes)}"

    def emulated(self, network: Network, folder: Path) -> str:
        parts = open_partition(folder).parts
        if len(parts) == 1:
            return parts[0].emulated
        sentences = (f"parts in {part.name}: {part.emulated}" for part in parts if part.emulated)
        return "; ".join(dict.fromkeys(sentences))

    def compile(self, network: Network, plan: Plan, folder: Path) -> None:
        from dlas.systems.partitioned.cut import cut
        from dlas.systems.partitioned.pieces import Pieces
        from dlas.systems.partitioned.search import search

        systems, notes = self.usable(plan)
        if not systems:
            raise Refused(f"none of its systems can be used: {'; '.join(notes)}")
        with TemporaryDirectory(dir=folder) as scratch:
            line = cut(network, self.stages)
            pieces = Pieces(line, plan, systems, Path(scratch), self.batch)
            found = search(pieces, self.margin, self.time_budget_s)
            for part, made in zip(found.partition.parts, found.folders, strict=True):
                made.rename(folder / part.folder)
        partition = found.partition
        msgspec.structs.replace(partition, notes=(*notes, *partition.notes)).save(folder)

    def facts(self, folder: Path) -> dict[str, str]:
        return {"partition": open_partition(folder).sentence()}

    def load(self, folder: Path) -> Run:
        return in_turn([system.load(place) for system, place in self.parts(folder)])

    def profile(
        self, folder: Path, run: Run, images: NDArray[np.float32], count: int
    ) -> tuple[LayerTime, ...]:
        """Part by part; what is between them counts as none's."""
        found: list[LayerTime] = []
        runs = run.runs if isinstance(run, InTurn) else (run,)
        for (system, place), part in zip(self.parts(folder), runs, strict=True):
            found += system.profile(place, part, images, count)
            images = as_input(part(images))
        return tuple(found)

    def parts(self, folder: Path) -> list[tuple[System, Path]]:
        """Of what ``compile`` wrote: the system of each, and where it lies."""
        return [
            (cast(System, parse_member("systems", part.system, "$.system")), folder / part.folder)
            for part in open_partition(folder).parts
        ]

    def members(self) -> list[System]:
        """The systems, installed or not."""
        settings: dict[str, Any] = {**SETTINGS, "openvino": {"precision": self.precision}}
        kinds: dict[str, Any] = {name: member("systems", name) for name in self.systems}
        return [
            kind(threads=self.threads, batch=self.batch, **settings.get(name, {}))
            for name, kind in kinds.items()
        ]

    def usable(self, plan: Plan) -> tuple[list[System], list[str]]:
        """The systems that are here and can follow the plan, or choose their own kernels, and why
        the others cannot."""
        found, notes = [], []
        for each in self.members():
            reason = each.missing()
            if reason is None and each.combines(plan.algorithm) and each.combines("vendor"):
                reason = each.combines(plan.algorithm)
            if reason is None:
                found.append(each)
            else:
                notes.append(f"{each.name} is left out: {reason}")
        return found, notes
