"""Which stacks a claim speaks of: a table of column → what must stand there.

``network = "vgg16"`` · ``primitive = ["direct", "gemm"]`` any of them · ``format = "bsr_*"`` a
pattern · ``compression = "not none"`` · ``["not none", "not int8"]`` none of them ·
``pixels = "<= 4096"`` for numbers. All must hold at once.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from dlas.errors import SpecError
from dlas.layer import did_you_mean

Value = str | int | float | tuple[str | int | float, ...]
Selector = dict[str, Value]

#: The level of ``tuning`` that ``judge.py`` gives a meaning: each kind of tuning in its turn.
TUNED = "tuned"
_OF_TUNED = ("auto", "template")

TEXT = (
    "dataset", "network", "compression", "optimizations", "primitive", "format", "software",
    "tuning", "precision", "machine", "device", "processor", "model", "algorithm", "system",
)  # fmt: skip
NUMBERS = (
    "pixels", "threads", "batch", "accuracy", "baseline_accuracy", "macs", "parameters",
    "promised_speedup",
)  # fmt: skip
#: Columns with numbers in [0, 1], though quantities of these names are in points.
_SHARES = ("accuracy", "baseline_accuracy")
_COMPARISON = re.compile(r"(<=|>=|<|>)\s*([-+0-9.eE]+)")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_NOT = "not "
_WILD = re.compile(r"[*?]|\[.*?\]")


def check(selector: Mapping[str, Value], path: str) -> None:
    """SpecError for a column that is none, or a number's condition that cannot be read."""
    for column, value in selector.items():
        place = f"{path}.{column}"
        if column not in TEXT + NUMBERS:
            raise SpecError(
                place, f"not a column that selects{did_you_mean(column, TEXT + NUMBERS)}"
            )
        if value == ():
            raise SpecError(place, "an empty list selects nothing")
        levels = _levels(value)
        for one in levels:
            _check_value(column, one, place)
        if len({_negated(one) for one in levels}) > 1:
            listed = ", ".join(repr(one) for one in levels)
            raise SpecError(place, f"[{listed}]: either levels, or each with {_NOT.strip()!r}")


def check_types(selector: Mapping[str, Any], path: str) -> None:
    """SpecError for a level that is neither a text nor a number, nor a list of these."""
    for column, value in selector.items():
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, bool) or not isinstance(one, (str, int, float)):
                place = f"{path}.{column}"
                raise SpecError(
                    place, f"{one!r} is neither a text nor a number, nor a list of these"
                )


def _check_value(column: str, value: str | int | float, place: str) -> None:
    if column in TEXT and not isinstance(value, str):
        raise SpecError(place, f"{value!r} is not a text")
    if column in TEXT and isinstance(value, str) and _COMPARISON.fullmatch(value.strip()):
        raise SpecError(place, f"{value!r} compares numbers, and {column} is a text")
    if column in NUMBERS:
        match = _COMPARISON.fullmatch(str(value).strip())
        try:
            bound = float(match[2] if match else "" if isinstance(value, str) else value)
        except ValueError:
            remedy = 'a number or a comparison such as "<= 4096"'
            raise SpecError(place, f"{value!r} is not {remedy}") from None
        if column in _SHARES and bound > 1:
            said = f"{match[1]} {bound / 100:g}" if match else f"{bound / 100:g}"
            raise SpecError(place, f"{value!r}, but {column} is a share in [0, 1]: {said}")


def names_tuned(selector: Mapping[str, Value]) -> bool:
    """Whether it asks for "tuned", so that what that is matters."""
    return TUNED in _levels(selector.get("tuning", ()))


def _levels(value: Value) -> tuple[str | int | float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _negated(value: str | int | float) -> bool:
    return isinstance(value, str) and value.startswith(_NOT)


def level_test(value: Value) -> Callable[[str | float], bool]:
    """Whether a level of a column is one that the selector takes; an absent one never is."""
    if isinstance(value, tuple):
        tests = [level_test(one) for one in value]
        joined = all if any(_negated(one) for one in value) else any
        return lambda level: joined(test(level) for test in tests)
    if not isinstance(value, str):
        return lambda level: level == value
    match = _COMPARISON.fullmatch(value.strip())
    if match:
        compare, bound = _COMPARE[match[1]], float(match[2])
        return lambda level: bool(compare(level, bound))
    if value.startswith(_NOT):
        pattern = value.removeprefix(_NOT)
        others = _OF_TUNED if pattern == TUNED else ()
        return lambda level: (
            level not in ("", *others) and not fnmatch.fnmatchcase(str(level), pattern)
        )
    return lambda level: fnmatch.fnmatchcase(str(level), value)


def words(*selectors: Mapping[str, Value]) -> str:
    """``compression = weight_pruning and tuning = auto or template``: what all of them ask."""
    parts = []
    for column, value in dict.fromkeys(item for s in selectors for item in s.items()):
        choices = [str(choice) for choice in _levels(value)]
        compared, negated = _COMPARISON.match(choices[0]), _negated(choices[0])
        levels = [choice.removeprefix(_NOT) for choice in choices]
        text = " or ".join(" or ".join(_OF_TUNED) if each == TUNED else each for each in levels)
        sign = " " if compared else " ≠ " if negated else " = "
        parts.append(f"{column}{sign}{text}")
    return " and ".join(parts) or "any choices"


def short(selector: Mapping[str, Value]) -> str:
    """The choices alone, as a sentence names a contender: ``weight_pruning with gemm``."""
    chosen = dict(selector)
    if chosen.get("compression") == "none" and chosen.get("format") == "dense":
        del chosen["format"]
    return " with ".join(_brief(column, value) for column, value in chosen.items()) or "any stack"


def _brief(column: str, value: Value) -> str:
    levels = _levels(value)
    if column not in TEXT or any(_negated(level) for level in levels):
        return words({column: value})
    if column == "compression" and value == "none":
        return "no compression"
    if "*" in levels:
        return f"any {column}"
    return " or ".join(_WILD.sub("…", str(level)) for level in levels)
