"""``dlas sensitivity``: what each layer loses in int8 and in bfloat16."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlas.cli.options import StoreOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from dlas.node import Node
    from dlas.optimizations.int8 import Int8
    from dlas.optimizations.layer_precision import Sensitivity


def sensitivity(
    stack: Annotated[
        str,
        typer.Argument(
            help="A stack: the first digits of its key, as `dlas show` prints; or the TOML file of "
            "a study with one network. Where it has int8, its options are taken."
        ),
    ],
    samples: Annotated[int, typer.Option(min=1, help="Calibration images to measure on.")] = 64,
    json: Annotated[Path | None, typer.Option(help="Write the figures here too.")] = None,
    store: StoreOption = None,
) -> None:
    """Measure what each layer loses when it alone is int8, or bfloat16: by how many nats the class
    probabilities move. The layers at the top are those to leave in higher precision."""
    import msgspec
    from rich.console import Console

    from dlas.analysis.sparse_stacks import artifact_folder, opened_network
    from dlas.cli.stacks import find_chain
    from dlas.context import Context
    from dlas.data import open_data
    from dlas.optimizations.layer_precision import bfloat16_alone, int8_alone, measured
    from dlas.store.store import open_store

    console, place = Console(), open_store(store)
    chain = find_chain(place, stack)
    int8, key = _quantized(chain)
    network = opened_network(place, key)
    data = open_data(artifact_folder(place, next(n.key for n in chain if n.layer == "datasets")))
    with console.status("measuring") as status:
        context = Context(Path(), Path(), progress=lambda fraction, text: status.update(text))
        narrowed = {
            "int8": int8_alone(network, int8, data, context),
            "bfloat16": bfloat16_alone(network),
        }
        rows = measured(network, data, samples, narrowed, context)
    console.print(_table(rows))
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1))
        console.print(f"losses by layer written to {json}", soft_wrap=True, markup=False)


def _quantized(chain: Sequence[Node]) -> tuple[Int8, str]:
    """The options of the stack's int8, else the defaults; the key of the float32 network."""
    from dlas.optimizations.int8 import Int8
    from dlas.spec import parse_member

    key = next(node.key for node in chain if node.layer == "models")
    for node in chain:
        if node.layer == "optimizations" and node.name == "int8":
            found = parse_member("optimizations", dict(node.spec), "$.optimizations")
            assert isinstance(found, Int8)
            return found, node.parent
    return Int8(), key


def _table(rows: Sequence[Sensitivity]) -> Table:
    from rich.table import Table

    table = Table("layer", box=None)
    for title in ("MACs, %", "int8, nats", "bfloat16, nats"):
        table.add_column(title, justify="right")
    total = sum(row.macs for row in rows)
    for row in sorted(rows, key=lambda row: -row.loss_nats["int8"]):
        losses = (f"{row.loss_nats[dtype]:.2g}" for dtype in ("int8", "bfloat16"))
        table.add_row(row.layer, f"{100 * row.macs / total:.1f}", *losses)
    return table
