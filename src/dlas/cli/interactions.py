"""``dlas interactions``: which choices of a study matter, and which depend on each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from dlas.cli.options import StoreOption, StudyName

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from dlas.analysis.interactions import Effect, Understanding


def interactions(
    study: StudyName,
    store: StoreOption = None,
    flips: Annotated[
        int, typer.Option(min=0, help="How many flips to print, the most at stake first.")
    ] = 12,
    json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON instead.")] = False,
) -> None:
    """Explain a study: how much each choice and each pair of them matters, where changing one
    flips which other is best, what rises together, and the best stack per budget."""
    from rich.console import Console

    from dlas import api
    from dlas.analysis.interactions import understand
    from dlas.store.store import open_store

    found = api.study_results(study, open_store(store))
    understood = understand(found.frame, found.rounds)
    if json:
        print(as_json(understood))
        return
    console = Console()
    for part in shown(understood, flips):
        console.print(part)


def as_json(found: Understanding) -> str:
    """Plain data; what is unknown is null."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode()


def shown(found: Understanding, flips: int) -> Iterator[RenderableType]:
    from rich.text import Text

    from dlas.analysis.words import level_word

    for sentence in found.said:
        yield Text(sentence, "yellow")
    for machine in found.machines:
        yield Text(machine, "bold")
        for (quantity, scope), effects in _by_map(found, machine).items():
            yield _map(quantity, scope, effects)
            for rest in found.rests:
                if (rest.machine, rest.quantity, rest.scope) == (machine, quantity, scope):
                    yield Text(f"unexplained by pairs: {_percent(rest.share)} %\n", "dim")
        own = [flip for flip in found.flips if flip.machine == machine]
        for number, flip in enumerate(own[:flips], 1):
            kept = level_word(flip.of, flip.best_before)
            stake = f" Keeping {kept} costs ×{flip.margin:.2f} [{flip.low:.2f}–{flip.high:.2f}]."
            yield Text.assemble(f"{number}. {flip.sentence}", (stake, "dim"))
        if len(own) > flips:
            yield Text(f"… and {len(own) - flips:,} more flips; --json has all.", "dim")
        if not own:
            yield Text("No flip is certain: nowhere do two clear bests differ by one choice.")
        yield from (Text(s.sentence, "dim") for s in found.steady if s.machine == machine)
        yield from _rest(found, machine)


def _by_map(found: Understanding, machine: str) -> dict[tuple[str, str], list[Effect]]:
    maps: dict[tuple[str, str], list[Effect]] = {}
    for effect in found.effects:
        if effect.machine == machine:
            maps.setdefault((effect.quantity, effect.scope), []).append(effect)
    return maps


def _map(quantity: str, scope: str, effects: list[Effect]) -> Table:
    """A triangle: single choices on its diagonal, pairs below it."""
    from rich.text import Text

    from dlas.analysis.words import NUMBERS, word

    factors = [effect.factors[0] for effect in effects if len(effect.factors) == 1]
    shares = {effect.factors: effect for effect in effects}
    title = f"Variance of {NUMBERS[quantity]} explained, %"
    table = _table(f"{title} · {scope}" if scope else title, "")
    for factor in factors:
        table.add_column(Text(word(factor)), justify="right")
    for i, factor in enumerate(factors):
        at = [(factor,) if j == i else (factors[j], factor) for j in range(i + 1)]
        found = [shares.get(pair, shares.get(pair[::-1])) for pair in at]
        table.add_row(Text(word(factor)), *(_share(effect) for effect in found))
    return table


def _share(effect: Effect | None) -> RenderableType:
    from rich.text import Text

    if effect is None or math.isnan(effect.share):
        return Text("unknown", "dim")
    style = "bold" if effect.present else "dim"
    text = Text(_percent(effect.share), style)
    if not math.isnan(effect.low):
        text.append(f" {_percent(effect.low)}–{_percent(effect.high)}", "dim")
    return text


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _rest(found: Understanding, machine: str) -> Iterator[RenderableType]:
    from rich.text import Text

    from dlas.analysis.words import NUMBERS, count

    own = [
        one for one in found.correlations if one.machine == machine and not math.isnan(one.value)
    ]
    if own:
        table = _table("Spearman's correlations", "")
        for title in ("ρ", "95 %", "networks as compressed"):
            table.add_column(title, justify="right")
        for one in own:
            names = f"{NUMBERS[one.a]} and {NUMBERS[one.b]}"
            known = f"{one.low:+.2f} … {one.high:+.2f}"
            ends = "unknown" if math.isnan(one.low) else known
            table.add_row(names, f"{one.value:+.2f}", ends, str(one.count))
        yield table
    budgets = [best for best in found.budgets if best.machine == machine]
    if budgets:
        yield Text("Best per budget", "italic")
    yield from (Text(f"· {best.sentence}") for best in budgets)
    for front in found.fronts:
        if front.machine == machine and front.dominated:
            far = sum(one.certain for one in front.dominated)
            yield Text(
                f"{front.task}: {count(len(front.members), 'stack')} on the front of latency and "
                f"accuracy, {len(front.dominated):,} dominated, {far:,} of them for certain."
            )


def _table(title: str, first: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title), title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold"
    )
    table.add_column(first)
    return table
