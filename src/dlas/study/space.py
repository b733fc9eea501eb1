"""A study: which stacks to compare. Axes of alternatives multiply into stacks."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from dlas.errors import InputError, SpecError
from dlas.layer import did_you_mean
from dlas.stack import DEFAULTS, FIELDS, Stack, label, parse_field
from dlas.systems.base import System

_KEYS = ("name", "title", "description", "base", "axes", "grids")
_GRID_KEYS = ("base", "axes")


@dataclass(frozen=True)
class Study:
    """``base``: the choices all stacks share. ``axes``: for other fields of a stack, a list of
    alternatives each. The stacks are all combinations, less those that cannot exist (a system that
    chooses its own kernels with any algorithm but ``vendor``).

    ``grids``: where not every choice goes with every other one, tables of ``base`` and ``axes`` of
    their own. What a grid says of a field replaces what the study says of it; the stacks are those
    of all grids.

    >>> Study(name="s", base={"dataset": "synthetic", "model": "tiny", "hardware": "null"},
    ...       axes={"system": ["onnxruntime", "pytorch"]}).stacks[1].label()
    'synthetic · tiny · none · vendor · pytorch · null'
    """

    name: str
    title: str = ""
    description: str = ""
    base: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    grids: Sequence[Mapping[str, Any]] = ()
    folder: Path | None = None
    path: str = ""
    stacks: tuple[Stack, ...] = field(init=False, repr=False)
    #: Why combinations were dropped: sentence → how many.
    dropped: Mapping[str, int] = field(init=False, repr=False)
    _labels: Mapping[str, Mapping[str, str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise SpecError(
                "$.name", f"{self.name!r} is not a name of letters, digits, '.', '_' or '-'"
            )
        grids = list(self._grids())
        stacks, dropped = _combine(grids)
        if not stacks:
            reasons = "; ".join(dropped)
            raise SpecError("$.axes", f"no combination of these choices can exist: {reasons}")
        object.__setattr__(self, "stacks", stacks)
        object.__setattr__(self, "dropped", dropped)
        labels = {
            key: _distinct_labels([value for grid in grids for value in grid[key]])
            for key in FIELDS
        }
        object.__setattr__(self, "_labels", labels)

    @classmethod
    def open(cls, path: Path | str) -> Study:
        """A study from a TOML file; paths in it are relative to the file."""
        path = Path(path)
        try:
            table = tomllib.loads(path.read_text())
        except FileNotFoundError:
            raise InputError(f"{path}: there is no such file") from None
        except IsADirectoryError:
            raise InputError(f"{path} is a folder; name a study's TOML file") from None
        except UnicodeDecodeError:
            raise InputError(f"{path} is not a text file") from None
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path} is not TOML: {error}") from None
        try:
            return cls.parse(table, path.parent.resolve(), str(path))
        except SpecError as error:
            raise SpecError(f"{path}: {error.path}", error.sentence) from None

    @classmethod
    def parse(cls, table: Mapping[str, Any], folder: Path | None = None, path: str = "") -> Study:
        """A study from plain data. Relative paths in it start at ``folder``; ``path`` is the file
        it was read from."""
        for key in table:
            if key not in _KEYS:
                raise SpecError(f"$.{key}", f"not a field of a study{did_you_mean(key, _KEYS)}")
        for key in ("name", "title", "description"):
            if not isinstance(table.get(key, ""), str):
                raise SpecError(f"$.{key}", f"{table[key]!r} is not a text")
        grids = table.get("grids", ())
        if isinstance(grids, (str, Mapping)) or not isinstance(grids, Sequence):
            raise SpecError("$.grids", f"{grids!r} is not a list of tables: write [[grids]]")
        if "name" not in table:
            raise SpecError("$.name", "a study needs this field")
        return cls(**table, folder=folder, path=path)

    def labels(self, stack: Stack) -> dict[str, str]:
        """Short names of a stack's choices, longer where two of the study would be alike."""
        return {key: names[repr(getattr(stack, key))] for key, names in self._labels.items()}

    def spec(self) -> dict[str, Any]:
        """What is recorded of the study itself; its stacks are recorded one by one."""
        return {
            "command": f"dlas run {self.path}" if self.path else "",
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "stacks": len(self.stacks),
            "dropped": dict(self.dropped),
        }

    def _grids(self) -> Iterator[dict[str, list[Any]]]:
        """Per grid, and field of a stack, the parsed alternatives."""
        common = _choices("$", self.base, self.axes)
        for index, grid in enumerate(self.grids):
            place = f"$.grids[{index}]"
            if not isinstance(grid, Mapping):
                raise SpecError(place, f"{grid!r} is not a table of base and axes")
            for key in grid:
                if key not in _GRID_KEYS:
                    hint = did_you_mean(key, _GRID_KEYS)
                    raise SpecError(f"{place}.{key}", f"not a field of a grid{hint}")
            own = _choices(place, grid.get("base", {}), grid.get("axes", {}))
            yield self._alternatives(common | own)
        if not self.grids:
            yield self._alternatives(common)

    def _alternatives(self, chosen: Mapping[str, tuple[str, Any]]) -> dict[str, list[Any]]:
        found = {}
        for key in FIELDS:
            place, value = chosen.get(key, (f"$.base.{key}", DEFAULTS.get(key)))
            if value is None:
                raise SpecError(place, "a study needs this field, here or in axes")
            if place.endswith(f".axes.{key}"):
                found[key] = self._axis(place, key, value)
            else:
                found[key] = [parse_field(key, value, place, self.folder)]
        return found

    def _axis(self, place: str, key: str, values: Any) -> list[Any]:
        if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence):
            raise SpecError(
                place, f"{values!r} is not a list of alternatives; put a single one in base"
            )
        if not values:
            raise SpecError(place, "an empty list leaves no stack; name an alternative")
        if key == "optimizations":
            for i, value in enumerate(values):
                if isinstance(value, Mapping):
                    raise SpecError(
                        f"{place}[{i}]", "each alternative is a list of optimizations; write [{…}]"
                    )
        return [parse_field(key, v, f"{place}[{i}]", self.folder) for i, v in enumerate(values)]


