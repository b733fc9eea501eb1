"""From what a user wrote to frozen members: every mistake gets its place and a remedy."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from dlas.errors import SpecError
from dlas.layer import Member, did_you_mean, input_fields, member, table

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}|\$(\w+)")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_NOUN = {
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.StrType: "a text",
    inspect.BoolType: "true or false",
    inspect.VarTupleType: "a list",
    inspect.StructType: "a table",
    inspect.DictType: "a table",
}
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def parse_member(layer: str, value: Any, path: str, folder: Path | None = None) -> Member:
    """A member from ``"name"``, ``{"name": …, field: …}`` or the short ``{"onnx": "net.onnx"}``
    (a member's name with its leading field). Relative input paths are taken from ``folder``."""
    if isinstance(value, Member):
        return value
    name, fields = _name_and_fields(layer, value, path)
    kind = member(layer, name, f"{path}.name" if isinstance(value, Mapping) else path)
    for key in input_fields(kind):
        if isinstance(fields.get(key), str):
            fields[key] = expand_path(fields[key], folder, f"{path}.{key}")
    parsed = parse_struct(kind, fields, path, what=name)
    parsed.check(path)
    return parsed


def _name_and_fields(layer: str, value: Any, path: str) -> tuple[str, dict[str, Any]]:
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, Mapping):
        raise SpecError(path, f"{value!r} is neither a name nor a table with one")
    fields = dict(value)
    if "name" in fields:
        name = fields.pop("name")
        if not isinstance(name, str):
            raise SpecError(f"{path}.name", f"{name!r} is not a name")
        return name, fields
    named = [key for key in fields if key in table(layer)]
    if len(named) != 1:
        raise SpecError(path, f"has no name; there are {', '.join(sorted(table(layer)))}")
    kind = member(layer, named[0])
    leading = _leading_field(kind, path)
    if leading in fields:
        raise SpecError(f"{path}.{leading}", f"{named[0]} = … gives this already; keep one of them")
    fields[leading] = fields.pop(named[0])
    return named[0], fields


def _leading_field(kind: type[Member], path: str) -> str:
    """What the short form sets: the first field that must be given, else the member's own first."""
    infos = msgspec.structs.fields(kind)
    required = [info.name for info in infos if info.required]
    inherited = kind.__mro__[1].__struct_fields__  # type: ignore[attr-defined]  # a Struct too
    own = [info.name for info in infos if info.name not in inherited]
    if not required + own:
        raise SpecError(path, f"{kind.name} takes no value; write {{name = {kind.name!r}}}")
    return (required + own)[0]


def parse_struct(kind: type[_Struct], fields: Any, path: str, what: str) -> _Struct:
    """``kind`` from plain data. SpecError gives the place, the value and what is allowed there."""
    _refuse_unknown(inspect.type_info(kind), fields, path, what)
    _refuse_nonfinite(fields, path)
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _located(error, kind, fields, path, what) from None


def _refuse_unknown(info: inspect.Type, value: Any, path: str, what: str) -> None:
    for choice in _choices(info):
        if isinstance(choice, inspect.StructType) and isinstance(value, Mapping):
            known = {field.name: field.type for field in choice.fields}
            for key, item in value.items():
                if key not in known:
                    hint = did_you_mean(str(key), known)
                    raise SpecError(f"{path}.{key}", f"not a field of {what}{hint}")
                _refuse_unknown(known[key], item, f"{path}.{key}", key)
        elif isinstance(choice, inspect.VarTupleType) and isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                _refuse_unknown(choice.item_type, item, f"{path}[{index}]", what)


def _refuse_nonfinite(value: Any, path: str) -> None:
    """No field means anything at infinity or NaN, and a key could not be made of them."""
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(path, f"{value} is not a finite number")
    items = value.items() if isinstance(value, Mapping) else ()
    for key, item in items:
        _refuse_nonfinite(item, f"{path}.{key}")
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _refuse_nonfinite(item, f"{path}[{index}]")


def _located(
    error: msgspec.ValidationError, kind: type[msgspec.Struct], fields: Any, path: str, what: str
) -> SpecError:
    message, _, place = str(error).partition(" - at `$")
    place = place.rstrip("`")
    absent = re.search(r"missing required field `(\w+)`", message)
    if absent:
        return SpecError(f"{path}{place}.{absent[1]}", f"{what} needs this field")
    info: inspect.Type = inspect.type_info(kind)
    value = fields
    for name, index in _STEP.findall(place):
        info = _choices(info)[0]
        if name and isinstance(info, inspect.StructType):
            info = next(field.type for field in info.fields if field.name == name)
            value = value[name]
        elif index and isinstance(info, inspect.VarTupleType):
            info, value = info.item_type, value[int(index)]
        elif index and isinstance(info, inspect.TupleType):
            info, value = info.item_types[int(index)], value[int(index)]
    return SpecError(f"{path}{place}", f"{value!r} is not {_allowed(info, value)}")


def _choices(info: inspect.Type) -> list[inspect.Type]:
    if isinstance(info, inspect.Metadata):
        return _choices(info.type)
    if isinstance(info, inspect.UnionType):
        return [
            c for item in info.types for c in _choices(item) if not isinstance(c, inspect.NoneType)
        ]
    return [info]


def _allowed(info: inspect.Type, value: Any) -> str:
    parts = []
    for choice in _choices(info):
        if isinstance(choice, inspect.LiteralType):
            parts.append(
                "one of " + ", ".join(map(str, choice.values)) + _near(value, choice.values)
            )
        elif isinstance(choice, (inspect.IntType, inspect.FloatType)):
            interval = _interval(choice)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            whole = isinstance(choice, inspect.FloatType) or isinstance(value, int)
            noun = (
                "" if number and whole and interval else _NOUN[type(choice)] + " " * bool(interval)
            )
            parts.append(f"{noun}{interval}")
        elif isinstance(choice, inspect.TupleType):
            parts.append(f"a list of {len(choice.item_types)}")
        elif isinstance(choice, inspect.StrType) and choice.pattern:
            parts.append(f"a text that matches {choice.pattern}")
        else:
            parts.append(_NOUN.get(type(choice), type(choice).__name__))
    return " or ".join(parts)


def _near(value: Any, known: Any) -> str:
    hint = did_you_mean(str(value), map(str, known))
    return hint if "did you mean" in hint else ""


def _interval(info: inspect.IntType | inspect.FloatType) -> str:
    low, high = (
        info.ge if info.ge is not None else info.gt,
        info.le if info.le is not None else info.lt,
    )
    if low is None and high is None:
        return ""
    left = "(-inf" if low is None else f"{'[' if info.ge is not None else '('}{low:g}"
    right = "inf)" if high is None else f"{high:g}{']' if info.le is not None else ')'}"
    return f"in {left}, {right}"


def expand_path(text: str, folder: Path | None, path: str) -> str:
    """Expand ``~``, ``$NAME`` and ``${NAME:-default}``; a relative path starts at ``folder``."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        found: str | None = os.environ.get(name) or match[2]
        if found is None:
            remedy = f"write ${{{name}:-default}} or set it"
            raise SpecError(path, f"the environment variable {name} is not set; {remedy}")
        return found

    expanded = Path(_VARIABLE.sub(value, text)).expanduser()
    return str(expanded if folder is None else (folder / expanded).resolve())
