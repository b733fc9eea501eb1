"""Results in a terminal of 80 columns: the end of ``dlas run``, ``dlas show``, ``dlas compare``."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dlas.analysis.intervals import overlap
from dlas.analysis.pareto import front_of
from dlas.analysis.speedup import NONE
from dlas.report.headline import headline
from dlas.report.precisions import PLAIN
from dlas.report.quantities import ABSENT, QUANTITIES, number, points, times
from dlas.report.rows import absences, measured, name, ready, tasks, word

LAYERS = ("dataset", "model", "optimizations", "algorithm", "system", "hardware")
#: The front in a summary is cut here; the page and ``dlas show`` have all of it.
_SHORT = 12
#: Enough of a key to name a stack in ``dlas compare`` and ``dlas explain``.
_KEY_DIGITS = 6


def summary(frame: pd.DataFrame) -> RenderableType:
    """The end of a run: per task the answer and the front; then what is missing, and why."""
    stacks = ready(frame)
    if stacks.empty:
        return Text(headline(stacks).answer)
    parts: list[RenderableType] = []
    for task, group in tasks(stacks):
        found = headline(group)
        said = Text.assemble((f"{task}: ", "dim"), (found.winner, "bold"))
        parts.append(said.append(f" {found.answer}" if found.winner else found.answer))
        front = front_of(measured(group), ["latency_s"], ["accuracy"])
        if len(front):
            table = _table("Pareto front", ["Stack"])
            for _, row in front.head(_SHORT).iterrows():
                table.add_row(Text(name(row)), *_cells(row))
            if len(front) > _SHORT:
                table.add_row(Text(f"… and {len(front) - _SHORT} more", "dim"))
            parts.append(table)
    return Group(*parts, *_notes(stacks))


def results_table(frame: pd.DataFrame) -> RenderableType:
    """Every stack, the fastest first within its model; absent numbers carry a note."""
    stacks = ready(frame)
    if stacks.empty:
        return Text(headline(stacks).answer)
    notes = {stack: i for i, found in enumerate(absences(stacks), 1) for stack in found["rows"]}
    parts: list[RenderableType] = []
    for task, group in tasks(stacks):
        table = _table(task, ["Key", "Optimization", "System"])
        for model, rows in group.groupby("model", sort=False):
            table.add_section()
            table.add_row("", Text(str(model), "bold"))
            for index, row in rows.sort_values("latency_s", kind="stable").iterrows():
                key = Text(row["key"][:_KEY_DIGITS], "dim")
                choices = key, Text(row["optimizations"]), Text(row["engine"])
                table.add_row(*choices, *_cells(row, notes.get(index)))
        parts += [table, *_agreement(group)]
    return Group(*parts, *_notes(stacks))


def comparison(first: pd.Series, second: pd.Series) -> RenderableType:
    """Two rows of a results frame, A and B: what differs, and whether one is clearly faster."""
    a, b = (row for _, row in ready(pd.DataFrame([first, second])).iterrows())
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("")
    for title in ("A", "B", "B against A"):
        table.add_column(title, justify="right", overflow="fold")
    for layer in LAYERS:
        differs = a[layer] != b[layer]
        style = "bold" if differs else "dim"
        shown = (Text(row[layer] or NONE, style) for row in (a, b))
        table.add_row(layer, *shown, Text("differs" if differs else "same", style))
    table.add_section()
    for quantity in QUANTITIES.values():
        values = a[quantity.column], b[quantity.column]
        if not all(pd.isna(value) for value in values):
            texts = (quantity.text(value) for value in values)
            table.add_row(quantity.label, *texts, _difference(quantity.unit, *values))
    return Group(table, Text(), *(Text(said) for said in _verdict(a, b)))


def _table(title: str, names: list[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", box=None, padding=(0, 1))
    for heading in names:
        table.add_column(heading, overflow="fold")
    table.add_column("Acc. %", justify="right", width=6)
    table.add_column("Latency ms", justify="right", no_wrap=True)
    table.add_column("Speedup/ promised", justify="right", width=10)
    return table


def _cells(row: pd.Series, note: int | None = None) -> tuple[Text, Text, Text]:
    """Accuracy; latency with the half-width of its interval; speedup measured of promised."""
    accuracy = Text(QUANTITIES["accuracy"].number(row["accuracy"]))
    if row["status"] != "ok" or pd.isna(row["latency_s"]):
        said = f"{word(row)} [{note}]" if note else word(row)
        return accuracy, Text(said, "yellow"), Text()
    latency = Text(QUANTITIES["latency_s"].number(row["latency_s"]))
    half = (row["latency_high_s"] - row["latency_low_s"]) / 2
    if pd.notna(half):
        latency.append(f" ±{100 * half / row['latency_s']:.1f}%", "dim")
    if row["warnings"]:
        latency.append("*", "yellow")
    if row["optimizations"] == NONE:
        return accuracy, latency, Text(ABSENT, "dim")
    speedup = row["measured_speedup"], row["promised_speedup"]
    pair = [times(value)[:-1] if pd.notna(value) else ABSENT for value in speedup]
    return accuracy, latency, Text("/".join(pair) + "×")


def _agreement(task: pd.DataFrame) -> Iterator[Text]:
    """For each network of a reduced precision, how far its executables agree with ONNX Runtime."""
    known = task[~task["precision"].isin(["", PLAIN]) & task["label_agreement"].notna()]
    for (model, optimizations), rows in known.groupby(["model", "optimizations"], sort=False):
        scores = rows["output_agreement"].notna().any()
        what = "labels (scores within a step)" if scores else "labels"
        line = Text(f"{model} · {optimizations} agrees with ONNX Runtime in {what}: ")
        said = []
        for _, row in rows.iterrows():
            text = f"{row['engine']} {QUANTITIES['label_agreement'].text(row['label_agreement'])}"
            if pd.notna(row["output_agreement"]):
                text += f" ({QUANTITIES['output_agreement'].text(row['output_agreement'])})"
            said.append(text)
        yield line.append(", ".join(said))


def _notes(stacks: pd.DataFrame) -> list[Text]:
    lines = []
    for i, found in enumerate(absences(stacks), 1):
        line = Text.assemble((f"[{i}] {found['word']}", "yellow"), f" ({len(found['rows'])}): ")
        lines.append(line.append(found["sentence"]))
    if (measured(stacks)["warnings"] != "").any():
        lines.append(Text("* measured under doubtful conditions; the report says which.", "dim"))
    return lines


def _difference(unit: str, a: float, b: float) -> str:
    if pd.isna(a) or pd.isna(b):
        return ABSENT
    if a == b:
        return "same"
    if unit == "%":
        return f"{'+' if b > a else '-'}{points(b - a)}"
    return times(b / a) if a else f"+{number(b)}"


def _verdict(a: pd.Series, b: pd.Series) -> list[str]:
    said = []
    for letter, row in (("A", a), ("B", b)):
        if row["status"] != "ok":
            reason = row["message"] or "no reason was recorded"
            said.append(f"{letter} was not measured ({word(row)}): {reason}")
        if row["warnings"]:
            said.append(f"{letter} was measured under doubtful conditions: {row['warnings']}")
    if a["dataset"] != b["dataset"]:
        said.append("They differ in data set, so their accuracies cannot be compared.")
    if pd.isna(a["latency_s"]) or pd.isna(b["latency_s"]):
        return said
    (fast, slow), letters = ((a, b), "AB") if a["latency_s"] <= b["latency_s"] else ((b, a), "BA")
    ratio = times(slow["latency_s"] / fast["latency_s"])
    claim = f"{letters[0]} is {ratio} as fast as {letters[1]}"
    ends = [row[end] for row in (a, b) for end in ("latency_low_s", "latency_high_s")]
    same = overlap(*ends)
    if same is None:
        said.append(f"{claim}, but an interval is unknown, so this may be noise.")
    elif same:
        said.append(f"Not distinguishable: {claim}, but the 95 % intervals overlap.")
    else:
        said.append(f"{claim}; the 95 % intervals do not overlap.")
    return said
