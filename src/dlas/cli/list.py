"""``dlas list``: what there is to choose from."""

from __future__ import annotations

from typing import Annotated

import typer


def list_members(
    layer: Annotated[
        str | None, typer.Argument(help="One layer only, such as optimizations.")
    ] = None,
) -> None:
    """List the members of each layer with their fields, and whether this machine can use them."""
    import inspect

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from dlas.errors import DlasError
    from dlas.layer import LAYERS, did_you_mean, member, table

    if layer is not None and layer not in LAYERS:
        raise DlasError(f"{layer!r} is not a layer{did_you_mean(layer, LAYERS)}")
    console = Console()
    for name in [layer] if layer else LAYERS:
        rows = Table(title=name, title_justify="left", title_style="bold")
        for heading in ("name", "what it is", "fields", "here"):
            rows.add_column(heading, overflow="fold")
        for choice in sorted(table(name)):
            kind = member(name, choice)
            about = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
            fields = ", ".join(kind.__struct_fields__)
            why = kind.missing()
            here = f"[yellow]{escape(why)}[/]" if why else "yes"
            rows.add_row(choice, escape(about), fields, here)
        console.print(rows)
