"""The report's charts as files for papers: SVG and PDF with embedded fonts, by matplotlib.

The page draws its own charts, at the width they have there; these are as wide as a column of a
paper, so that they need no scaling and their text keeps its size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import wrap
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
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from dlas.analysis.interactions import Understanding

FORMATS = (".svg", ".pdf")
#: Okabe & Ito (2008), as on the page; of more choices than these, the last colour is of all others.
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#1c2126", "#f0e442",
)  # fmt: skip
SHAPES = "oDsP^v*X"
#: Fonts as TrueType, which publishers ask for; the same study gives the same bytes.
_STYLE: Any = {
    "pdf.fonttype": 42, "svg.hashsalt": "dlas", "font.size": 7, "axes.linewidth": 0.6,
    "axes.labelsize": 7.5, "axes.titlesize": 7.5, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "xtick.minor.size": 0, "ytick.minor.size": 0,
    "axes.grid": True, "axes.axisbelow": True, "grid.linewidth": 0.4, "grid.color": "#d9dde2",
    "lines.linewidth": 1, "legend.frameon": False, "legend.fontsize": 7, "legend.borderpad": 0.2,
    "legend.handletextpad": 0.4, "legend.columnspacing": 1.2, "legend.labelspacing": 0.35,
}  # fmt: skip
#: Inches: a column of a paper and both; a chart above its legend, which comes on top of that.
_COLUMN, _COLUMNS, _HEIGHT = 3.5, 7.2, 2.6
#: A map of more choices than these has no room for its numbers in one column.
_NARROW_MAP = 5
#: Of a front, stacks that are named below the chart; characters of a line there, and inches.
_NAMED, _LINE, _LINE_HEIGHT = 8, 66, 0.125


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
        for name, draw in _charts(_shortened(ready(frame)), found):
            with mpl.rc_context(_STYLE):
                figure = Figure(figsize=(_COLUMN, _HEIGHT), layout="constrained")
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
                yield name + on, partial(_trade_off, held, group, cost)
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


def _trade_off(rows: pd.DataFrame, task: pd.DataFrame, cost: str, axes: Axes) -> None:
    x, y = QUANTITIES[cost], QUANTITIES["accuracy"]
    across, up = rows[cost] * x.factor, rows["accuracy"] * y.factor
    if cost == "latency_s":
        low, high = (rows[f"latency_{end}_s"] * x.factor for end in ("low", "high"))
        axes.hlines(up, low, high, color="#9aa3ad", linewidth=0.6)
    # What decides a size is the optimization: systems run the same file.
    shades = _engines(task) if cost == "latency_s" else _few(task, "optimizations", "compression")
    marks = _marks(axes, task, shades, across, up)
    front = front_of(rows, [cost], ["accuracy"])
    line = axes.step(
        across[front.index], up[front.index], where="post", color="#1c2126", linewidth=0.9,
        linestyle=(0, (3, 1.5)), label="Pareto front", zorder=2.5,
    )  # fmt: skip
    names = []
    for number, (_, same) in enumerate(front.groupby([cost, "accuracy"], sort=False), 1):
        place = across[same.index[0]], up[same.index[0]]
        axes.annotate(
            str(number), place, xytext=(0, 4), textcoords="offset points", ha="center", zorder=4,
            fontweight="bold", path_effects=_halo(),
        )  # fmt: skip
        told = {" · ".join(_told(task, row, cost)): None for _, row in same.iterrows()}
        names.append("; ".join(told))
    _logarithmic(axes, "x")
    axes.margins(y=0.08)
    axes.set_ylim(top=min(101, axes.get_ylim()[1]))  # of 100 %
    axes.set_xlabel(f"{x.label} ({x.unit})")
    axes.set_ylabel(f"{y.label} ({y.unit})")
    _legend(axes, [*line, *marks], names)


def _promise(compared: pd.DataFrame, task: pd.DataFrame, axes: Axes) -> None:
    line = axes.axline((1, 1), (2, 2), color="#535c66", linestyle="--", label="as promised")
    axes.axhline(1, color="#535c66", linewidth=0.8)
    shades = _engines(task)
    # Side by side: many are promised the very same.
    places = shades.cat.codes - (len(shades.cat.categories) - 1) / 2
    across = compared["promised"] * 1.015 ** places[compared.index]
    known = compared.dropna(subset=["low", "high"]).index
    axes.vlines(
        across[known], *(compared.loc[known, end] for end in ("low", "high")), color="#9aa3ad",
        linewidth=0.6,
    )  # fmt: skip
    marks = _marks(axes, task, shades, across, compared["measured"])
    _logarithmic(axes, "x")
    _logarithmic(axes, "y")
    axes.set_xlabel("Promised speedup (×; colours stand side by side)")
    axes.set_ylabel("Measured speedup (×)")
    _legend(axes, [line, *marks])


def _logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """Ticks as plain numbers, more of them on a short axis."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if high > 12 * low else (1, 1.5, 2, 3, 4, 5, 7))
    )
    axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _engines(rows: pd.DataFrame) -> pd.Series:
    """System and algorithm of every row; where these are many, system and tuning."""
    return _few(rows, "engine", "tuned", "software")


def _shortened(stacks: pd.DataFrame) -> pd.DataFrame:
    """With columns ``tuned``, system and tuning, and ``inner``, an engine without parameters."""
    made: dict[str, list[str]] = {"tuned": [], "inner": []}
    for row in stacks.to_dict("records"):
        own = row["tuning"] == "vendor"
        way = row["primitive"] + ("" if row["format"] == "dense" else f" {row['format']}")
        threads = f" · {row['threads']:.0f}\N{NO-BREAK SPACE}threads" if row["threads"] > 1 else ""
        made["tuned"].append(row["software"] if own else f"{row['software']} {row['tuning']}")
        made["inner"].append(made["tuned"][-1] + ("" if own else f" · {way}") + threads)
    return stacks.assign(**made)


