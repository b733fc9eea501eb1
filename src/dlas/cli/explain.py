"""``dlas explain``: what a stack's result rests on."""

from __future__ import annotations

from dlas.cli.options import StackKey, StoreOption


def explain(stack: StackKey, store: StoreOption = None) -> None:
    """Explain a stack: its chain of choices, with keys, versions, outcomes and numbers; and which
    way each layer takes, where the system was left to choose."""
    import json

    from rich.console import Console
    from rich.markup import escape

    from dlas.choices import open_choices
    from dlas.cli.stacks import find_key
    from dlas.measure.statistics import median_interval
    from dlas.report.chosen import choices_table
    from dlas.store.store import open_store

    console = Console(soft_wrap=True)
    place = open_store(store)
    key = find_key(place, stack)
    nodes = place.results.nodes([key])
    outcomes = place.results.outcomes(list(nodes))
    chain = []
    while key:
        chain.append(key)
        key = nodes[key].parent
    for key in reversed(chain):
        node, outcome = nodes[key], outcomes.get(key)
        status = f"{outcome.status}, {outcome.seconds:.2f} s" if outcome else "not made yet"
        console.print(f"[bold]{node.layer}[/] {escape(node.name)}  [dim]{key[:12]}[/]  {status}")
        if outcome and outcome.message:
            console.print(f"  [yellow]{escape(outcome.message)}[/]")
        fields = {name: value for name, value in node.spec.items() if name != "name"}
        for title, values in (("spec", fields), ("content", node.content), ("tools", node.tools)):
            if values:
                console.print(f"  {title}: {escape(json.dumps(values, ensure_ascii=False))}")
        if outcome and outcome.metrics:
            numbers = ", ".join(f"{name} {value:.6g}" for name, value in outcome.metrics.items())
            console.print(f"  yields: {numbers}")
        for name, text in (outcome.facts if outcome else {}).items():
            console.print(f"  {name}: {escape(text)}")
        if place.artifacts.place(node.key).exists():
            console.print(f"  artifact: {escape(str(place.artifacts.place(node.key)))}")
    observations = place.results.observations(chain[:1]).get(chain[0], [])
    for measured in observations:
        console.print(f"measured {measured.taken_at}: {len(measured.samples_s)} samples")
    system = next(key for key in chain if nodes[key].layer == "systems")
    choices = open_choices(place.artifacts.place(system))
    if choices is not None:
        last_s = median_interval(observations[-1].samples_s).value if observations else None
        console.print()
        Console().print(choices_table(choices, last_s))
