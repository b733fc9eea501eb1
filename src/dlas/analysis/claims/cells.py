"""A results frame made ready for claims: one row per stack, columns that papers speak of added."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlas.analysis.claims.select import NUMBERS, TEXT, TUNED, Selector, level_test

if TYPE_CHECKING:
    import pandas as pd

#: What a stack is, besides its measurements. Stacks equal in these, such as two trainings of one
#: network, are levels of one choice: where they are not selected apart, the best of them counts.
MATCHED = (
    "machine", "dataset", "network", "pixels", "optimizations", "compression", "primitive",
    "format", "software", "tuning", "threads", "batch",
)  # fmt: skip
#: Columns that follow from another one: where it may differ, so may they.
COUPLED = {
    "network": ("pixels",),
    "compression": ("optimizations", "format"),
    "optimizations": ("compression", "format"),
    "device": ("machine",),
    "processor": ("machine",),
    "pixels": ("network", "dataset"),
    "dataset": ("pixels",),
}
#: How a CPU is named (``store.choices.machine_name``). That name makes no GPU of it: "AMD Ryzen 7
#: 5800H with Radeon Graphics, 16 cores, 14 GiB, x86_64 0123abcd" computes on its cores.
_CPU = re.compile(r"^.*, \d+ cores?, [\d.]+ GiB, [^,]*")
_GPU = re.compile(
    r"\b(gpu|cuda|geforce|rtx|gtx|tesla|quadro|radeon|instinct|mali|adreno|xavier|jetson|"
    r"[ahv]100|h200|l40|mi\d{3}x?)\b",
    re.IGNORECASE,
)
_PROCESSORS = {
    "x86": re.compile(r"x86|amd64|intel|\bi[3579]-?\d*\b|xeon|epyc|ryzen", re.IGNORECASE),
    "arm": re.compile(
        r"aarch64|\barm|cortex|neoverse|hikey|kirin|graviton|apple m\d|snapdragon", re.IGNORECASE
    ),
}
#: Readings of "tuned". A claim takes the one with the most settings, of equal ones the first.
SETTINGS = {
    "auto": ("auto",),
    "template": ("template",),
    "the faster of both": ("auto", "template"),
}


@dataclass(frozen=True)
class Cells:
    """``frame``: prepared, index 0 … n-1. ``rounds``: key → (n,) median seconds of each."""

    frame: pd.DataFrame
    rounds: Mapping[str, NDArray[np.float64]]

    @cached_property
    def keys(self) -> list[str]:
        return [str(key) for key in self.frame["key"]]

    @cached_property
    def subjects(self) -> list[str]:
        return [str(subject) for subject in self.frame["subject"]]

    @cached_property
    def groups(self) -> list[str]:
        return [str(group) for group in self.frame["group"]]

    @cached_property
    def measured(self) -> dict[str, Any]:
        """Quantities that were asked for, kept by ``quantity.measures``."""
        return {}

    @cached_property
    def _levels(self) -> dict[str, tuple[list[Any], NDArray[np.intp]]]:
        return {}

    def levels(self, column: str) -> tuple[list[Any], NDArray[np.intp]]:
        """A column's levels ("" where absent), and (rows,) which of them each row has."""
        if column not in self._levels:
            values = [_level(value) for value in self.frame[column].tolist()]
            known = list(dict.fromkeys(values))
            place = {level: index for index, level in enumerate(known)}
            rows = np.array([place[value] for value in values], dtype=np.intp)
            self._levels[column] = known, rows
        return self._levels[column]

    def mask(self, *selectors: Selector) -> NDArray[np.bool_]:
        """(rows,) True for those that every selector takes."""
        taken = np.ones(len(self.frame), dtype=np.bool_)
        for selector in selectors:
            for column, value in selector.items():
                test = level_test(value)
                known, rows = self.levels(column)
                so = np.array([level != "" and test(level) for level in known], dtype=np.bool_)
                taken &= so[rows]
        return taken

    @property
    def machines(self) -> tuple[str, ...]:
        names = [str(name) for name in self.levels("machine")[0]]
        return tuple(name for name in names if name)

    def on(self, machine: str) -> Cells:
        return self._of(self.frame[self.frame["machine"] == machine])

    def tuned_by(self, levels: tuple[str, ...]) -> Cells:
        """The stacks whose tuning is one of these, called "tuned"; and those without tuning."""
        all_levels = {level for setting in SETTINGS.values() for level in setting}
        kept = self.frame[~self.frame["tuning"].isin(all_levels - set(levels))]
        return self._of(
            kept.assign(tuning=kept["tuning"].where(~kept["tuning"].isin(levels), TUNED))
        )

    def _of(self, frame: pd.DataFrame) -> Cells:
        return Cells(frame.reset_index(drop=True), self.rounds)


