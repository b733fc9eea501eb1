"""The report's charts as files for papers: SVG and PDF with embedded fonts, by matplotlib.

The page draws its own charts, at the width they have there; these are as wide as a column of text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from dlas.analysis.pareto import front_of
from dlas.analysis.speedup import NONE, promised_and_measured
from dlas.errors import DlasError, StoreError
from dlas.report.quantities import QUANTITIES
from dlas.report.rows import measured, ready, tasks
from dlas.report.understanding import maps, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dlas.analysis.interactions import Understanding

FORMATS = (".svg", ".pdf")
#: Okabe & Ito (2008), as on the page. Where engines are more, colours are of systems.
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#1c2126", "#f0e442",
)  # fmt: skip
SHAPES = "oDsP^v*X<>"
#: Fonts as TrueType, which publishers ask for; the same study gives the same bytes.
_STYLE: Any = {
    "pdf.fonttype": 42, "svg.hashsalt": "dlas", "font.size": 8, "axes.linewidth": 0.6,
    "axes.grid": True, "axes.axisbelow": True, "grid.linewidth": 0.4, "grid.color": "#d9dde2",
    "lines.linewidth": 1, "legend.frameon": False, "legend.fontsize": 6.5,
}  # fmt: skip
_SIZE = (6.0, 3.6)  # inches


def write_figures(frame: pd.DataFrame, found: Understanding, folder: Path) -> list[Path]:
    """Every chart of a results frame as ``NAME.svg`` and ``NAME.pdf`` in ``folder``; where they
    lie. DlasError without matplotlib, StoreError where nothing can be written."""
    try:
        import matplotlib as mpl
    except ImportError:
        remedy = "pip install 'dlas[figures]'"
        raise DlasError(f"matplotlib, which draws figures, is not installed: {remedy}") from None
    from matplotlib.figure import Figure

    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in _charts(ready(frame), found):
            with mpl.rc_context(_STYLE):
                figure = Figure(figsize=_SIZE, layout="constrained")
                draw(figure.add_subplot())
                for ending in FORMATS:
                    path = folder / f"{name}{ending}"
                    date = {"Date" if ending == ".svg" else "CreationDate": None}
                    figure.savefig(path, metadata=date)
                    written.append(path)
    except OSError as error:
        raise StoreError(f"{folder}: figures cannot be written: {error.strerror}") from error
    return written


def _charts(
    stacks: pd.DataFrame, found: Understanding
) -> Iterator[tuple[str, Callable[[Axes], None]]]:
    """(name of the file, what draws it); charts without a mark are left out."""
    several = stacks["task"].nunique() > 1
    for task, group in tasks(stacks):
        on = f"-{_slug(task)}" if several else ""
        timed = measured(group)
        for cost in ("latency_s", "size_bytes"):
            held = timed.dropna(subset=["accuracy", cost])
            if len(held):
                name = {"latency_s": "accuracy-latency", "size_bytes": "accuracy-size"}[cost]
                yield name + on, partial(_trade_off, held, cost)
        compared = promised_and_measured(group).dropna(subset=["promised", "measured"])
        if len(compared):
            yield f"promise{on}", partial(_promise, compared, group)
    charted = maps(found)
    machines = list(dict.fromkeys(one["machine"] for one in charted))
    for one in charted:
        on = f"-{_slug(one['machine'])}" if len(machines) > 1 else ""
        scopes = [m["scope"] for m in charted if m["label"] == one["label"]]
        of = f"-{_slug(one['scope'])}" if len(set(scopes)) > 1 else ""
        yield f"interactions-{_slug(one['label'])}{of}{on}", partial(_map, one)


def _trade_off(rows: pd.DataFrame, cost: str, axes: Axes) -> None:
    x, y = QUANTITIES[cost], QUANTITIES["accuracy"]
    ends = ("latency_low_s", "latency_high_s") if cost == "latency_s" else None
    front = front_of(rows, [cost], ["accuracy"])
    axes.step(
        front[cost] * x.factor, front["accuracy"] * y.factor, where="post", color="#535c66",
        linewidth=0.9, label="Pareto front",
    )  # fmt: skip
    if ends:
        low, high = (rows[end].to_numpy() * x.factor for end in ends)
        axes.hlines(rows["accuracy"] * y.factor, low, high, color="#9aa3ad", linewidth=0.6)
    _marks(axes, rows, rows[cost] * x.factor, rows["accuracy"] * y.factor)
    _logarithmic(axes, "x")
    axes.set_xlabel(f"{x.label} ({x.unit})")
    axes.set_ylabel(f"{y.label} ({y.unit})")


def _promise(compared: pd.DataFrame, stacks: pd.DataFrame, axes: Axes) -> None:
    axes.axline((1, 1), (2, 2), color="#535c66", linestyle="--", linewidth=0.8, label="as promised")
    axes.axhline(1, color="#535c66", linewidth=0.8)
    known = compared.dropna(subset=["low", "high"])
    axes.vlines(known["promised"], known["low"], known["high"], color="#9aa3ad", linewidth=0.6)
    _marks(axes, stacks.loc[compared.index], compared["promised"], compared["measured"])
    _logarithmic(axes, "x")
    _logarithmic(axes, "y")
    axes.set_xlabel("Promised speedup (×)")
    axes.set_ylabel("Measured speedup (×)")


def _logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """Ticks as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _marks(axes: Axes, rows: pd.DataFrame, x: pd.Series, y: pd.Series) -> None:
    """Colour by system and algorithm, by the kind of system alone where there are too many; shape
    by network; those without optimization are rimmed."""
    by = "engine" if rows["engine"].nunique() <= len(COLOURS) else "software"
    engines, models = list(rows[by].unique()), list(rows["model"].unique())
    for (engine, model), own in rows.groupby([by, "model"], sort=False):
        plain = own["optimizations"] == NONE
        axes.scatter(
            x[own.index], y[own.index], s=16, marker=SHAPES[models.index(model) % len(SHAPES)],
            c=COLOURS[engines.index(engine) % len(COLOURS)],
            edgecolors=["#000000" if p else "#ffffff" for p in plain],
            linewidths=[0.9 if p else 0.3 for p in plain], zorder=3,
        )  # fmt: skip
    for engine in engines:
        colour = COLOURS[engines.index(engine) % len(COLOURS)]
        axes.scatter([], [], s=16, c=colour, marker="s", label=engine)
    for model in models[: len(SHAPES)]:
        shape = SHAPES[models.index(model) % len(SHAPES)]
        axes.scatter([], [], s=16, c="#535c66", marker=shape, label=model)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)


def _map(one: Mapping[str, Any], axes: Axes) -> None:
    """The lower triangle: a layer alone on the diagonal, pairs below it; holes are struck out."""
    factors, many = one["factors"], len(one["factors"])
    shares = np.full((many, many), np.nan)
    texts: dict[tuple[int, int], str] = {}
    for cell in one["cells"]:
        across, down = cell["at"]
        if cell["share"] is not None:
            shares[down, across] = cell["share"]
            texts[down, across] = percent(cell["share"])
            if cell["low"] is not None:
                texts[down, across] += f"\n{percent(cell['low'])}–{percent(cell['high'])}"
    axes.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=1.6)
    for down in range(many):
        for across in range(down + 1):
            if (down, across) in texts:
                axes.text(across, down, texts[down, across], ha="center", va="center", fontsize=6)
            else:
                axes.plot(
                    [across - 0.5, across + 0.5], [down + 0.5, down - 0.5], "#9aa3ad", linewidth=0.6
                )
    axes.set_xticks(range(many), factors, rotation=30, ha="right")
    axes.set_yticks(range(many), factors)
    axes.set_title(f"Share of the variance of {one['label']} explained (%)", fontsize=8)
    axes.grid(False)
    axes.set_frame_on(False)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "none"
