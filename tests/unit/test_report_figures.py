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
from dlas.report.figures import COLOURS, write_figures
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