def _few(rows: pd.DataFrame, *columns: str) -> pd.Series:
    """The first of these columns with a colour for each choice, as categories; the
    last one's rarest choices together where they are too many."""
    column = next((c for c in columns if rows[c].nunique() <= len(COLOURS)), columns[-1])
    kept = list(rows[column].unique())
    if len(kept) > len(COLOURS):
        kept = [*rows[column].value_counts().index[: len(COLOURS) - 1], "other"]
    values = rows[column].where(rows[column].isin(kept), "other")
    return values.astype(pd.CategoricalDtype(kept))


def _marks(
    axes: Axes, task: pd.DataFrame, shades: pd.Series, x: pd.Series, y: pd.Series
) -> list[Artist]:
    """Of the task's stacks those of ``x`` and ``y``: colour by ``shades``, shape by network, as in
    its other charts; those without optimization are rimmed. Returns what a legend shows."""
    from matplotlib.lines import Line2D

    rows = task.loc[x.index]
    models = _few(task, _shortest(task, "network", "model"))
    coloured = dict(zip(shades.cat.categories, COLOURS, strict=False))
    shaped = dict(zip(models.cat.categories, SHAPES, strict=False))
    rimmed = NONE not in shades.cat.categories and rows["optimizations"].eq(NONE).any()
    size = 14 if len(rows) <= 100 else 8
    for shade, colour in coloured.items():
        for model, shape in shaped.items():
            own = rows[(shades[rows.index] == shade) & (models[rows.index] == model)]
            plain = own["optimizations"].eq(NONE) & rimmed
            axes.scatter(
                x[own.index], y[own.index], s=size, marker=shape, c=colour,
                edgecolors=["#000000" if p else "#ffffff" for p in plain],
                linewidths=[0.7 if p else 0.25 for p in plain], zorder=3,
            )  # fmt: skip

    def mark(label: str, colour: str, shape: str, **rim: Any) -> Artist:
        return Line2D([], [], ls="", marker=shape, color=colour, ms=4, label=label, **rim)

    found = [mark(s, coloured[s], "s") for s in coloured if s in set(shades[rows.index])]
    found += [mark(m, "#535c66", shaped[m]) for m in shaped if m in set(models[rows.index])]
    if rimmed:
        found.append(mark("not optimized", "#ffffff", "o", mec="#000000", mew=0.7))
    return found


def _told(task: pd.DataFrame, row: pd.Series, cost: str) -> Iterator[str]:
    """What tells one of these stacks from the others, where the cost depends on it."""
    yield row[_shortest(task, "network", "model")]
    yield row[_shortest(task, "compression", "optimizations")]
    if cost == "latency_s":
        yield row[_shortest(task, "inner", "engine")]


def _shortest(rows: pd.DataFrame, short: str, full: str) -> str:
    """The short column where it tells apart what the full one does."""
    return short if rows[short].nunique() == rows[full].nunique() else full


def _halo() -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=1.5, foreground="#ffffff")]


def _legend(axes: Axes, handles: Sequence[Artist], names: Sequence[str] = ()) -> None:
    """Below the chart, in as many columns as there is room for, then the numbered ``names``. The
    figure grows by what they take, so the chart keeps its height."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    lines = []
    for number, name in enumerate(names[:_NAMED], 1):
        lines += wrap(f"{number}  {name}", _LINE, subsequent_indent="    ")
    if len(names) > _NAMED:
        lines.append(f"and {len(names) - _NAMED} more")
    width, height = figure.get_size_inches()
    for columns in (4, 3, 2, 1):
        legend = figure.legend(handles=handles, ncols=columns, loc="lower center")
        box = legend.get_window_extent()
        if box.width <= width * figure.dpi or columns == 1:
            break
        legend.remove()
    text = _LINE_HEIGHT * len(lines)
    below = box.height / figure.dpi + text
    whole = height + below
    figure.set_size_inches(width, whole)
    legend.set_bbox_to_anchor((0.5, text / whole))
    for i, line in enumerate(lines, 1):
        figure.text(0.02, (text - _LINE_HEIGHT * i + 0.03) / whole, line)
    figure.set_layout_engine("constrained", rect=(0, below / whole, 1, height / whole))


def _map(one: Mapping[str, Any], axes: Axes) -> None:
    """The lower triangle: a layer alone on the diagonal, pairs below it; holes are struck out."""
    factors, many = one["factors"], len(one["factors"])
    figure = axes.get_figure(root=True)
    assert figure is not None
    width = _COLUMN if many <= _NARROW_MAP else _COLUMNS
    figure.set_size_inches(width, width * 0.9 if many <= _NARROW_MAP else width * 0.7)
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
                axes.text(across, down, texts[down, across], ha="center", va="center")
            else:
                axes.plot(
                    [across - 0.5, across + 0.5], [down + 0.5, down - 0.5], "#9aa3ad", linewidth=0.6
                )
    axes.set_xticks(range(many), factors, rotation=30, ha="right")
    axes.set_yticks(range(many), factors)
    title = f"Variance of the {one['label']} explained (%)"
    axes.set_title("\n".join(filter(None, [title, one["scope"]])))
    axes.grid(False)
    axes.set_frame_on(False)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "none"
