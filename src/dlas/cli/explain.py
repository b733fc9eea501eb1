"""``dlas explain``: what a stack's result rests on."""

from __future__ import annotations

from dlas.cli.options import StackKey, StoreOption


def explain(stack: StackKey, store: StoreOption = None) -> None:
    """Explain a stack: its chain of choices, with keys, versions, outcomes and numbers."""
    import json

    from rich.console import Console
    from rich.markup import escape

    from dlas.cli.stacks import find_key
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
    for measured in place.results.observations(chain[:1]).get(chain[0], []):
        console.print(f"measured {measured.taken_at}: {len(measured.samples_s)} samples")
