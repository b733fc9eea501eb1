"""The answer in plain sentences: the few best trade-offs of a task, with numbers, intervals and
units. Every word follows from the data, and what noise could have crowned is called so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from dlas.analysis.intervals import overlap, wilson
from dlas.analysis.speedup import NONE, promised_and_measured
from dlas.report.quantities import QUANTITIES, count, number, points
from dlas.report.rows import measured, name

#: "Within 1 point of the best accuracy".
POINT = 0.01
_ROUNDING = 1e-9
_NAMED = 2

LATENCY, ACCURACY, SIZE = (QUANTITIES[c] for c in ("latency_s", "accuracy", "size_bytes"))


@dataclass(frozen=True)
class Finding:
    """One of the best stacks: what it is best at, its number, and what to know about it."""

    title: str
    figure: str
    row: int
    model: str
    rest: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Headline:
    """``answer`` is one sentence; ``also`` says what else the study shows."""

    answer: str
    findings: tuple[Finding, ...] = ()
    also: tuple[str, ...] = ()


def headline(task: pd.DataFrame, test_images: int | None = None) -> Headline:
    """The answer for the stacks of one task (a frame of ``rows.ready``)."""
    timed = measured(task)
    if timed.empty:
        return Headline(_nothing(task))
    scored = timed[timed["accuracy"].notna()]
    if scored.empty:
        first = timed.loc[timed["latency_s"].idxmin()]
        answer = (
            f"{name(first)} is the fastest stack, {_latency(first)} per inference. "
            "No accuracy was measured, so there is no trade-off to choose from."
        )
        return Headline(answer, also=tuple(_also(task)))

    best = scored["accuracy"].max()
    near = scored[scored["accuracy"] >= best - POINT - _ROUNDING]
    title = f"Fastest within 1 point of the best accuracy ({ACCURACY.text(best)})"
    picks: dict[int, list[tuple[str, str]]] = {}
    picks.setdefault(_first(near, "latency_s"), []).append((title, "latency_s"))
    picks.setdefault(_first(timed, "latency_s"), []).append(("Fastest of all", "latency_s"))
    top = scored[scored["accuracy"] == best]
    picks.setdefault(_first(top, "latency_s"), []).append(("Most accurate", "accuracy"))
    if near["size_bytes"].notna().any():
        smallest = _first(near, "size_bytes", "latency_s")
        title = "Smallest within 1 point of the best accuracy"
        picks.setdefault(smallest, []).append((title, "size_bytes"))

    findings = []
    for index, titles in picks.items():
        row = timed.loc[index]
        column = titles[0][1]
        sentences = [_numbers(row, column, test_images)]
        sentences += _gap(row, best)
        sentences += _speedup(row)
        for _, judged in titles:
            pool = timed if "Fastest of all" in dict(titles) else near
            sentences += _rivals(row, judged, pool if judged == "latency_s" else scored, test_images)
        sentences += _doubts(row)
        findings.append(
            Finding(
                title=", ".join([titles[0][0], *(t[0].lower() + t[1:] for t, _ in titles[1:])]),
                figure=QUANTITIES[column].text(row[column]),
                row=index,
                model=row["model"],
                rest=f"{row['optimizations']} · {row['engine']}",
                sentences=tuple(dict.fromkeys(sentences)),
            )
        )
    return Headline(_answer(timed.loc[next(iter(picks))], best), tuple(findings), tuple(_also(task)))


def _first(frame: pd.DataFrame, *columns: str) -> int:
    return int(frame.sort_values(list(columns), kind="stable").index[0])


def _nothing(task: pd.DataFrame) -> str:
    if task.empty:
        return "This study has no stacks, so there is nothing to compare."
    said = [count(len(g), "stack") + f" {s}" for s, g in task.groupby("status") if s != "ok"]
    untimed = (task["status"] == "ok").sum()
    if untimed:
        said.append(f"{count(int(untimed), 'stack')} without a latency")
    return f"No stack was measured: {', '.join(said)}. The reasons are below."


def _answer(row: pd.Series, best: float) -> str:
    gap = best - row["accuracy"]
    cost = "at the best accuracy" if gap <= _ROUNDING else f"{points(gap)} below the best accuracy"
    return (
        f"{name(row)} gives the best trade-off: {_latency(row)} per inference at "
        f"{ACCURACY.text(row['accuracy'])}, {cost}."
    )


def _latency(row: pd.Series) -> str:
    text = LATENCY.text(row["latency_s"])
    between = LATENCY.between(row["latency_low_s"], row["latency_high_s"])
    return f"{text} (95 % interval {between})" if between else f"{text} (interval unknown)"


def _numbers(row: pd.Series, leading: str, test_images: int | None) -> str:
    """The three numbers of a trade-off, intervals with them."""
    said = [f"Latency {_latency(row)}"]
    if pd.notna(row["accuracy"]):
        accuracy = f"accuracy {ACCURACY.text(row['accuracy'])}"
        if test_images:
            low, high = wilson(row["accuracy"], test_images)
            accuracy += f" ({ACCURACY.between(low, high)} on {count(test_images, 'test image')})"
        said.append(accuracy)
    else:
        said.append("accuracy unknown")
    if pd.notna(row["size_bytes"]) and leading != "size_bytes":
        said.append(f"file {SIZE.text(row['size_bytes'])}")
    return ", ".join(said) + "."


def _gap(row: pd.Series, best: float) -> Iterator[str]:
    gap = best - row["accuracy"]
    if gap > _ROUNDING:
        yield f"{points(gap)} below the best accuracy of the study.".capitalize()


def _speedup(row: pd.Series) -> Iterator[str]:
    if row["optimizations"] == NONE or pd.isna(row["measured_speedup"]):
        return
    verb = "as fast as" if row["measured_speedup"] >= 1 else "the speed of"
    said = f"{number(row['measured_speedup'])}× {verb} the same stack without optimization"
    if pd.notna(row["promised_speedup"]):
        said += f"; {number(row['promised_speedup'])}× was promised"
    yield said + "."


def _rivals(
    row: pd.Series, column: str, pool: pd.DataFrame, test_images: int | None
) -> Iterator[str]:
    """Who else may be the best: stacks whose 95 % interval overlaps the winner's."""
    others = pool.drop(index=row.name, errors="ignore")
    if column == "latency_s":
        ends = (row["latency_low_s"], row["latency_high_s"])
        verdicts = [
            overlap(*ends, low, high)
            for low, high in zip(others["latency_low_s"], others["latency_high_s"], strict=True)
        ]
        what = "in latency"
    elif column == "accuracy" and test_images:
        ends = wilson(row["accuracy"], test_images)
        verdicts = [overlap(*ends, *wilson(a, test_images)) for a in others["accuracy"]]
        what = f"in accuracy on {count(test_images, 'image')}"
    else:
        return
    same = others[[verdict is True for verdict in verdicts]]
    if len(same):
        same = same.sort_values(["latency_s"])
        names = "; ".join(name(other) for _, other in same.head(_NAMED).iterrows())
        more = f"; and {len(same) - _NAMED} more" if len(same) > _NAMED else ""
        yield f"Not distinguishable {what} (the intervals overlap): {names}{more}."


