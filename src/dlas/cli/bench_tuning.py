"""``dlas bench tuning``: how good tuning is after so much measuring, and so much time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tuning(
    json: Annotated[
        Path | None, typer.Option("--json", help="Write the rows here, anew after every row.")
    ] = None,
    networks: Annotated[
        str, typer.Option(help="Names with commas between them (the paper's seven).")
    ] = "",
    algorithm: Annotated[
        str, typer.Option(help="That layers are computed by, one for each or cheapest.")
    ] = "cheapest",
    most: Annotated[
        int, typer.Option(min=2, help="Candidates of a layer that are measured, at most.")
    ] = 32,
    auto_layers: Annotated[
        int, typer.Option(min=0, help="Layers that MetaSchedule searches, minutes each.")
    ] = 6,
    auto_trials: Annotated[int, typer.Option(min=1, help="Candidates that it measures.")] = 64,
    whole: Annotated[
        bool, typer.Option("--whole/--layers-only", help="Whether whole networks are tuned, too.")
    ] = True,
    time_budget: Annotated[
        float, typer.Option(min=0.01, help="Seconds to run each executable, at most.")
    ] = 4.0,
) -> None:
    """Quality of tuning against measured candidates and time: by templates, with a model, with the
    records of other networks only, at random, and by MetaSchedule; whole networks per layer."""
    from rich.console import Console

    from dlas.bench.cases import NETWORKS, PAPER, known
    from dlas.bench.contenders import needs_more
    from dlas.bench.rows import write_rows
    from dlas.bench.tuning.rows import TuningRow
    from dlas.bench.tuning.run import TuningBench
    from dlas.bench.tuning.tables import fault_lines, tables
    from dlas.cli.progress import Left
    from dlas.errors import InputError
    from dlas.hardware.local import Local
    from dlas.layer import did_you_mean
    from dlas.measure.protocol import Protocol
    from dlas.report.quantities import count
    from dlas.systems.tvm import Tvm

    names = tuple(name.strip() for name in networks.split(",") if name.strip())
    possible = [each for each in Tvm.algorithms if not needs_more(each)]
    if algorithm not in possible:
        near = did_you_mean(algorithm, possible)
        raise InputError(f"--algorithm: {algorithm!r} is not an algorithm of dlas bench{near}")
    bench = TuningBench(
        device=Local(protocol=Protocol(time_budget_s=time_budget)),
        networks=known(names or PAPER, NETWORKS, "network"),
        algorithm=algorithm,
        most=most,
        auto_layers=auto_layers,
        auto_trials=auto_trials,
        whole=whole,
    )
    console = Console()
    rows: list[TuningRow] = []
    if json is not None:
        write_rows(rows, json)  # a place that cannot be written is told before the work
    stopped = False
    try:
        with Left(console, f"tuning, {count(len(bench.networks), 'network')}") as left:
            for row in bench.run(left):
                rows.append(row)
                if json is not None:
                    write_rows(rows, json)
    except KeyboardInterrupt:
        stopped = True
    for table in tables(rows):
        console.print(table)
        console.print()
    for line in fault_lines(rows):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if stopped:
        console.print("Stopped before the end.")
        raise typer.Exit(130)
