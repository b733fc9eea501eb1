"""``partition.json``: the stages, what each system took for each, what crossings cost, and which
candidates were timed as whole networks. Data, to be read and shown; loading needs its parts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError
from dlas.executable import Run
from dlas.measure.statistics import Estimate

FILE = "partition.json"


class Stage(msgspec.Struct, frozen=True):
    """What lies between two cuts: its convolutions and dense layers, their multiply-accumulates,
    and the shape of the tensor that it hands on."""

    layers: tuple[str, ...]
    macs: int
    output_shape: tuple[int, ...]


class Part(msgspec.Struct, frozen=True):
    """The stages ``first`` to ``end`` (not included) as one network of one system, given by its
    spec. ``emulated``: as ``Header.emulated`` has it, for this part."""

    system: dict[str, Any]
    first: int
    end: int
    emulated: str = ""

    @property
    def name(self) -> str:
        return str(self.system["name"])

    @property
    def folder(self) -> str:
        """Where it lies in the executable's folder."""
        return f"{self.first}-{self.name}"


class Candidate(msgspec.Struct, frozen=True):
    """A way to run the whole network: its seconds as stages and crossings predict them (None where
    not all of these are known), and as measured, the median with its 95 % interval."""

    parts: tuple[Part, ...]
    predicted_s: float | None
    measured_s: Estimate

    @property
    def is_mixed(self) -> bool:
        return len(self.parts) > 1

    def label(self) -> str:
        """``tvm 0–4, openvino 5`` in stages."""
        if not self.is_mixed:
            return self.parts[0].name
        return ", ".join(f"{p.name} {_span(p.first, p.end - 1)}" for p in self.parts)


class Partition(msgspec.Struct, frozen=True):
    """``stage_s``: seconds of every stage by system, median and interval, NumPy array in and out;
    None where it could not run there. ``crossing_s``: by system, how much longer two neighbouring
    stages take apart than as one; None where that was not tried, because mixing would not have
    saved enough even if crossings cost nothing. ``candidates``: the single systems and the
    likeliest mixtures, timed in turns; ``chosen``: the index of the one that the executable is.
    ``ratio``: of the fastest mixture's time to the fastest single system's, turn by turn."""

    stages: tuple[Stage, ...]
    stage_s: dict[str, tuple[Estimate | None, ...]]
    crossing_s: dict[str, tuple[float | None, ...]]
    candidates: tuple[Candidate, ...]
    chosen: int
    ratio: Estimate | None = None
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.candidates[self.chosen].parts

    def sentence(self) -> str:
        """``tvm 0–4, openvino 5 of 6 stages; timed: tvm 1.2 ms, …``, the fastest first."""
        timed = sorted(self.candidates, key=lambda each: each.measured_s.value)
        times = ", ".join(f"{each.label()} {1e3 * each.measured_s.value:.3g} ms" for each in timed)
        chosen = self.candidates[self.chosen]
        share = f"of {len(self.stages)} stages" if chosen.is_mixed else "runs all of it"
        return "; ".join([f"{chosen.label()} {share}", f"timed: {times}", *self.notes])

    def save(self, folder: Path) -> None:
        (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))

    def text(self) -> str:
        """For a person, in milliseconds: a line per stage, then one per candidate."""
        systems = list(self.stage_s)
        lines = ["stage  MMACs  " + "  ".join(f"{name:>13}" for name in systems) + "  layers"]
        for index, stage in enumerate(self.stages):
            cells = "  ".join(_cell(self.stage_s[name][index]) for name in systems)
            layers = f"{stage.layers[0]} … {stage.layers[-1]}" if stage.layers else ""
            lines.append(f"{index:>5}  {stage.macs / 1e6:>5.1f}  {cells}  {layers}")
        for name in systems:
            costs = [_milliseconds(cost) for cost in self.crossing_s[name]]
            if any(cost is not None for cost in self.crossing_s[name]):
                lines.append(f"leaving {name} costs, after each stage: {', '.join(costs)}")
        for index, each in enumerate(self.candidates):
            mark = "→" if index == self.chosen else " "
            known = each.predicted_s is not None
            predicted = f", predicted {_milliseconds(each.predicted_s)}" if known else ""
            lines.append(f"{mark} {_interval(each.measured_s)}{predicted}: {each.label()}")
        if self.ratio is not None:
            value, low, high = self.ratio
            between = "" if low is None or high is None else f" ({low:.3f}–{high:.3f})"
            lines.append(f"fastest mixture / fastest single system: {value:.3f}{between}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def open_partition(folder: Path) -> Partition:
    """Read what ``save`` wrote. InputError where there is none, or a damaged one."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Partition)
    except (OSError, msgspec.MsgspecError):
        raise InputError(
            f"{folder} holds no {FILE}, or a damaged one: compile the network again"
        ) from None


@dataclass(frozen=True)
class InTurn:
    """One after the other, as one."""

    runs: tuple[Run, ...]

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        found = self.runs[0](images)
        for other in self.runs[1:]:
            found = other(as_input(found))
        return found


def in_turn(runs: Sequence[Run]) -> Run:
    """``InTurn``; a single one is itself."""
    return runs[0] if len(runs) == 1 else InTurn(tuple(runs))


def as_input(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What one part hands on, as the next takes it."""
    return np.require(images, np.float32, ["C", "W"])


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}–{last}"


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e3:.3f}"


def _cell(found: Estimate | None) -> str:
    if found is None:
        return f"{'–':>13}"
    width = f"±{found.half_width:.0%}" if found.low is not None else ""
    return f"{found.value * 1e3:>8.3f}{width:>5}"


def _interval(found: Estimate) -> str:
    between = f"{_milliseconds(found.low)}–{_milliseconds(found.high)}"
    return f"{_milliseconds(found.value)} ms ({between})"