def _choices(
    place: str, base: Mapping[str, Any], axes: Mapping[str, Any]
) -> dict[str, tuple[str, Any]]:
    """What is written of each field, and where."""
    found: dict[str, tuple[str, Any]] = {}
    for name, given in (("base", base), ("axes", axes)):
        if not isinstance(given, Mapping):
            raise SpecError(f"{place}.{name}", f"{given!r} is not a table")
        for key, value in given.items():
            if key not in FIELDS:
                hint = did_you_mean(key, FIELDS)
                raise SpecError(f"{place}.{name}.{key}", f"not a field of a stack{hint}")
            if key in found:
                raise SpecError(f"{place}.axes.{key}", "stands in base too; keep one of them")
            found[key] = (f"{place}.{name}.{key}", value)
    return found


def _distinct_labels(values: Sequence[Any]) -> dict[str, str]:
    """``repr`` of each alternative → its short label, or its full one where two are alike, with a
    number where those are alike too (files of one name in two folders)."""
    distinct = {repr(value): value for value in values}
    short = {name: label(value) for name, value in distinct.items()}
    full = {name: label(value, full=True) for name, value in distinct.items()}
    labels: dict[str, str] = {}
    for name in distinct:
        own = short[name] if list(short.values()).count(short[name]) == 1 else full[name]
        same = sum(full[other] == full[name] for other in labels)
        labels[name] = f"{own} #{same + 1}" if same else own
    return labels


def _combine(
    grids: Sequence[Mapping[str, list[Any]]],
) -> tuple[tuple[Stack, ...], dict[str, int]]:
    stacks: dict[str, Stack] = {}
    dropped: Counter[str] = Counter()
    for grid in grids:
        for values in itertools.product(*grid.values()):
            stack = Stack(**dict(zip(grid, values, strict=True)))
            reason = cast(System, stack.system).combines(stack.algorithm.name)
            if reason:
                dropped[reason] += 1
            else:
                stacks.setdefault(repr(stack), stack)
    return tuple(stacks.values()), dict(dropped)
