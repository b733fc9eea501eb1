"""What a system chose, in the terminal and on the page."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from dlas.choices import FILE, Choice, Choices, Costed
from dlas.cli.main import app
from dlas.errors import InputError
from dlas.plan import Plan, Step
from dlas.report.chosen import DETAILED, alike, choice_tables, choices_table
from dlas.report.gather import gather_info
from dlas.report.page import render
from dlas.report.rows import ready
from dlas.stack import Stack
from dlas.store.results import Measured
from dlas.store.store import Store, open_store
from dlas.testing.results import made_up_info, made_up_results

WIDE = (
    Costed("direct", "dense", 3e-4, True),
    Costed("spatial_pack", "dense", 2e-4, True),
    Costed("winograd4", "dense", 1e-4, True),
    Costed("direct", "csr", 2.5e-4, False),
)
POINTWISE = (
    Costed("direct", "dense", 1.5e-4, False),
    Costed("spatial_pack", "dense", 5e-5, True),
    Costed("gemm", "dense", None, False, "its columns do not fit"),
)
CHOICES = Choices(
    plan=Plan("best", (Step("a", "winograd4"), Step("b", "spatial_pack"), Step("c", "winograd4"))),
    layers=(Choice("a", WIDE, 2), Choice("b", POINTWISE, 1), Choice("c", WIDE, 2)),
    changes_s=2e-5, others_s=3e-5, predicted_s=3e-4,
    uniform_s={"direct": 8e-4, "spatial_pack": 4.5e-4},
)  # fmt: skip


def said(choices: Choices, measured_s: float | None) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(choices_table(choices, measured_s))
    return console.export_text().replace("\N{NO-BREAK SPACE}", " ")


def test_layers_of_one_shape_stand_together() -> None:
    assert [same.layers for same in alike(CHOICES)] == [("a", "c"), ("b",)]
    other = msgspec.structs.replace(CHOICES, layers=(Choice("a", WIDE, 2), Choice("b", WIDE, 1)))
    assert len(alike(other)) == 2


def test_the_terminal_shows_every_way_and_its_time() -> None:
    text = said(CHOICES, 3.3e-4)
    lines = [line.split() for line in text.splitlines()]
    [wide] = (line for line in lines if line[:1] == ["a"])
    assert " ".join(wide).startswith("a and 1 like it winograd4 0.100 spatial_pack 0.200, direct")
    assert "~0.250" in text  # predicted
    assert "gemm not at all (its columns do not fit)" in " ".join(text.split())
    assert "predicted 0.300 ms: 0.250 layers, 0.0200 layout changes, 0.0300 all else" in text
    assert "measured 0.330 ms, +10%" in text
    whole = " ".join(text.split())
    assert "the best single algorithm, spatial_pack: predicted 0.450 ms, 1.50× as long" in whole
    assert all(len(line) <= 80 for line in text.splitlines())


def test_another_precision_is_part_of_the_name() -> None:
    ways = (
        Costed("direct", "dense", 3e-4, True),
        Costed("winograd4", "dense", 2e-4, True, precision="float32"),
    )
    choices = msgspec.structs.replace(CHOICES, layers=(Choice("a", ways, 1),))
    lines = [line.split() for line in said(choices, None).splitlines()]
    assert ["a", "winograd4", "in", "float32", "0.200", "direct", "0.300"] in lines


def test_what_is_not_known_is_said_or_left_out() -> None:
    text = said(msgspec.structs.replace(CHOICES, uniform_s={}), None)
    assert "not measured yet" in text
    assert "single algorithm" not in text
    assert said(msgspec.structs.replace(CHOICES, layers=()), None)


def stacks(many: int) -> tuple[pd.DataFrame, dict[str, Choices]]:
    frame = ready(made_up_results())
    timed = frame[frame["latency_s"].notna()]
    return frame, dict.fromkeys(timed["key"][:many], CHOICES)


def test_the_page_has_a_line_for_each_stack_and_layers_for_the_fastest() -> None:
    frame, choices = stacks(DETAILED + 3)
    tables = choice_tables(frame, choices)
    assert [bool(line["layers"]) for line in tables] == [True] * DETAILED + [False] * 3
    latencies = [frame.set_index("key")["latency_s"][line["key"]] for line in tables]
    assert latencies == sorted(latencies)
    line = tables[0]
    assert line["counted"] == "winograd4 ×2, spatial_pack ×1"
    assert line["uniform"] == "spatial_pack"
    layers = line["layers"]
    assert layers["ways"] == ["direct", "spatial_pack", "winograd4", "direct csr", "gemm"]
    wide, pointwise = layers["rows"]
    assert (wide["layer"], wide["more"], wide["layers"]) == ("a", 1, "a, c")
    assert [cell["text"] for cell in wide["cells"]] == ["0.300", "0.200", "0.100", "~0.250", ""]
    assert [cell["taken"] for cell in wide["cells"]] == [False, False, True, False, False]
    assert pointwise["cells"][4] == {"text": "–", "taken": False, "why": "its columns do not fit"}


def section(page: str) -> str:
    found = page[page.index('<section id="chosen"') :]
    return found[: found.index("</section>")]


def test_the_page_shows_it() -> None:
    _, choices = stacks(DETAILED + 3)
    info = msgspec.structs.replace(made_up_info(), choices=choices)
    page = render(made_up_results(), info)
    part = section(page)
    assert part.count("<details>") == DETAILED
    assert "3 more stacks: <code>dlas explain</code>" in part
    assert "<b>0.100</b>" in part
    assert 'title="its columns do not fit"' in part
    assert '<a href="#chosen">' in page
    assert len(part.encode()) < 60_000
    assert 'id="chosen"' not in render(made_up_results(), made_up_info())


def test_what_users_name_stays_text() -> None:
    hostile = "<script>alert(1)</script>"
    layers = (Choice(hostile, (Costed(hostile, "dense", None, True, hostile),), 0),)
    _, choices = stacks(1)
    [key] = choices
    given = {key: msgspec.structs.replace(CHOICES, layers=layers, uniform_s={hostile: 1.0})}
    page = render(made_up_results(), msgspec.structs.replace(made_up_info(), choices=given))
    assert hostile not in page
    assert "&lt;script&gt;alert(1)" in section(page)


def test_a_stack_without_a_time_comes_last() -> None:
    frame = ready(made_up_results())
    frame.loc[frame.index[0], "latency_s"] = np.nan
    tables = choice_tables(frame, dict.fromkeys(frame["key"][:2], CHOICES))
    assert tables[-1]["key"] == frame["key"][0]
    assert (tables[-1]["measured"], tables[-1]["deviation"]) == ("–", "")


# -- from the store ------------------------------------------------------------------------------

STACK = Stack.parse(
    {"dataset": "synthetic", "model": "tiny", "algorithm": "spatial_pack", "system": "tvm",
     "hardware": "null"}
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With one stack, measured, and an executable that holds choices."""
    store, chain = open_store(tmp_path), STACK.chain()
    store.results.add_nodes(chain)
    quiet = {"at_s": 0.0, "cpus": 2, "own_s": 0.0}
    record = {
        "group": "", "warnings": [], "energy_absent": "", "before": quiet, "after": quiet,
    }  # fmt: skip
    store.results.add_observation(chain[-1].key, Measured("2026", np.full(9, 3.3e-4), record), 1.0)
    folder = store.artifacts.begin(chain[-2].key)
    CHOICES.save(folder)
    store.artifacts.finish(chain[-2].key, folder)
    member = {"key": chain[-1].key, "stack": STACK.spec(), "labels": STACK.labels()}
    spec = {"title": "", "description": "", "command": "", "dropped": {}}
    store.results.save_study("s", spec, [member])
    return store


