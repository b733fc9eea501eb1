"""``dlas explain-speedup``: where a promised speedup went, and what zeros would bring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlas.cli.options import LevelsOption, StoreOption, shares
from dlas.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from dlas.node import Node
    from dlas.store.store import Store


def explain_speedup(
    stack: Annotated[
        str,
        typer.Argument(
            help="A stack: the first digits of its key, as `dlas show` prints; with --predict also "
            "the TOML file of a study with one network."
        ),
    ],
    predict: Annotated[
        bool, typer.Option(help="What zeros would bring to the network before it is optimized.")
    ] = False,
    layers: Annotated[bool, typer.Option(help="Every layer too.")] = False,
    format: Annotated[str, typer.Option(help="With --predict: csr, bsr_16x1, …")] = "csr",
    primitive: Annotated[
        str, typer.Option(help="With --predict: the algorithm that computes.")
    ] = "cheapest",
    levels: LevelsOption = "50,80,90,95",
    json: Annotated[
        Path | None,
        typer.Option(
            help="With --predict: write seconds by layer and level here, for `costs` of "
            "weight_pruning."
        ),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Explain what zeros brought a measured stack, against what they promised, part by part; or
    with --predict what they would bring."""
    from rich.console import Console

    from dlas.cli.stacks import find_chain, find_key
    from dlas.store.store import open_store

    console, place = Console(), open_store(store)
    if predict:
        found = shares(levels, "--levels")
        _predict(console, place, find_chain(place, stack), (primitive, format), found, layers, json)
        return
    if json is not None:
        raise InputError("--json writes what is predicted: add --predict")
    _explain(console, place, find_key(place, stack), layers)


def _explain(console: Console, store: Store, key: str, layers: bool) -> None:
    from dlas.algorithms.sparse.form import machine_of
    from dlas.analysis.sparse_speedup import explained
    from dlas.analysis.sparse_stacks import sparse_stack
    from dlas.report.sparse_tables import explanation_table, layer_table
    from dlas.target import host

    stack = sparse_stack(store, key)
    cost, slot_s = stack.cost(machine_of(host())), _slot_s(store, stack.threads)
    console.print(explanation_table(explained(cost, slot_s, stack.stack_s, stack.dense_s), cost))
    for doubt in stack.doubts:
        console.print(doubt, style="yellow", soft_wrap=True, markup=False)
    if layers:
        console.print()
        console.print(layer_table(cost, slot_s))


def _predict(
    console: Console,
    store: Store,
    chain: Sequence[Node],
    choice: tuple[str, str],
    levels: tuple[float, ...],
    layers: bool,
    json: Path | None,
) -> None:
    from dlas.algorithms.sparse.form import machine_of
    from dlas.analysis.sparse_prediction import predicted, write_costs
    from dlas.analysis.sparse_stacks import model_network
    from dlas.report.sparse_tables import predicted_layers, prediction_table
    from dlas.target import host

    network = model_network(store, chain)
    found = list(predicted(network, *choice, levels, machine_of(host())))
    threads = next(node.spec["threads"] for node in chain if node.layer == "systems")
    slot_s = _slot_s(store, threads)
    console.print(prediction_table(found, slot_s))
    if layers:
        console.print()
        console.print(predicted_layers(found, slot_s))
    if json is not None:
        write_costs(found, slot_s, json)
        console.print(f"seconds by layer and level written to {json}", soft_wrap=True, markup=False)


def _slot_s(store: Store, threads: int) -> float:
    """Seconds in which this machine, at the most that it was measured to do, multiplies a vector by
    a number and adds it up."""
    from dlas.bench.rows import peaks_of
    from dlas.hardware.probe import cached_probe
    from dlas.target import host

    probe = cached_probe(store.root)
    peak = peaks_of(probe, threads).get("float32")
    if peak is None:
        why = probe.absent.get(
            "fp32", "other work was on its cores; run dlas doctor on a quiet one"
        )
        raise InputError(f"the ceiling of this machine is not known: {why}")
    return 2 * host().lanes / peak
