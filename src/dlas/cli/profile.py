"""``dlas profile``: where the time of a stack goes, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlas.cli.options import StackKey, StoreOption

if TYPE_CHECKING:
    from rich.table import Table

    from dlas.analysis.profiles import ProfileRow, ProfileTable
    from dlas.node import Node
    from dlas.store.store import Store

#: Runs of a profile that is measured on the spot, and about how many seconds they may take.
RUNS, FEWEST, SECONDS = 10, 3, 5.0
#: Ratios above it need no decimals.
FEW = 10
#: Characters of the longest bar.
BAR = 12


def profile(
    stack: StackKey,
    layers: Annotated[bool, typer.Option("--layers", help="Every row, small ones too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    store: StoreOption = None,
) -> None:
    """Show where the time of a measured stack goes, layer by layer, against what arithmetic
    promises. What was never profiled is now, if its executable is in the store."""
    import dataclasses

    import msgspec
    from rich.console import Console
    from rich.text import Text

    from dlas.analysis.profiles import profile_table, promised_layers, without_small
    from dlas.analysis.sparse_stacks import recorded_chain
    from dlas.cli.stacks import find_key
    from dlas.store.store import open_store

    place = open_store(store)
    key = find_key(place, stack)
    chain = recorded_chain(place, key)
    rows, latency_s, when = _measured(place, key, chain)
    network = next(node.parent for node in chain if node.layer == "algorithms")
    table = profile_table(promised_layers(place.artifacts.find(network)), rows, latency_s)
    if json:
        found: dict[str, Any] = dataclasses.asdict(table)
        found |= {"stack": key, "measured": when, "notes": table.sentences()}
        print(msgspec.json.encode(found).decode())
        return
    console = Console()
    console.print(_drawn(table.rows if layers else without_small(table), when))
    console.print(*map(Text, _sums(table)), sep="\n")


def _measured(
    store: Store, key: str, chain: Sequence[Node]
) -> tuple[Sequence[Any], float | None, str]:
    """The profile in the last measurement, the median latency, and when that was; else now."""
    from dlas.analysis.profiles import recorded_profile
    from dlas.errors import InputError, Refused
    from dlas.measure.statistics import median

    why = "it was not measured"
    for measured in store.results.last_observations([key]).values():
        rows, why = recorded_profile(measured.record)
        if rows:
            return rows, median(measured.samples_s), f"measured {measured.taken_at}"
    system = next(node.key for node in chain if node.layer == "systems")
    folder = store.artifacts.find(system)
    if folder is None:
        raise InputError(
            f"{key[:12]} has no profile: {why}; and its executable is not in the store: run its "
            "study (dlas run)"
        )
    try:
        return _now(chain[-1], folder)
    except Refused as reason:
        raise InputError(f"{key[:12]} has no profile: {reason}") from None


def _now(leaf: Node, folder: Path) -> tuple[Sequence[Any], float, str]:
    """A profile and some runs beside it, on the device of a stack, which must be this one."""
    from typing import cast

    from dlas.errors import InputError
    from dlas.hardware.base import Hardware
    from dlas.measure.statistics import median
    from dlas.spec import parse_member

    device = cast(Hardware, parse_member("hardware", leaf.spec, "$.hardware"))
    elsewhere = [
        f"{name} is {mine}, there {theirs}"
        for name, mine in device.fingerprint().items()
        if (theirs := leaf.tools.get(name)) != mine
    ]
    if elsewhere:
        raise InputError(f"the stack belongs to another machine than this one: {elsewhere[0]}")
    session = device.open(folder)
    try:
        session.wait()
        session.run(1)
        (once_s,) = session.run(1)
        count = max(FEWEST, min(RUNS, int(SECONDS / 2 / max(once_s, 1e-9))))
        samples_s = session.run(count)
        rows = session.profile(count)
    finally:
        session.close()
    return rows, median(samples_s), f"measured now, {count} runs, not stored"


def _drawn(rows: Sequence[ProfileRow], when: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=f"where the time goes; {when}", title_justify="left", title_style="bold",
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    table.add_column("layer", overflow="fold")
    table.add_column("computed by", overflow="ellipsis", no_wrap=True, max_width=24, style="dim")
    for title in ("promised", "ms", "share", "×"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    longest = max((row.share or 0.0 for row in rows), default=0.0) or 1.0
    for row in rows:
        style = "" if row.kind == "layer" else "dim"
        bar = "█" * round(BAR * (row.share or 0.0) / longest)
        numbers = (
            _percent(row.promised),
            "–" if row.seconds is None else f"{1e3 * row.seconds:.3f}",
            _percent(row.share),
            "" if row.ratio is None else f"{row.ratio:.{2 if row.ratio < FEW else 0}f}",
        )
        names = (row.name, row.op) if row.kind == "layer" else (row.op or row.name, "")
        table.add_row(Text(names[0], style), names[1], *numbers, Text(bar))
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _sums(table: ProfileTable) -> list[str]:
    total = f"sum {1e3 * table.sum_s:.3f} ms"
    if table.latency_s is not None:
        total += f", median latency {1e3 * table.latency_s:.3f} ms"
    return [total, *table.sentences()]