def explained(store: Store) -> Any:
    words = ["explain", STACK.chain()[-1].key[:12], "--store", str(store.root)]
    return CliRunner().invoke(app, words, env={"COLUMNS": "80"})


def choices_file(store: Store) -> Path:
    return store.artifacts.place(STACK.chain()[-2].key) / FILE


def test_the_command_shows_choices(store: Store) -> None:
    ran = explained(store)
    assert ran.exit_code == 0, ran.exception
    assert "ways chosen, ms" in ran.output
    assert "winograd4" in ran.output
    assert "+10%" in ran.output


def test_an_executable_without_choices_has_none(store: Store) -> None:
    choices_file(store).unlink()
    ran = explained(store)
    assert ran.exit_code == 0, ran.exception
    assert "ways chosen" not in ran.output
    assert gather_info(store, "s").choices == {}


def test_the_report_gathers_them(store: Store) -> None:
    assert gather_info(store, "s").choices == {STACK.chain()[-1].key: CHOICES}


def test_damaged_choices_are_said(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    choices_file(store).write_text("{")
    assert isinstance(explained(store).exception, InputError)
    with caplog.at_level(logging.WARNING):
        assert gather_info(store, "s").choices == {}
    assert "damaged choices.json" in caplog.text
    assert "the report leaves its choices out" in caplog.text
