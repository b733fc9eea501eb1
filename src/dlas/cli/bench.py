"""``dlas bench``: dlas beside the runtimes that one would use instead, timed in turns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlas.cli.bench_analysis import analysis
from dlas.cli.bench_harness import harness
from dlas.cli.bench_tuning import tuning
from dlas.cli.options import LevelsOption, shares

if TYPE_CHECKING:
    from dlas.bench.run import Bench
    from dlas.hardware.base import Hardware

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    help="Time dlas beside ONNX Runtime, OpenVINO and PyTorch, in turns on this machine.",
)

app.command()(tuning)
app.command()(analysis)
app.command()(harness)

#: Layers compile in a moment: starting the compilers takes longer, so many share one start.
LAYERS_TOGETHER = 12
#: Where whole networks are among them, whose executables take gigabytes.
CASES_TOGETHER = 3

JsonOption = Annotated[
    Path | None, typer.Option("--json", help="Write the rows here, anew after every case.")
]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Cores that one inference uses.")]
ContendersOption = Annotated[
    str, typer.Option(help="Names with commas between them (all usual ones).")
]
BudgetOption = Annotated[
    float, typer.Option(min=0.01, help="Seconds to run each contender of a case, at most.")
]
KeepOption = Annotated[
    Path | None, typer.Option("--store", help="Keep what is compiled in this store (nowhere).")
]


@app.command()
def networks(
    json: JsonOption = None,
    threads: ThreadsOption = 1,
    networks: Annotated[
        str, typer.Option(help="Names with commas between them (the paper's seven).")
    ] = "",
    contenders: ContendersOption = "",
    time_budget: BudgetOption = 10.0,
    store: KeepOption = None,
) -> None:
    """Whole networks with random weights, one image at a time."""
    from dlas.bench.cases import PAPER, network_cases
    from dlas.bench.contenders import choose
    from dlas.bench.run import Bench

    cases = network_cases(_names(networks) or PAPER)
    chosen = choose(_names(contenders))
    _run(Bench(cases, chosen, _this_machine(time_budget), threads, root=store), json)


@app.command()
def layers(
    json: JsonOption = None,
    threads: ThreadsOption = 1,
    networks: Annotated[
        str,
        typer.Option(
            help="Networks whose layers are timed, and `grouped` for 3×3 layers of many groups "
            "(resnet18-cifar,resnet50,mobilenetv2,grouped)."
        ),
    ] = "",
    contenders: ContendersOption = "",
    time_budget: BudgetOption = 2.0,
    store: KeepOption = None,
) -> None:
    """Every distinct convolution of some networks, each by itself."""
    from dlas.bench.contenders import choose
    from dlas.bench.layers import USUAL, layer_cases
    from dlas.bench.run import Bench

    cases = layer_cases(_names(networks) or USUAL)
    chosen = choose(_names(contenders))
    device = _this_machine(time_budget)
    _run(Bench(cases, chosen, device, threads, LAYERS_TOGETHER, store), json)


@app.command()
def sparse(
    json: JsonOption = None,
    threads: ThreadsOption = 1,
    networks: Annotated[
        str,
        typer.Option(
            help="Networks, and `resnet18-cifar-3x3` for its 3×3 layers (that, resnet18-cifar, "
            "vgg16-cifar, resnet50, mobilenetv2-cifar, mobilenetv2)."
        ),
    ] = "",
    levels: LevelsOption = "50,80,90,95",
    formats: Annotated[str, typer.Option(help="Weight formats.")] = "csr,bsr_16x1",
    contenders: ContendersOption = "",
    time_budget: BudgetOption = 2.0,
    store: KeepOption = None,
) -> None:
    """Layers and networks with zeros: formats that skip them beside dense ones and the peers."""
    from dlas.bench.contenders import choose
    from dlas.bench.run import Bench
    from dlas.bench.sparse import USUAL, sparse_cases, sparse_contenders

    found = shares(levels, "--levels")
    named = _names(formats)
    cases = sparse_cases(_names(networks) or USUAL, found, named)
    chosen = choose(_names(contenders), sparse_contenders(named))
    device = _this_machine(time_budget)
    _run(Bench(cases, chosen, device, threads, len(found), store), json)


@app.command()
def precision(
    json: JsonOption = None,
    threads: ThreadsOption = 1,
    networks: Annotated[
        str,
        typer.Option(
            help="Networks, and NETWORK-3x3, -1x1 or -depthwise for its layers of that kind "
            "(resnet18-cifar-3x3, resnet50-1x1, mobilenetv2-depthwise, the paper's seven)."
        ),
    ] = "",
    precisions: Annotated[
        str, typer.Option(help="Besides float32, with commas between them (all).")
    ] = "bfloat16,float16,int8",
    contenders: ContendersOption = "",
    time_budget: BudgetOption = 2.0,
    store: KeepOption = None,
) -> None:
    """Layers and networks in float32, bfloat16, float16 and int8."""
    from dlas.bench.contenders import choose
    from dlas.bench.precision import USUAL, precision_cases, precision_contenders
    from dlas.bench.run import Bench

    cases = precision_cases(_names(networks) or USUAL, _names(precisions))
    chosen = choose(_names(contenders), precision_contenders())
    device = _this_machine(time_budget)
    _run(Bench(cases, chosen, device, threads, CASES_TOGETHER, store), json)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _this_machine(time_budget_s: float) -> Hardware:
    from dlas.hardware.local import Local
    from dlas.measure.protocol import Protocol

    return Local(protocol=Protocol(time_budget_s=time_budget_s))


def _run(bench: Bench, json: Path | None) -> None:
    """Write the rows after every case, and print the tables; after Ctrl-C those of what is done."""
    from rich.console import Console

    from dlas.bench.rows import Fault, PrecisionRow, Row, SparseRow, write_rows
    from dlas.bench.tables import (
        case_table,
        doubt_lines,
        emulated_lines,
        fault_lines,
        mean_table,
        precision_table,
        speedup_table,
    )
    from dlas.cli.progress import Left
    from dlas.measure.conditions import Flag

    console = Console()
    rows: list[Row | Fault] = []
    doubts: list[Flag] = []
    if json is not None:
        write_rows(rows, json)  # a place that cannot be written is told before the work
    title = f"{len(bench.cases)} cases, {len(bench.contenders)} contenders"
    stopped = False
    try:
        with Left(console, title) as left:
            for finished in bench.run(left):
                rows += finished.rows
                doubts += finished.doubts
                if json is not None:
                    write_rows(rows, json)
    except KeyboardInterrupt:
        stopped = True
    if rows:
        console.print(case_table(rows), *fault_lines(rows), sep="\n", markup=False, highlight=False)
        console.print()
        kind = next((type(row) for row in rows if isinstance(row, Row)), Row)
        means = {SparseRow: speedup_table, PrecisionRow: precision_table}.get(kind, mean_table)
        console.print(means(rows))
        for line in emulated_lines(rows):
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    for line in doubt_lines(doubts, sum(isinstance(row, Row) for row in rows)):
        console.print(line, style="yellow", soft_wrap=True, markup=False)
    if stopped:
        done = len({row.case for row in rows})
        console.print(f"Stopped after {done} of {len(bench.cases)} cases.")
        raise typer.Exit(130)
