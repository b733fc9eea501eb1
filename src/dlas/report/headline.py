"""The answer in plain sentences: the few best trade-offs of a task, with numbers, intervals and
units. Every word follows from the data, and what noise could have crowned is called so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from dlas.analysis.intervals import overlap, wilson
from dlas.analysis.speedup import NONE, promised_and_measured
from dlas.analysis.words import listed, word
from dlas.report.quantities import QUANTITIES, count, points, times
from dlas.report.rows import at, measured, name
from dlas.report.rows import word as state

#: "Within 1 point of the best accuracy".
POINT = 0.01
_ROUNDING = 1e-9
_NAMED = 2
#: Layers below the network, as results name their choices.
_BELOW = ("software", "primitive", "format", "tuning", "threads")

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
    """``winner`` and ``answer`` make one sentence; ``also`` says what else the study shows."""

    winner: str
    answer: str
    findings: tuple[Finding, ...] = ()
    also: tuple[str, ...] = ()


def headline(task: pd.DataFrame) -> Headline:
    """The answer for the stacks of one task (a frame of ``rows.ready``)."""
    timed = measured(task)
    if timed.empty:
        return Headline("", _nothing(task))
    scored = timed[timed["accuracy"].notna()]
    if scored.empty:
        first = at(timed, timed["latency_s"].idxmin())
        answer = (
            f"is the fastest stack, {_latency(first)} per inference. "
            "No accuracy was measured, so there is no trade-off to choose from."
        )
        return Headline(name(first), answer, also=tuple(_also(task)))

    best = scored["accuracy"].max()
    near = scored[scored["accuracy"] >= best - POINT - _ROUNDING]
    won: dict[int, list[_Pick]] = {}
    for pick in _picks(timed, near, scored[scored["accuracy"] == best]):
        won.setdefault(pick.winner(), []).append(pick)
    findings = [_finding(timed, index, won[index], scored) for index in won]
    first = at(timed, findings[0].row)
    also = (*_coarse(scored), *_also(task))
    return Headline(name(first), _answer(first, near, scored), tuple(findings), also)


@dataclass(frozen=True)
class _Pick:
    """What is won (and in short, for who wins something else too), by which column, among whom.
    The faster of equals wins."""

    title: str
    short: str
    column: str
    pool: pd.DataFrame

    def winner(self) -> int:
        order = dict.fromkeys([self.column, "latency_s"])
        return int(self.pool.sort_values(list(order), kind="stable").index[0])


def _picks(timed: pd.DataFrame, near: pd.DataFrame, top: pd.DataFrame) -> Iterator[_Pick]:
    yield _Pick("Fastest within 1 point of the best accuracy", "", "latency_s", near)
    yield _Pick("Fastest of all", "the fastest of all", "latency_s", timed)
    yield _Pick("Most accurate", "the most accurate", "accuracy", top)
    if near["size_bytes"].notna().any():
        title = "Smallest within 1 point of the best accuracy"
        yield _Pick(title, "the smallest of these", "size_bytes", near)


def _finding(timed: pd.DataFrame, index: int, picks: list[_Pick], scored: pd.DataFrame) -> Finding:
    row, lead = at(timed, index), picks[0].column
    best = scored["accuracy"].max()
    sentences = [_numbers(row, lead), *_gap(row, best), *_speedup(row)]
    for pick in picks:
        if pick.column == "latency_s":
            sentences += _latency_rivals(row, pick.pool)
        elif pick.column == "accuracy":
            sentences += _accuracy_rivals(row, scored)
    return Finding(
        title=_title(picks),
        figure=QUANTITIES[lead].text(row[lead]),
        row=index,
        model=row["model"],
        rest=f"{row['optimizations']} · {row['engine']}",
        sentences=tuple(dict.fromkeys([*sentences, *_doubts(row)])),
    )


def _title(won: list[_Pick]) -> str:
    """``"Most accurate"``, ``"Most accurate; also a"``, ``"Most accurate; also a, b and c"``."""
    first, *others = won
    if not others:
        return first.title
    *middle, last = (pick.short for pick in others)
    listed = f"{', '.join(middle)} and {last}" if middle else last
    return f"{first.title}; also {listed}"


def _nothing(task: pd.DataFrame) -> str:
    if task.empty:
        return "This study has no stacks, so there is nothing to compare."
    words = [state(row) for _, row in task.iterrows()]
    said = [f"{words.count(one)} {one}" for one in dict.fromkeys(words)]
    return f"No stack was measured: {', '.join(said)}. The reasons are below."


def _answer(row: pd.Series, near: pd.DataFrame, scored: pd.DataFrame) -> str:
    if len(scored) == 1:
        accuracy = ACCURACY.text(row["accuracy"])
        return f"is the only stack measured: {_latency(row)} per inference at {accuracy}."
    best = scored["accuracy"].max()
    gap = best - row["accuracy"]
    cost = "the best accuracy" if gap <= _ROUNDING else f"{points(gap)} below the best"
    answer = (
        "is the fastest stack within 1 point of the best accuracy: "
        f"{_latency(row)} per inference at {ACCURACY.text(row['accuracy'])}, {cost}."
    )
    rivals = len(_same_latency(row, near))
    if rivals:
        answer += f" {count(rivals, 'other')} cannot be told apart from it in latency."
    return answer


def _latency(row: pd.Series) -> str:
    text = LATENCY.text(row["latency_s"])
    between = LATENCY.between(row["latency_low_s"], row["latency_high_s"])
    return f"{text} (95 % interval {between})" if between else f"{text} (interval unknown)"


def _numbers(row: pd.Series, leading: str) -> str:
    """The three numbers of a trade-off, intervals with them."""
    said = [f"Latency {_latency(row)}"]
    if pd.notna(row["accuracy"]):
        accuracy = f"accuracy {ACCURACY.text(row['accuracy'])}"
        between = ACCURACY.between(*wilson(row["accuracy"], row["test_images"]))
        if between:
            accuracy += f" ({between} on {count(int(row['test_images']), 'test image')})"
        said.append(accuracy)
    else:
        said.append("accuracy unknown")
    if pd.notna(row["size_bytes"]) and leading != "size_bytes":
        said.append(f"file {SIZE.text(row['size_bytes'])}")
    return ", ".join(said) + "."


def _gap(row: pd.Series, best: float) -> Iterator[str]:
    gap = best - row["accuracy"]
    if gap > _ROUNDING:
        yield f"{points(gap)} below the best accuracy."


def _speedup(row: pd.Series) -> Iterator[str]:
    if row["optimizations"] == NONE or pd.isna(row["measured_speedup"]):
        return
    verb = "as fast as" if row["measured_speedup"] >= 1 else "the speed of"
    said = f"{times(row['measured_speedup'])} {verb} the same stack without optimization"
    if pd.notna(row["promised_speedup"]):
        said += f"; {times(row['promised_speedup'])} was promised"
    yield said + "."


def _latency_rivals(row: pd.Series, pool: pd.DataFrame) -> Iterator[str]:
    """Who else may be the fastest: noise alone can crown one of them."""
    same = _same_latency(row, pool)
    if len(same):
        names = "; ".join(name(other) for _, other in same.head(_NAMED).iterrows())
        more = f"; and {len(same) - _NAMED} more" if len(same) > _NAMED else ""
        yield f"Not distinguishable in latency (95 % intervals overlap): {names}{more}."


def _same_latency(row: pd.Series, pool: pd.DataFrame) -> pd.DataFrame:
    ends = pool[["latency_low_s", "latency_high_s"]].to_numpy()
    own = row["latency_low_s"], row["latency_high_s"]
    same = pool[[overlap(*own, low, high) is True for low, high in ends]]
    return same.drop(index=row.name, errors="ignore").sort_values("latency_s", kind="stable")


def _accuracy_rivals(row: pd.Series, pool: pd.DataFrame) -> Iterator[str]:
    own, shares = wilson(row["accuracy"], row["test_images"]), pool[["accuracy", "test_images"]]
    same = pool[[overlap(*own, *wilson(*share)) is True for share in shares.to_numpy()]]
    same = same.drop(index=row.name, errors="ignore")
    if len(same):
        fastest = at(same, same["latency_s"].idxmin())
        yield (
            f"{count(len(same), 'other stack')} cannot be told apart from it in accuracy on "
            f"{count(int(row['test_images']), 'image')} (95 % intervals overlap); the fastest is "
            f"{name(fastest)}, {LATENCY.text(fastest['latency_s'])}."
        )


def _coarse(scored: pd.DataFrame) -> Iterator[str]:
    """A limit of 1 point means little where the accuracy itself is known less well."""
    best = at(scored, scored["accuracy"].idxmax())
    if pd.isna(best["test_images"]):
        yield "The number of test images is unknown, so accuracies stand here without intervals."
        return
    low, high = wilson(best["accuracy"], best["test_images"])
    if (high - low) / 2 > POINT:
        yield (
            f"{count(int(best['test_images']), 'test image')} give accuracy a 95 % interval of "
            f"about ±{points((high - low) / 2)}: smaller differences may be chance."
        )


def _doubts(row: pd.Series) -> Iterator[str]:
    if row["emulated"]:
        yield _sentence(row["emulated"])
    if row["warnings"]:
        yield f"Doubtful measurement: {_sentence(row['warnings'])}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _also(task: pd.DataFrame) -> Iterator[str]:
    timed = measured(task)
    network = ["model", "optimizations"]
    spread = timed.groupby(network)["latency_s"].agg(["min", "max", "count"]).reset_index()
    spread["ratio"] = spread["max"] / spread["min"]
    spread = spread[spread["count"] > 1]
    if len(spread):
        most = at(spread, spread["ratio"].idxmax())
        yield (
            f"The same network takes up to {times(most['ratio'])} as long by the choice of "
            f"{listed(_apart(timed, most))} alone: {most['model']} · {most['optimizations']} from "
            f"{LATENCY.text(most['min'])} to {LATENCY.text(most['max'])}."
        )
    known = promised_and_measured(task).dropna(subset=["promised", "measured"])
    if len(known):
        slower = known[known["high"] < 1]
        kept = known[known["measured"] >= known["promised"]]
        yield (
            f"Of {count(len(known), 'optimized stack')} with a promise, {len(kept) or 'none'} ran "
            f"at least as fast as promised and {len(slower) or 'none'} clearly slower than without "
            f"optimization; in the median {times(known['promised'].median())} was promised and "
            f"{times(known['measured'].median())} measured."
        )
    doubtful = int((timed["warnings"] != "").sum())
    if doubtful:
        yield (
            f"Measured under doubtful conditions: {doubtful} of "
            f"{count(len(timed), 'latency', 'latencies')}; the stacks are named under Conditions."
        )


def _apart(timed: pd.DataFrame, network: pd.Series) -> list[str]:
    """The layers whose choices differ between the fastest and the slowest stack of a network."""
    same = (timed["model"] == network["model"]) & (
        timed["optimizations"] == network["optimizations"]
    )
    latency = timed.loc[same, "latency_s"]
    ends = timed.loc[[latency.idxmin(), latency.idxmax()], list(_BELOW)]
    varied = [layer for layer in _BELOW if ends[layer].nunique() > 1]
    if "software" in varied and "vendor" in set(ends["tuning"]):
        varied = [layer for layer in varied if layer != "tuning"]  # the one has no such choice
    return [word(layer) for layer in varied] or [word("system")]
