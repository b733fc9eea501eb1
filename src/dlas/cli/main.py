"""``dlas``: the command line. One file per verb; each imports what it needs when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dlas import __version__
from dlas.cli.bench import app as bench
from dlas.cli.claims import claims
from dlas.cli.compare import compare
from dlas.cli.doctor import doctor
from dlas.cli.explain import explain
from dlas.cli.explain_speedup import explain_speedup
from dlas.cli.interactions import interactions
from dlas.cli.list import list_members
from dlas.cli.plan import plan
from dlas.cli.profile import profile
from dlas.cli.report import report
from dlas.cli.run import run
from dlas.cli.sensitivity import sensitivity
from dlas.cli.show import show
from dlas.cli.tables import tables
from dlas.cli.tuning import app as tuning
from dlas.cli.watch import watch
from dlas.errors import DlasError

app = typer.Typer(
    name="dlas",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(watch)
app.command()(plan)
app.command()(show)
app.command()(compare)
app.command()(report)
app.command()(claims)
app.command()(tables)
app.command("list")(list_members)
app.command()(interactions)
app.command()(explain)
app.command("explain-speedup")(explain_speedup)
app.command()(profile)
app.command()(sensitivity)
app.command()(doctor)
app.add_typer(bench)
app.add_typer(tuning)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dlas {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Which choices, from data set to hardware, make your network fast, small and still accurate
    on your machine, and why.

    [bold]dlas run[/] study.toml runs a study and writes its report; [bold]dlas list[/] shows what
    there is to choose from."""


def main() -> None:
    """Errors a user can mend are one sentence and exit status 2; Ctrl-C is 130."""
    sys.path.insert(0, "")  # a factory is looked for where the user stands
    try:
        app()
    except DlasError as error:
        print(f"dlas: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"dlas: {error.filename or 'the system'}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
