"""A stack: one choice in each of the six layers, from data set to hardware, and its identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from dlas.content import digest
from dlas.errors import SpecError
from dlas.layer import Member, did_you_mean
from dlas.node import Node
from dlas.spec import parse_member

#: A stack's fields, in the order the layers decide, and the layer each belongs to.
FIELDS = {
    "dataset": "datasets",
    "model": "models",
    "optimizations": "optimizations",
    "algorithm": "algorithms",
    "system": "systems",
    "hardware": "hardware",
}
DEFAULTS = {"optimizations": (), "algorithm": "vendor", "hardware": "local"}


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """One choice per layer. ``Stack.parse`` makes one from what a user wrote."""

    dataset: Member
    model: Member
    optimizations: tuple[Member, ...]
    algorithm: Member
    system: Member
    hardware: Member

    @classmethod
    def parse(cls, value: Mapping[str, Any], path: str = "$", folder: Path | None = None) -> Stack:
        """A stack from a table with the six fields; ``optimizations`` is an ordered list."""
        for key in value:
            if key not in FIELDS:
                raise SpecError(
                    f"{path}.{key}", f"not a field of a stack{did_you_mean(key, FIELDS)}"
                )
        fields: dict[str, Any] = {}
        for field in FIELDS:
            item = value.get(field, DEFAULTS.get(field))
            if item is None:
                raise SpecError(f"{path}.{field}", "a stack needs this field")
            fields[field] = parse_field(field, item, f"{path}.{field}", folder)
        return cls(**fields)

    def members(self) -> Iterator[tuple[str, Member]]:
        """(layer, member) from the top to the bottom; one entry per optimization."""
        yield "datasets", self.dataset
        yield "models", self.model
        for optimization in self.optimizations:
            yield "optimizations", optimization
        yield "algorithms", self.algorithm
        yield "systems", self.system
        yield "hardware", self.hardware

    def chain(self) -> list[Node]:
        """The stack's nodes, data set first. Reads the input files' content for their digests."""
        nodes: list[Node] = []
        for layer, member in self.members():
            content = {field: digest(path) for field, path in member.inputs().items()}
            parent = nodes[-1].key if nodes else ""
            nodes.append(Node(layer, member.spec(), content, member.tools(), parent))
        return nodes

    def spec(self) -> dict[str, Any]:
        """Plain data that ``Stack.parse`` reads back."""
        return {
            field: [m.spec() for m in value] if isinstance(value, tuple) else value.spec()
            for field, value in msgspec.structs.asdict(self).items()
        }

    def labels(self) -> dict[str, str]:
        """Short names per field, for tables."""
        return {field: label(value) for field, value in msgspec.structs.asdict(self).items()}

    def label(self) -> str:
        return " · ".join(self.labels().values())


def label(value: Member | tuple[Member, ...], full: bool = False) -> str:
    """A field's short name, or its ``full`` one with nested tables."""
    if not isinstance(value, tuple):
        return value.full_label() if full else value.label()
    return " + ".join(label(member, full) for member in value) or "none"


def parse_field(
    field: str, value: Any, path: str, folder: Path | None
) -> Member | tuple[Member, ...]:
    """One field of a stack: a member, or for ``optimizations`` an ordered list of members."""
    layer = FIELDS[field]
    if field != "optimizations":
        return parse_member(layer, value, path, folder)
    if isinstance(value, str) and value == "none":
        return ()
    items: Sequence[Any] = (
        [value] if isinstance(value, (str, Mapping, Member)) else cast(Sequence[Any], value)
    )
    if not isinstance(items, Sequence):
        raise SpecError(path, f"{value!r} is not a list of optimizations")
    return tuple(parse_member(layer, item, f"{path}[{i}]", folder) for i, item in enumerate(items))
