"""``dlas claims``: what a study says about published claims, or a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlas.cli.options import StoreOption

if TYPE_CHECKING:
    from rich.console import Console

    from dlas.analysis.claims import Claim, Number, Verdict
    from dlas.store.archive import StudyResults
    from dlas.store.store import Store

_STYLES = {
    "holds": "bold green",
    "contradicted": "bold red",
    "undecided": "bold yellow",
    "not testable here": "dim",
}
#: Enough of a key to name a stack in ``dlas explain``.
_DIGITS = 8
_KEYS = 4


def claims(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY]...",
            help="Studies: TOML files, names in the store or Parquet files of results. "
            "Several are judged together; none is the one that was run last.",
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--claims", help="A TOML file of claims, instead of the published ones."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="The claim of this name, or those whose names start so up to a dot: dlas.order."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All claims, and all numbers behind them.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
    store: StoreOption = None,
) -> None:
    """Say which published claims hold in a study: the paper's thirteen observations, with the
    numbers and the stacks behind every verdict; --all adds its other facts.

    docs/claims.md tells how to write claims of your own."""
    from rich.console import Console

    from dlas.analysis.claims import judge, open_claims, published
    from dlas.store.archive import joined
    from dlas.store.store import open_store

    known = published() if file is None else open_claims(file)
    asked = _chosen(known, only)
    found = _results(studies or [], open_store(store))
    whole = joined(found)
    verdicts = judge(asked, whole.frame, whole.rounds)
    console = Console(soft_wrap=False)
    if json:
        print(_json([each.study for each in found], verdicts))
        return
    if whole.frame.empty:
        sentence = f"{whole.study}: there are no stacks at all, so no claim can be tested."
        console.print(sentence, markup=False)
        return
    in_full = everything or only is not None or file is not None
    shown = [v for v in verdicts if in_full or v.claim.kind == "observation"]
    machines = list(dict.fromkeys(verdict.machine for verdict in verdicts))
    for machine in machines:
        console.print(
            f"{whole.study}, on {machine or 'no machine yet'}", style="bold", markup=False
        )
        for verdict in shown:
            if verdict.machine == machine:
                _print(console, verdict, numbers=in_full)
    _print_rest(console, [verdict for verdict in verdicts if verdict not in shown])


def _chosen(known: Sequence[Claim], only: str | None) -> Sequence[Claim]:
    """Those named, or InputError with the near ones."""
    from dlas.errors import InputError
    from dlas.layer import did_you_mean

    if only is None:
        return known
    group = only.rstrip(".") + "."
    found = [claim for claim in known if claim.id == only or claim.id.startswith(group)]
    if not found:
        hint = did_you_mean(only, [claim.id for claim in known])
        raise InputError(f"--only {only}: no claim has this name{hint}")
    return found


def _results(studies: Sequence[str], place: Store) -> list[StudyResults]:
    from dlas import api
    from dlas.errors import StoreError

    if not studies:
        recorded = place.results.studies()
        if not recorded:
            raise StoreError("no study was run with this store yet: dlas claims STUDY.toml")
        studies = recorded[:1]
    return [api.study_results(study, place) for study in dict.fromkeys(studies)]


def _print(console: Console, verdict: Verdict, numbers: bool) -> None:
    from rich.padding import Padding
    from rich.text import Text

    claim = verdict.claim
    console.print()
    console.print(
        Text.assemble(
            (f"{claim.id}  ", "bold"),
            (verdict.verdict, _STYLES[verdict.verdict]),
            f"  {claim.title}",
        )
    )
    said = f"“{claim.statement}”" if claim.quoted else claim.statement
    source = ", ".join(filter(None, [claim.source.section, claim.source.link]))
    derived = ", derived" if claim.derived else ""
    lines = [Text.assemble((said, "italic"), (f" ({source}{derived})" if source else "", "dim"))]
    lines.append(Text(verdict.sentence))
    lines += [
        Text(sentence, "yellow") for sentence in verdict.missing if sentence not in verdict.sentence
    ]
    if numbers:
        lines.append(Text(f"Read as: {claim.reading}", "dim"))
        lines += [_number(number) for number in verdict.numbers]
    if verdict.rows:
        lines.append(Text(f"stacks: {_keys(verdict.rows)}", "dim"))
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 2)))


def _number(number: Number) -> Any:
    from rich.text import Text

    keys = f"  {_keys(number.keys)}" if number.keys else ""
    return Text.assemble("· ", f"{number.label}: ", (number.shown, "bold"), (keys, "dim"))


def _keys(keys: Sequence[str]) -> str:
    named = " ".join(key[:_DIGITS] for key in keys[:_KEYS])
    return named + (f" and {len(keys) - _KEYS} more" if len(keys) > _KEYS else "")


def _print_rest(console: Console, rest: Sequence[Verdict]) -> None:
    if not rest:
        return
    counts = {word: sum(v.verdict == word for v in rest) for word in _STYLES}
    said = ", ".join(f"{word} {count}" for word, count in counts.items() if count)
    asked = len({verdict.claim.id for verdict in rest})
    apart = f", in {len(rest)} verdicts, machine by machine" if len(rest) > asked else ""
    console.print()
    console.print(f"Of {asked} other claims{apart}: {said}. dlas claims --all prints them.")


def _json(studies: Sequence[str], verdicts: Sequence[Verdict]) -> str:
    """NaN is null there."""
    import msgspec

    rows = [
        {
            "id": verdict.claim.id,
            "title": verdict.claim.title,
            "kind": verdict.claim.kind,
            "statement": verdict.claim.statement,
            "quoted": verdict.claim.quoted,
            "derived": verdict.claim.derived,
            "reading": verdict.claim.reading,
            "paper": verdict.claim.source.paper,
            "section": verdict.claim.source.section,
            "link": verdict.claim.source.link,
            "machine": verdict.machine,
            "verdict": verdict.verdict,
            "sentence": verdict.sentence,
            "missing": verdict.missing,
            "numbers": verdict.numbers,
            "rows": verdict.rows,
        }
        for verdict in verdicts
    ]
    encoded = msgspec.json.encode({"studies": studies, "verdicts": rows})
    return msgspec.json.format(encoded, indent=2).decode()
