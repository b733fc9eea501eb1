"""``dlas tuning``: what was measured of kernels, shown, taken to other machines, and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from dlas.tuning.record import Place, Record
    from dlas.tuning.store import TuningStore
    from dlas.tuning.summary import KernelRow, Summary

app = typer.Typer(
    name="tuning",
    no_args_is_help=True,
    help="What was measured of kernels: show it, take it to other machines, forget it.",
)

DIGITS, PROBLEMS = 12, 10
DAY_S = 86400.0
T = TypeVar("T")

FileOption = Annotated[
    Path | None,
    typer.Option("--file", help="Where records are kept (tuning.sqlite in the user's cache)."),
]


@app.command()
def show(
    primitive: Annotated[
        str | None, typer.Option(help="List the kernels of this primitive, the slowest first.")
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(help="List the candidates of the kernel whose digest starts so, by time."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write the rows here instead.")
    ] = None,
    file: FileOption = None,
) -> None:
    """Show what was measured: by primitive and place; the kernels of one primitive; the candidates
    of one kernel."""
    import msgspec
    from rich.console import Console

    from dlas.tuning.summary import by_kernel, by_time, summary

    console, store = Console(), _opened(file)
    records = _done(store.records, store)
    if primitive is not None:
        records = _of_primitive(records, primitive)
    rows: Any
    if kernel is not None:
        records = rows = by_time(_of_kernel(records, kernel))
        shown = _candidates(records)
    elif primitive is not None:
        rows = by_kernel(records)
        shown = _kernels(rows)
    else:
        rows = summary(records, _machine())
        shown = _summary(rows)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
        console.print(f"written to {json}", soft_wrap=True, markup=False)
    elif not records:
        console.print(f"no records in {store.file} yet", soft_wrap=True, markup=False)
    else:
        console.print(*shown, sep="\n")


@app.command("export")
def export_records(
    to: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, one record a line.")],
    file: FileOption = None,
) -> None:
    """Write all records to a file that `dlas tuning import` takes, here or on another machine."""
    store = _opened(file)
    number = _done(lambda: store.export(to), store)
    print(f"{_counted(number)} written to {to}")


@app.command("import")
def import_records(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` wrote.")],
    file: FileOption = None,
) -> None:
    """Take the records of a file. Those of this machine spare measuring, those of others guide the
    search. Of two of one candidate the newer stays."""
    store = _opened(file, making=True)
    found = _done(lambda: store.load(source), store)
    here = sum(each.place.machine == _machine() for each in found.records)
    for problem in found.problems[:PROBLEMS]:
        print(problem)
    if len(found.problems) > PROBLEMS:
        print(f"… {len(found.problems)} lines were skipped in all")
    print(f"{_counted(len(found.records))} taken from {source}, {here} of this machine")


@app.command()
def prune(
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Those measured before that.")
    ] = None,
    other_machines: Annotated[
        bool, typer.Option("--other-machines", help="Those of other machines.")
    ] = False,
    outdated: Annotated[
        bool,
        typer.Option(
            "--outdated",
            help="Those measured with another compiler, or other schedule templates, than the "
            "newest of this machine.",
        ),
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Those that failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which they are.")] = False,
    file: FileOption = None,
) -> None:
    """Forget the records that any of the options names."""
    import time

    from rich.console import Console

    from dlas.errors import InputError
    from dlas.tuning.store import Unwanted
    from dlas.tuning.summary import summary

    if older_than is None and not (other_machines or outdated or failed):
        raise InputError(
            "say what to forget: --older-than DAYS, --other-machines, --outdated or --failed"
        )
    store = _opened(file)
    latest = _latest(_done(store.records, store)) if outdated else None
    unwanted = Unwanted(
        before=None if older_than is None else time.time() - older_than * DAY_S,
        machine=_machine() if other_machines else None,
        compiler=None if latest is None else latest.compiler,
        revision=None if latest is None else latest.revision,
        failed=failed,
    )
    if not dry_run:
        number = _done(lambda: store.prune(unwanted), store)
        print(f"{_counted(number)} forgotten")
        return
    records = _done(lambda: store.unwanted(unwanted), store)
    if records:
        Console().print(*_summary(summary(records, _machine())), sep="\n")
    print(f"{_counted(len(records))} would be forgotten")


def _opened(file: Path | None, making: bool = False) -> TuningStore:
    """The store; InputError where it is damaged or none of ours, and then it is left alone."""
    from dlas.errors import InputError
    from dlas.tuning.store import TuningStore

    store = TuningStore(file)
    if file is not None and not making and not file.exists():
        raise InputError(f"--file {file}: there is no such file")
    fault = store.fault()
    if fault:
        raise InputError(
            f"{store.file} cannot be used ({fault}): delete it, or name another with --file"
        )
    return store


def _done(work: Callable[[], T], store: TuningStore) -> T:
    """What a compile may go on without, a person who asked for it is told."""
    from dlas.errors import StoreError

    result = work()
    if store.notes:
        raise StoreError(store.notes[0])
    return result


def _machine() -> str:
    from dlas.target import host
    from dlas.tuning.record import machine_name

    return machine_name(host())


def _latest(records: Sequence[Record]) -> Place:
    """Of the newest record of this machine."""
    from dlas.errors import InputError

    here = [each for each in records if each.place.machine == _machine()]
    if not here:
        raise InputError("--outdated: there is no record of this machine to tell what is outdated")
    return max(here, key=lambda each: each.created).place


def _of_primitive(records: Sequence[Record], primitive: str) -> list[Record]:
    """``gemm``: in every type of numbers; ``gemm float32``: in this one."""
    from dlas.errors import InputError
    from dlas.layer import did_you_mean

    names = {each.primitive for each in records}
    words = names | {name.rsplit(" ", 1)[0] for name in names}
    if primitive not in words:
        near = did_you_mean(primitive, words) if words else ""
        raise InputError(f"there are no records of {primitive!r}{near}")
    return [
        each for each in records if primitive in (each.primitive, each.primitive.rsplit(" ", 1)[0])
    ]


def _of_kernel(records: Sequence[Record], prefix: str) -> list[Record]:
    from dlas.errors import InputError

    found = [each for each in records if each.kernel.startswith(prefix)]
    kernels = sorted({each.kernel for each in found})
    if not kernels:
        raise InputError(
            f"no kernel starts with {prefix!r}: `dlas tuning show --primitive NAME` lists them"
        )
    if len(kernels) > 1:
        some = ", ".join(each[: max(DIGITS, len(prefix) + 2)] for each in kernels[:4])
        raise InputError(f"{len(kernels)} kernels start with {prefix!r}: give more of {some} …")
    return found


def _summary(found: Summary) -> list[Table]:
    primitives = _table("by primitive", "primitive", kernels=1, records=1, failed=0, here=1, age=1)
    for row in found.primitives:
        numbers = (str(each) for each in (row.kernels, row.records))
        cells = (row.primitive, *numbers, _failures(row.failed), str(row.here), _age(row.newest))
        _add(primitives, *cells)
    places = _table("by place", "machine", target=0, compiler=0, revision=1, records=1, age=1)
    for each in found.places:
        place = each.place
        machine = "this one" if each.here else place.machine
        numbers = (str(number) for number in (place.revision, each.records))
        _add(places, machine, place.target, place.compiler, *numbers, _age(each.newest))
    return [primitives, places]


def _kernels(rows: Sequence[KernelRow]) -> list[Table]:
    """One for each place."""
    tables = {}
    for row in rows:
        if row.place not in tables:
            title = f"{row.primitive} · {_place(row.place)}"
            heads = dict(ms=1, candidates=1, failed=0, workload=0, knobs=0)
            tables[row.place] = _table(title, "kernel", **heads)
        best = row.fastest
        _add(
            tables[row.place],
            row.kernel[:DIGITS],
            _milliseconds(best),
            str(row.candidates),
            _failures(row.failed),
            _numbers(row.workload),
            "" if best is None else _numbers(best.knobs),
        )
    return list(tables.values())


def _candidates(records: Sequence[Record]) -> list[Table]:
    """One for each place."""
    tables = {}
    for each in records:
        if each.place not in tables:
            title = f"{each.primitive}, {_numbers(each.workload)} · {_place(each.place)}"
            heads = dict(ms=1, estimate=1, knobs=0, status=0, age=1)
            tables[each.place] = _table(title, "candidate", **heads)
        numbers = _milliseconds(each), f"{each.estimate:.4g}"
        _add(
            tables[each.place],
            each.candidate[:DIGITS],
            *numbers,
            _numbers(each.knobs),
            each.status,
            _age(each.created),
        )
    return list(tables.values())


def _table(title: str, first: str, **heads: int) -> Table:
    """``heads``: 1 where the column holds numbers."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column(first, overflow="fold")
    for head, number in heads.items():
        table.add_column(head, overflow="fold", justify="right" if number else "left")
    return table


def _add(table: Table, *cells: str) -> None:
    from rich.markup import escape

    table.add_row(*map(escape, cells))


def _place(place: Place) -> str:
    machine = "this machine" if place.machine == _machine() else place.machine
    return f"{machine}, {place.target}, {place.compiler}, templates {place.revision}"


def _milliseconds(record: Record | None) -> str:
    return "–" if record is None or record.seconds is None else f"{1e3 * record.seconds:.4g}"


def _numbers(values: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in values.items())


def _failures(failed: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {status}" for status, number in failed.items())


def _age(created: float) -> str:
    """``"3 days"``, of what was made at that second since 1970."""
    import time

    age = max(time.time() - created, 0)
    for unit, seconds in (("days", DAY_S), ("hours", 3600.0), ("minutes", 60.0)):
        if age >= 2 * seconds:
            return f"{age / seconds:.0f} {unit}"
    return f"{age:.0f} seconds"


def _counted(number: int) -> str:
    return f"{number} record{'' if number == 1 else 's'}"