def _doubts(row: pd.Series) -> Iterator[str]:
    if row["emulated"]:
        yield _sentence(row["emulated"])
    if row["warnings"]:
        yield f"Doubtful measurement: {_sentence(row['warnings'])}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _also(task: pd.DataFrame) -> Iterator[str]:
    timed = measured(task)
    spread = timed.groupby(["model", "optimizations"])["latency_s"].agg(["min", "max", "count"])
    spread = spread[spread["count"] > 1]
    if len(spread):
        ratio = spread["max"] / spread["min"]
        model, optimizations = ratio.idxmax()
        worst = spread.loc[(model, optimizations)]
        yield (
            f"The same network runs up to {number(ratio.max())}× slower only by the choice of "
            f"system and algorithm: {model} · {optimizations} takes from "
            f"{LATENCY.text(worst['min'])} to {LATENCY.text(worst['max'])}."
        )
    known = promised_and_measured(task).dropna(subset=["promised", "measured"])
    if len(known):
        slower = known[known["high"] < 1]
        kept = known[known["measured"] >= known["promised"]]
        yield (
            f"Of {count(len(known), 'optimized stack')} with a promise, {len(kept)} ran at least as "
            f"fast as promised and {len(slower)} clearly slower than without optimization; in the "
            f"median {number(known['promised'].median())}× was promised and "
            f"{number(known['measured'].median())}× measured."
        )
    doubtful = int((timed["warnings"] != "").sum())
    if doubtful:
        yield (
            f"{count(doubtful, 'latency', 'latencies')} of {len(timed)} were measured under doubtful "
            "conditions; the stacks are named under Conditions."
        )
