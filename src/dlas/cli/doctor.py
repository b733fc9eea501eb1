"""``dlas doctor``: is this machine fit to measure on, and what does it lack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dlas.cli.options import StoreOption

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dlas.hardware.probe import Probe

_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]mind[/]", "bad": "[red]bad[/]"}


def doctor(
    store: StoreOption = None,
    probe: Annotated[
        bool, typer.Option(help="Measure the peaks of arithmetic and bandwidth (once, seconds).")
    ] = True,
) -> None:
    """Examine this machine: is it fit to measure on, what can it do at most, what is missing."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from dlas.hardware.probe import cached_probe
    from dlas.layer import LAYERS, member, table
    from dlas.measure.fitness import examine
    from dlas.store.store import open_store

    console = Console()
    findings = Table(title="fit to measure?", title_justify="left", title_style="bold")
    for heading in ("item", "value", "", "what it means"):
        findings.add_column(heading, overflow="fold")
    for finding in examine():
        advice = f"{finding.sentence} {finding.advice}".strip()
        findings.add_row(finding.item, finding.value, _MARKS[finding.verdict], escape(advice))
    console.print(findings)
    if probe:
        console.print(_ceilings(cached_probe(open_store(store).root)))
    missing = {
        f"{layer} · {name}: {why}"
        for layer in LAYERS
        for name in table(layer)
        if (why := member(layer, name).missing())
    }
    for sentence in sorted(missing):
        console.print(f"[yellow]missing[/] {escape(sentence)}", soft_wrap=True)


def _ceilings(probe: Probe) -> RenderableType:
    """What this machine can do at most, as measured."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows = Table(title="at most, measured", title_justify="left", title_style="bold")
    for heading in ("what", "by", "one core", "all cores"):
        rows.add_column(heading)
    for name, best in probe.arithmetic.items():
        for ceiling in (best, *probe.others.get(name, ())):
            rates = ceiling.one_core, ceiling.all_cores
            both = (f"{rate.best / 1e9:.0f} Gop/s" for rate in rates)
            rows.add_row(name if ceiling is best else "", ceiling.instruction, *both)
    for level, ceiling in probe.reading.items():
        both = (f"{rate.best / 1e9:.0f} GB/s" for rate in (ceiling.one_core, ceiling.all_cores))
        rows.add_row(f"read {level}", f"{ceiling.working_set_bytes / 2**20:.3g} MiB", *both)
    absent = [Text(f"{name}: {sentence}") for name, sentence in probe.absent.items()]
    return Group(rows, *absent)
