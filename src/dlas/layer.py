"""What a layer is: a visible table of members, each a frozen spec that knows what it does.

A *member* is one choice in one layer: its fields are the spec a user writes, its methods do the
work. Every layer package holds its own table, ``MEMBERS = {"name": "module:Class"}``; a member is
imported when it is first named, and its heavy libraries only when it first works. Third-party
members come by Python entry points in the group ``dlas.<layer>``.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from dlas.errors import SpecError

LAYERS = ("datasets", "models", "optimizations", "algorithms", "systems", "hardware")

#: A path the user names. Its *content* takes part in the key, its place does not.
InputPath = Annotated[str, msgspec.Meta(extra={"input": True})]


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One choice in one layer. Subclasses add fields (the spec) and the layer's own methods."""

    name: ClassVar[str]
    #: Raise it when the same spec would give another result.
    revision: ClassVar[int] = 1
    #: Distributions whose versions decide the result: they enter the key.
    distributions: ClassVar[tuple[str, ...]] = ()
    #: Modules that must be importable, and the extra that brings them.
    modules: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    @classmethod
    def missing(cls) -> str | None:
        """Why this machine cannot do it, as a sentence; None when it can."""
        for module in cls.modules:
            if importlib.util.find_spec(module) is None:
                return f"{module} is not installed: pip install 'dlas[{cls.extra}]'"
        return None

    def check(self, path: str) -> None:
        """Raise SpecError for fields that are each valid but cannot stand together."""

    def spec(self) -> dict[str, Any]:
        """Every field written out, defaults too: what a user could have written."""
        return {"name": self.name, **msgspec.to_builtins(self)}

    def inputs(self) -> dict[str, Path]:
        """The files and folders this choice reads, by field."""
        found = {}
        for field in input_fields(type(self)):
            value = getattr(self, field)
            if value:
                found[field] = Path(value)
        return found

    def tools(self) -> dict[str, str]:
        """What besides the spec decides the result: our revision and library versions."""
        versions = {name: distribution_version(name) for name in self.distributions}
        return {f"dlas.{self.name}": str(self.revision), **versions}

    def label(self) -> str:
        """A short name for people: the member and its plain fields that differ from their
        defaults, the required ones first, inherited ones last."""
        return self._label(_changed(self, nested=False))

    def full_label(self) -> str:
        """The same with nested tables, such as a training recipe."""
        return self._label(_changed(self, nested=True))

    def _label(self, changed: dict[str, Any]) -> str:
        inherited = type(self).__mro__[1].__struct_fields__  # type: ignore[attr-defined]  # a Struct
        required = {info.name for info in msgspec.structs.fields(type(self)) if info.required}
        paths = input_fields(type(self))
        shown = []
        for name in sorted(changed, key=lambda n: (n not in required, n in inherited)):
            value = changed[name]
            plain = name in required or isinstance(value, (msgspec.Struct, dict))
            text = Path(value).name if name in paths else _brief(value)
            shown.append(text if plain else f"{name}={text}")
        return f"{self.name}({', '.join(shown)})" if shown else self.name


def _changed(value: msgspec.Struct, nested: bool) -> dict[str, Any]:
    """The fields without a default, and those that differ from it."""
    return {
        info.name: getattr(value, info.name)
        for info in msgspec.structs.fields(type(value))
        if (info.required or getattr(value, info.name) != info.default)
        and (nested or not isinstance(getattr(value, info.name), msgspec.Struct))
    }


def _brief(value: Any) -> str:
    if isinstance(value, msgspec.Struct):
        value = _changed(value, nested=True) or type(value).__name__.lower()
    if isinstance(value, dict):
        return " ".join(f"{key}={_brief(item)}" for key, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def distribution_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


@cache
def input_fields(member: type[Member]) -> tuple[str, ...]:
    found = []
    info = msgspec.inspect.type_info(member)
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        kind = field.type
        kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
        marks = [k.extra or {} for k in kinds if isinstance(k, msgspec.inspect.Metadata)]
        if any(mark.get("input") for mark in marks):
            found.append(field.name)
    return tuple(found)


@cache
def table(layer: str) -> Mapping[str, str]:
    """The layer's members, name → ``"module:Class"``: our own, then those of other packages."""
    own: dict[str, str] = importlib.import_module(f"dlas.{layer}").MEMBERS
    others = {e.name: e.value for e in importlib.metadata.entry_points(group=f"dlas.{layer}")}
    return {**others, **own}


def member(layer: str, name: str, path: str = "$") -> type[Member]:
    """The class behind a name, imported now. SpecError names the near misses."""
    known = table(layer)
    if name not in known:
        raise SpecError(path, f"{name!r} is not one of the {layer}{did_you_mean(name, known)}")
    module, _, attribute = known[name].partition(":")
    found: type[Member] = getattr(importlib.import_module(module), attribute)
    return found


def did_you_mean(word: str, known: Any) -> str:
    """``"; did you mean 'sparsity'?"`` where one is near, else all that are known."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(names)}" if names else "; it takes no fields"
