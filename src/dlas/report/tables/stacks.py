"""The stacks that a table is about: those of all its studies, on one machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from dlas.errors import InputError
from dlas.report.rows import machines, ready
from dlas.store.archive import StudyResults, joined


def together(found: Sequence[StudyResults]) -> StudyResults:
    """The studies as one. InputError where they were measured on several machines."""
    whole = joined(found)
    several = [machine for machine in machines(ready(whole.frame)) if machine]
    if len(several) > 1:
        raise InputError(
            f"a table is of one machine, these stacks were timed on {len(several)}: "
            f"{'; '.join(several)}"
        )
    return whole


def stacks_of(
    found: Sequence[StudyResults], threads: str = "", batch: int | None = 1
) -> pd.DataFrame:
    """The stacks of all studies, ready for people; of this many threads and images at once, where
    that is said. A network that was run on several data sets is another one on each: "mobilenetv2
    on cifar10"."""
    frame = ready(together(found).frame)
    pairs = list(zip(frame["network"], frame["dataset"], strict=True))
    names = {pair: _named(*pair, {d for n, d in set(pairs) if n == pair[0]}) for pair in set(pairs)}
    frame["network"] = [names[pair] for pair in pairs]
    if batch is not None:
        frame = frame[frame["batch"] == batch]
    return frame[frame["threads"] == whole_number("threads", threads)] if threads else frame


def _named(network: str, dataset: str, datasets: set[str]) -> str:
    if len(datasets) == 1:
        return network
    brief = len({each.partition("(")[0] for each in datasets}) == len(datasets)
    return f"{network} on {dataset.partition('(')[0] if brief else dataset}"


def by_system(
    frame: pd.DataFrame, same: list[str], cell: Callable[[pd.DataFrame], str]
) -> tuple[list[str], list[list[str]]]:
    """The systems; and a row for each group of stacks with the ``same`` choices: these, then the
    cell of each system's stacks among them, of which there may be none."""
    systems = list(dict.fromkeys(frame["software"]))
    rows = [
        [*map(str, names), *(cell(group[group["software"] == system]) for system in systems)]
        for names, group in frame.groupby(same, sort=False)
    ]
    return systems, rows


def whole_number(name: str, text: str) -> int:
    """An option's value; InputError where it is none."""
    if not text.isdecimal():
        raise InputError(f"{name}={text} is not a whole number")
    return int(text)
