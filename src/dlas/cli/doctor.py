"""``dlas doctor``: is this machine fit to measure on, and what does it lack."""

from __future__ import annotations

from typing import Annotated

import typer

from dlas.cli.options import StoreOption

_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]mind[/]", "bad": "[red]bad[/]"}


def doctor(
    store: StoreOption = None,
    probe: Annotated[bool, typer.Option(help="Measure peak arithmetic and bandwidth (a minute, once).")] = True,
) -> None:
    """Examine this machine: is it fit to measure on, what can it do at most, what is not installed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from dlas.layer import LAYERS, member, table
    from dlas.measure.fitness import examine

    console = Console()
    findings = Table(title="fit to measure?", title_justify="left", title_style="bold")
    for heading in ("item", "value", "", "what it means"):
        findings.add_column(heading, overflow="fold")
    for finding in examine():
        advice = f"{finding.sentence} {finding.advice}".strip()
        findings.add_row(finding.item, finding.value, _MARKS[finding.verdict], escape(advice))
    console.print(findings)
    missing = {
        f"{layer} · {name}: {why}"
        for layer in LAYERS
        for name in table(layer)
        if (why := member(layer, name).missing())
    }
    for sentence in sorted(missing):
        console.print(f"[yellow]missing[/] {escape(sentence)}", soft_wrap=True)
