"""Charts as files for papers, and the command that writes them."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pandas as pd
import pytest
from typer.testing import CliRunner

from dlas.analysis.interactions import Understanding, understand
from dlas.errors import DlasError, StoreError
from dlas.report.figures import COLOURS, SHAPES, _few, write_figures
from dlas.store.archive import StudyResults, save_archive
from dlas.testing.results import made_up_info, made_up_results

pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'dlas[figures]'")


def test_every_chart_is_an_svg_and_a_pdf(tmp_path: Path) -> None:
    frame = made_up_results()
    written = write_figures(frame, understand(frame), tmp_path / "deep" / "figures")
    names = {path.stem for path in written}
    assert {"accuracy-latency", "accuracy-size", "promise"} <= names
    assert any(name.startswith("interactions-latency") for name in names)
    assert sorted(written) == sorted((tmp_path / "deep" / "figures").iterdir())
    assert {path.stem for path in written if path.suffix == ".pdf"} == names
    for path in written:
        if path.suffix == ".svg":
            root = ElementTree.parse(path).getroot()
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 5
        else:
            content = path.read_bytes()
            assert content.startswith(b"%PDF-")
            assert b"/FontFile2" in content  # embedded, and as TrueType
            assert b"/Type3" not in content


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    frame = made_up_results().iloc[:10]
    first, second = (write_figures(frame, Understanding(), tmp_path / name) for name in "ab")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_no_two_engines_share_a_colour(tmp_path: Path) -> None:
    frame = made_up_results()
    many = [
        frame.assign(system=frame["system"] + f"(threads={n})", key=f"{n}" + frame["key"])
        for n in range(5)
    ]
    for several, kinds in ((many[:1], 5), (many, 3)):  # engines; pytorch, onnxruntime and tvm
        write_figures(pd.concat(several), Understanding(), tmp_path)
        drawn = (tmp_path / "accuracy-latency.svg").read_text()
        assert sum(f"fill: {colour}" in drawn for colour in COLOURS) == kinds


def paper_like() -> pd.DataFrame:
    """More choices than colours and shapes, with long names: 924 stacks."""
    models = [
        (f"a_rather_long_network({i})", 1e6 * (i + 1), 50_000, 0.9 + i / 500) for i in range(12)
    ]
    engines = [(f"a_rather_long_system_{i}", "vendor", 4e-11 * (i + 1), 6e-5) for i in range(11)]
    return made_up_results(models=models, engines=engines)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "frame",
    [paper_like(), made_up_results(), made_up_results().iloc[:1]],
    ids=["large", "small", "one"],
)
def test_they_fit_a_column_with_all_that_they_say(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: drawn.append(self))
    write_figures(frame, understand(frame), tmp_path)
    assert drawn
    for figure in drawn:
        figure.draw_without_rendering()
        width, height = figure.get_size_inches()
        assert width in (3.5, 7.2)
        assert figure.axes[0].get_window_extent().height / figure.dpi > 1.2
        parts = [*figure.legends, *figure.texts, figure.axes[0].xaxis, figure.axes[0].yaxis]
        for part in parts:
            box = part.get_tightbbox()
            if box is not None:
                assert -1 <= box.x0 <= box.x1 <= width * figure.dpi + 1, part
                assert -1 <= box.y0 <= box.y1 <= height * figure.dpi + 1, part
        for text in figure.findobj(Text):
            assert not text.get_text() or float(text.get_fontsize()) >= 7
        if figure.legends:
            (legend,) = figure.legends
            chart = figure.axes[0].get_tightbbox()
            assert chart is not None
            assert legend.get_window_extent().y1 <= chart.y0 + 1
            colours = [h.get_color() for h in legend.get_lines() if h.get_marker() == "s"]
            own = [colour for colour in colours if colour in COLOURS]
            assert len(own) == len(set(own)) > 0
            assert len(legend.get_texts()) <= 2 + len(COLOURS) + len(SHAPES)


def test_colours_and_shapes_stay_with_their_choices() -> None:
    shades = _few(paper_like(), "system")
    assert list(shades.cat.categories)[-1] == "other"
    assert len(shades.cat.categories) == len(COLOURS)
    assert shades.notna().all()
    assert list(_few(made_up_results(), "system").cat.categories) == [
        "pytorch",
        "onnxruntime",
        "tvm",
    ]


def test_machines_have_figures_of_their_own(tmp_path: Path) -> None:
    frame = made_up_results()
    both = pd.concat([frame, frame.assign(machine="B", key="b" + frame["key"])])
    names = {path.stem for path in write_figures(both, Understanding(), tmp_path)}
    scatters = {name for name in names if name.startswith("accuracy-latency")}
    assert scatters == {
        "accuracy-latency-digits-on-b",
        "accuracy-latency-digits-on-example-cpu-2-50ghz-2-cores",
    }


@pytest.mark.parametrize(
    "frame",
    [made_up_results().iloc[:0], made_up_results().assign(status="refused", latency_s=None)],
    ids=["empty", "refused"],
)
def test_nothing_to_draw_draws_nothing(frame: pd.DataFrame, tmp_path: Path) -> None:
    written = write_figures(frame, understand(frame), tmp_path)
    assert [path for path in written if "latency" in path.stem] == []


def test_without_matplotlib_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    frame = made_up_results()
    with pytest.raises(DlasError, match=r"not installed: pip install 'dlas\[figures\]'"):
        write_figures(frame, Understanding(), tmp_path)


def test_a_folder_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    frame = made_up_results()
    with pytest.raises(StoreError, match="figures cannot be written"):
        write_figures(frame, Understanding(), tmp_path / "file")


def test_the_command_writes_page_figures_and_data(tmp_path: Path) -> None:
    from dlas.cli.main import app

    facts = msgspec.to_builtins(made_up_info())
    nested = {name: facts.pop(name) for name in ("choices", "warmups_s", "layers")}
    archive = tmp_path / "made-up.parquet"
    results = StudyResults("made-up", made_up_results(), {}, nested=nested, circumstances=facts)
    save_archive(results, archive)
    page, figures, data = (tmp_path / name for name in ("page.html", "figures", "data.csv"))
    arguments = ["report", str(archive), "--store", str(tmp_path / "store"), "-o", str(page)]
    arguments += ["--figures", str(figures), "--export", str(data)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(figures.glob("*.pdf"))
    assert len(pd.read_csv(data)) == len(made_up_results())
    wrong = CliRunner().invoke(app, [*arguments[:-1], "data.xlsx"])
    assert isinstance(wrong.exception, DlasError)
    assert "must end in .parquet or .csv" in str(wrong.exception)
