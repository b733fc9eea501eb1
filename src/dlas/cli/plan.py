"""``dlas plan``: what a study would do."""

from __future__ import annotations

from dlas.cli.options import StoreOption, StudyFile


def plan(study: StudyFile, store: StoreOption = None) -> None:
    """Show what a run would do: what is there, what is to be made, how long it should take."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from dlas.layer import LAYERS
    from dlas.report.quantities import count
    from dlas.store.store import open_store
    from dlas.study.making import Making, usual_limits
    from dlas.study.plan import make_plan
    from dlas.study.remaining import Remaining
    from dlas.study.space import Study
    from dlas.study.watch import Watcher

    console = Console()
    place = open_store(store)
    opened = Study.open(study)
    planned = make_plan(opened.stacks, place)
    jobs = usual_limits().jobs
    making = Making(planned, place, Watcher(), Remaining(planned, jobs))
    waiting = making.look()
    todo = {n.key for n in waiting} | {n.key for n in planned.pending if n.layer == "hardware"}

    table = Table(title=f"{opened.name}: {count(len(planned.chains), 'stack')}")
    for heading in ("layer", "choices", "to do", "there", "failed", "time"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for layer in LAYERS:
        nodes = [node for node in planned.nodes.values() if node.layer == layer]
        new = [node for node in nodes if node.key in todo]
        failed = sum(planned.ended(node.key) is not None for node in nodes)
        seconds = sum(planned.seconds(node) for node in new) / (1 if layer == "hardware" else jobs)
        there = len(nodes) - len(new) - failed
        row = (len({str(n.spec) for n in nodes}), len(new), there, failed)
        table.add_row(layer, *map(str, row), f"{seconds:.0f} s" if new else "")
    console.print(table)
    for sentence, many in opened.dropped.items():
        dropped = count(many, "combination")
        console.print(f"{dropped} dropped: {escape(sentence)}", soft_wrap=True)
    missing = {m.missing() for m in planned.members.values()} - {None}
    for sentence in sorted(map(str, missing)):
        console.print(f"[yellow]missing[/] {escape(sentence)}", soft_wrap=True)
    total = Remaining(planned, jobs).expect(
        planned.nodes[key] for key in planned.nodes if key in todo
    )
    console.print(f"{len(todo)} steps to do, about {total:.0f} s")
