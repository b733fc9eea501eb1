"""Which stacks a claim speaks of: a table of column → what must stand there.

``network = "vgg16"`` · ``primitive = ["direct", "gemm"]`` any of them · ``format = "bsr_*"`` a
pattern · ``compression = "not none"`` · ``pixels = "<= 4096"`` for numbers. All must hold at once.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dlas.errors import SpecError
from dlas.layer import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

Value = str | int | float | tuple[str | int | float, ...]
Selector = dict[str, Value]

#: The level of ``tuning`` that ``settings.py`` gives a meaning: each kind of tuning in its turn.
TUNED = "tuned"

TEXT = (
    "dataset", "network", "compression", "optimizations", "primitive", "format", "software",
    "tuning", "precision", "machine", "device", "processor", "model", "algorithm", "system",
)  # fmt: skip
NUMBERS = (
    "pixels", "threads", "batch", "accuracy", "baseline_accuracy", "macs", "parameters",
    "promised_speedup",
)  # fmt: skip
_COMPARISON = re.compile(r"(<=|>=|<|>)\s*([-+0-9.eE]+)")
_NOT = "not "


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
        for one in value if isinstance(value, tuple) else (value,):
            _check_value(column, one, place)


def _check_value(column: str, value: str | int | float, place: str) -> None:
    if column in TEXT and not isinstance(value, str):
        raise SpecError(place, f"{value!r} is not a text")
    if column in NUMBERS and isinstance(value, str):
        match = _COMPARISON.fullmatch(value.strip())
        try:
            float(match[2] if match else "")
        except ValueError:
            remedy = 'a number or a comparison such as "<= 4096"'
            raise SpecError(place, f"{value!r} is not {remedy}") from None


def mask(frame: pd.DataFrame, *selectors: Mapping[str, Value]) -> pd.Series:
    """True for the rows that every selector takes; a row whose value is absent is not taken."""
    import pandas as pd

    taken = pd.Series(True, index=frame.index)
    for selector in selectors:
        for column, value in selector.items():
            taken &= _holds(frame[column], value)
    return taken


def _holds(values: pd.Series, value: Value) -> pd.Series:
    import pandas as pd

    if isinstance(value, tuple):
        found = pd.Series(False, index=values.index)
        for one in value:
            found |= _holds(values, one)
        return found
    if not isinstance(value, str):
        return pd.to_numeric(values, errors="coerce") == value
    match = _COMPARISON.fullmatch(value.strip())
    if match:
        numbers, bound = pd.to_numeric(values, errors="coerce"), float(match[2])
        compare = {"<=": numbers.le, ">=": numbers.ge, "<": numbers.lt, ">": numbers.gt}
        return compare[match[1]](bound)
    pattern = value.removeprefix(_NOT)
    known = {text: fnmatch.fnmatchcase(text, pattern) for text in set(values.astype(str))}
    taken = values.astype(str).map(known).astype(bool)
    return ~taken & (values.astype(str) != "") if value.startswith(_NOT) else taken


def words(*selectors: Mapping[str, Value]) -> str:
    """``compression = weight_pruning and tuning = auto or template``."""
    parts = []
    for column, value in {k: v for s in selectors for k, v in s.items()}.items():
        choices = value if isinstance(value, tuple) else (value,)
        text = " or ".join(str(choice) for choice in choices)
        compared = isinstance(choices[0], str) and _COMPARISON.match(choices[0])
        negated = text.startswith(_NOT)
        sign = " " if compared else " ≠ " if negated else " = "
        parts.append(f"{column}{sign}{text.removeprefix(_NOT)}")
    return " and ".join(parts) or "any choices"


def short(*selectors: Mapping[str, Value]) -> str:
    """The choices alone, as a sentence names a contender: ``weight_pruning with gemm``."""
    parts = [
        str(value) if isinstance(value, str) and not _COMPARISON.match(value) else words({k: value})
        for s in selectors
        for k, value in s.items()
    ]
    return ", ".join(parts) or "all stacks"
