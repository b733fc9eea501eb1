"""Pieces of a network, compiled and loaded by a system and checked against ONNX Runtime's answer.
What fails or answers wrongly is left out, with a note that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlas.errors import DlasError
from dlas.evaluate import scores
from dlas.executable import Run
from dlas.layer import member
from dlas.network import Network
from dlas.plan import Plan
from dlas.systems.base import System
from dlas.systems.partitioned.cut import Line, split
from dlas.systems.partitioned.record import Part, in_turn

#: How far a piece's answer may be from ONNX Runtime's, as relative Euclidean distance: rounding in
#: other places moves numbers of 8 bits by whole steps.
TOLERANCE = {"float32": 1e-3, "float16": 3e-2, "bfloat16": 3e-2, "int8": 0.2, "mixed": 0.2}
#: For float32 that a system computes in a narrower type.
NARROWED = 0.1

Array = NDArray[np.float32]


@dataclass
class Pieces:
    """``systems``: what may run them, by their place, all for so many images as ``batch``.
    ``scratch``: an empty folder to work in."""

    line: Line
    plan: Plan
    systems: Sequence[System]
    scratch: Path
    batch: int = 1
    notes: list[str] = field(default_factory=list)
    _known: dict[tuple[int, int, int], Part | None] = field(default_factory=dict)

    @cached_property
    def images(self) -> list[Array]:
        """What every stage reads, and the scores, in one run over images of noise, as executables
        are timed with. Raises Refused where ONNX Runtime cannot run the network."""
        noise = np.random.default_rng(0)
        shape = (self.batch, *self.line.network.input_shape)
        found = [noise.standard_normal(shape, dtype=np.float32)]
        for index in range(len(self.line)):
            found.append(scores(self.line.piece(index, index + 1), found[-1]))
        return found

    def part(self, system: int, first: int, end: int) -> Part | None:
        """These stages, compiled by that system; None where it cannot."""
        key = system, first, end
        if key not in self._known:
            self._known[key] = self._compile(*key)
        return self._known[key]

    def folder(self, part: Part) -> Path:
        """Where a part has been compiled to."""
        return self.scratch / f"{part.name}-{part.first}-{part.end}"

    def run(self, parts: Sequence[Part]) -> Run | None:
        """Parts that follow one another, loaded as one; None where their answer is wrong."""
        systems = {system.name: system for system in self.systems}
        names = ", ".join(dict.fromkeys(part.name for part in parts))
        first, end = parts[0].first, parts[-1].end
        try:
            run = in_turn([systems[part.name].load(self.folder(part)) for part in parts])
            answer = run(self.images[first].copy())
        except DlasError as error:
            self._note(names, first, end, str(error))
            return None
        allowed = self.tolerance(parts)
        expected = self.images[end]
        distance = np.inf
        if answer.shape == expected.shape:
            distance = float(np.linalg.norm(answer - expected))
            distance /= max(float(np.linalg.norm(expected)), 1e-12)
        if not distance <= allowed:  # also when it is NaN
            wrong = (
                f"its answer is {distance:.2g} from ONNX Runtime's, at most {allowed:g} is right"
            )
            self._note(names, first, end, wrong)
            return None
        return run

    def tolerance(self, parts: Sequence[Part]) -> float:
        piece = self.line.piece(parts[0].first, parts[-1].end)
        if piece.dtype == "float32" and any(part.emulated for part in parts):
            return NARROWED
        return TOLERANCE[piece.dtype]

    def _compile(self, system: int, first: int, end: int) -> Part | None:
        chosen, piece = self.systems[system], self.line.piece(first, end)
        plan = self._plan(chosen, piece)
        part = Part(chosen.spec(), first, end, chosen.emulates(piece))
        reason = chosen.refuses(piece, plan)
        try:
            if reason is None:
                self.folder(part).mkdir()
                chosen.compile(piece, plan, self.folder(part))
                return part
        except DlasError as error:
            reason = str(error)
        self._note(chosen.name, first, end, reason)
        return None

    def _plan(self, system: System, piece: Network) -> Plan:
        """The given plan's steps where the system follows them, else none of its business."""
        if system.combines(self.plan.algorithm) is None:
            return split(self.plan, piece)
        vendor: Plan = member("algorithms", "vendor")().plan(piece)  # type: ignore[attr-defined]
        return vendor

    def _note(self, system: str, first: int, end: int, reason: str) -> None:
        stages = f"stage {first}" if end == first + 1 else f"stages {first} to {end - 1}"
        where = "the network" if end - first == len(self.line) else stages
        reason = reason.replace(f"{self.scratch}/", "")  # which will be gone
        self.notes.append(f"{system} is left out for {where}: {reason}")