def prepare(frame: pd.DataFrame, rounds: Mapping[str, NDArray[np.float64]] | None) -> Cells:
    """The frame of one or several studies: a stack that two of them hold counts once, measured if
    either measured it. Columns that an older frame lacks are absent values.

    ``device`` is "gpu" where the machine's name or the label of the hardware names a graphics
    processor, beside a CPU's own name, else "cpu"; ``processor`` is "x86", "arm" or "other".
    """
    import pandas as pd

    needed = [*TEXT, *NUMBERS, *_USED]
    ready = frame.reindex(columns=list(dict.fromkeys([*frame.columns, *needed]))).copy()
    for column in (*TEXT, "key", "hardware", "status", "message", "group"):
        ready[column] = ready[column].astype(object).where(ready[column].notna(), "").astype(str)
    for column in (*NUMBERS, *_MEASURED):
        ready[column] = pd.to_numeric(ready[column], errors="coerce").astype(float)
    ready["machine"] = _machines(ready["machine"])
    ready["device"] = [_device(*texts) for texts in _texts(ready)]
    ready["processor"] = [_processor(*texts) for texts in _texts(ready)]
    ready["subject"] = _subjects(ready)
    ready = ready.assign(_unmeasured=ready["latency_s"].isna())
    ready = ready.sort_values("_unmeasured", kind="stable")
    named = ready["key"] != ""
    ready = ready[~(named & ready.duplicated("key"))].sort_index(kind="stable")
    return Cells(ready.drop(columns="_unmeasured").reset_index(drop=True), rounds or {})


_MEASURED = (
    "latency_s", "latency_low_s", "latency_high_s", "first_run_s", "peak_bytes", "energy_j",
    "compile_s", "size_bytes", "sparse_bytes", "effective_macs", "nonzeros", "runs", "test_images",
)  # fmt: skip
_USED = (*_MEASURED, "key", "hardware", "status", "message", "group")


def _level(value: Any) -> Any:
    return "" if value is None or value != value else value


def _machines(names: pd.Series) -> pd.Series:
    """Where there is one machine, stacks that were not run there belong to it too."""
    known = [name for name in names.unique() if name]
    return names.where(names != "", known[0] if len(known) == 1 else "")


def _subjects(frame: pd.DataFrame) -> list[str]:
    """A network on one data set is another one on the next: "mobilenetv2 on imagenet"."""
    named = list(zip(frame["network"], frame["dataset"], strict=True))
    places: dict[str, set[str]] = {}
    for network, dataset in named:
        places.setdefault(network, set()).add(dataset)
    return [f"{net} on {data}" if len(places[net]) > 1 else net for net, data in named]


def _texts(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(frame["machine"], frame["hardware"], strict=True))


def _device(machine: str, hardware: str) -> str:
    named = f"{_CPU.sub('', machine)} {hardware}".replace("_", " ")
    return "gpu" if _GPU.search(named) else "cpu"


def _processor(machine: str, hardware: str) -> str:
    text = f"{machine} {hardware}"
    return next((name for name, known in _PROCESSORS.items() if known.search(text)), "other")
