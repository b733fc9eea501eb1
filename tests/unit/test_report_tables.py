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
        ("latency x threads=one", "f.md: the table latency: threads=one is not a whole number"),
        ("flips x most=-1", "f.md: the table flips: most=-1 is not a whole number"),
        ("verdicts x only='('", r"f.md: the table verdicts: only=\( is not a regular expression: "),
        ("effects x quantity=latency", "f.md: the table effects: .* did you mean 'latency_s'"),
        ("latency 'x", "f.md: the mark latency 'x: No closing quotation"),
    ],
)
def test_marks_that_cannot_be_followed_are_named(mark: str, sentence: str) -> None:
    text = f"<!-- dlas: {mark} -->\n<!-- /dlas -->\n"
    with pytest.raises(InputError, match=sentence):
        fill(text, lambda name: results(made_up_results().head(3)), "f.md")


def test_a_fault_of_ours_is_not_the_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(found: object) -> Table:
        raise TypeError("a fault of ours")

    monkeypatch.setitem(TABLES, "broken", broken)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a fault of ours"):
        fill("<!-- dlas: broken x -->\n<!-- /dlas -->\n", lambda name: results(made_up_results()))


def test_a_table_without_rows_says_so() -> None:
    found = results(made_up_results())
    assert TABLES["latency"]([found], software="tvmm").markdown() == "No such stacks."


def elsewhere(frame: pd.DataFrame, **column: str | float) -> pd.DataFrame:
    """The same stacks at another place, half as fast."""
    return frame.assign(key="b" + frame["key"], latency_s=2 * frame["latency_s"], **column)


@pytest.mark.parametrize("name", sorted(TABLES.keys() - {"studies", "holes"}))
def test_machines_are_not_mixed(name: str) -> None:
    frame = made_up_results()
    found = [results(frame), results(elsewhere(frame, machine="Other CPU"))]
    with pytest.raises(InputError, match=r"timed on 2: Example CPU .*; Other CPU"):
        TABLES[name](found)


def test_a_network_on_two_data_sets_is_two_networks() -> None:
    frame = made_up_results()
    one = frame[frame["network"] != "vgg(0.25)"]
    both = [results(one), results(elsewhere(frame, dataset="cifar10(path=x)"))]
    apart = {row[0]: row[1:] for row in TABLES["fastest"](both).rows if row[1] == "none"}
    assert list(apart) == [
        "resnet(8) on digits", "mobilenet_v2(0.5) on digits", "resnet(8) on cifar10",
        "mobilenet_v2(0.5) on cifar10", "vgg(0.25)",
    ]  # fmt: skip
    alone = {row[0]: row[1:] for row in TABLES["fastest"](both[:1]).rows if row[1] == "none"}
    assert apart["resnet(8) on digits"] == alone["resnet(8)"] != apart["resnet(8) on cifar10"]


def test_data_sets_of_one_name_are_told_apart_in_full() -> None:
    frame = made_up_results().assign(dataset="synthetic(8)")
    both = [results(frame), results(elsewhere(frame, dataset="synthetic(16)"))]
    networks = {row[0] for row in TABLES["sizes"](both).rows}
    assert {"resnet(8) on synthetic(8)", "resnet(8) on synthetic(16)"} <= networks


def test_a_stack_of_two_studies_counts_once() -> None:
    found = results(made_up_results())
    for name in TABLES.keys() - {"studies"}:
        assert TABLES[name]([found, found]) == TABLES[name]([found]), name


@pytest.mark.parametrize("name", ["latency", "fastest", "first_runs", "memory", "sizes", "tuning"])
def test_tables_but_that_of_batches_are_of_one_image(name: str) -> None:
    frame = made_up_results().assign(batch=1.0)
    eight = elsewhere(frame, batch=8.0).assign(latency_s=frame["latency_s"] / 9, peak_bytes=1.0)
    made = TABLES[name]
    assert made([results(pd.concat([frame, eight]))]).rows == made([results(frame)]).rows


def test_a_mark_without_an_end_is_refused() -> None:
    with pytest.raises(InputError, match="has no <!-- /dlas --> below it"):
        fill("<!-- dlas: studies x -->\ntext\n", lambda name: results(made_up_results().head(3)))
