"""Tables inside Markdown: every table can be made of any results, marks are followed or refused."""

from __future__ import annotations

import pandas as pd
import pytest

from dlas.errors import InputError
from dlas.report.tables import TABLES, Table, fill
from dlas.store.archive import StudyResults
from dlas.testing.results import made_up_results


def results(frame: pd.DataFrame) -> StudyResults:
    return StudyResults("s", frame, {})


def test_a_table_is_markdown() -> None:
    table = Table(["A", "B"], [["x|y", "1"], ["two\nlines", "2"]], notes=["A note.", ""])
    assert table.markdown() == (
        "| A | B |\n| --- | ---: |\n| x\\|y | 1 |\n| two lines | 2 |\n\nA note."
    )


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("rows", [0, 1, 60])
def test_every_table_is_made_of_any_results(name: str, rows: int) -> None:
    found = results(made_up_results().head(rows))
    for of in ([found], [found, found]):
        table = TABLES[name](of)
        assert all(len(row) == len(table.headings) for row in table.rows)
        assert "nan" not in table.markdown()


def test_what_stands_between_marks_is_replaced() -> None:
    text = "a\n<!-- dlas: studies x -->\nold\n<!-- /dlas -->\nb\n"
    made = fill(text, lambda name: results(made_up_results().head(3)))
    assert "old" not in made
    assert "| s |" in made
    assert made.startswith("a\n<!-- dlas: studies x -->\n| Study |")
    assert made.endswith("<!-- /dlas -->\nb\n")
    assert fill(made, lambda name: results(made_up_results().head(3))) == made


@pytest.mark.parametrize(
    ("mark", "sentence"),
    [
        ("latencies x", "f.md: there is no table 'latencies'; did you mean 'latency'"),
        ("latency", "f.md: the table latency names no study"),
        ("latency x colour=red", "f.md: the table latency: .* 'colour'"),
    ],
)
def test_marks_that_cannot_be_followed_are_named(mark: str, sentence: str) -> None:
    text = f"<!-- dlas: {mark} -->\n<!-- /dlas -->\n"
    with pytest.raises(InputError, match=sentence):
        fill(text, lambda name: results(made_up_results().head(3)), "f.md")


def test_a_mark_without_an_end_is_refused() -> None:
    with pytest.raises(InputError, match="has no <!-- /dlas --> below it"):
        fill("<!-- dlas: studies x -->\ntext\n", lambda name: results(made_up_results().head(3)))
