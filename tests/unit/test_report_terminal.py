"""Results in a terminal: they fit 80 columns, and no name is taken for markup."""

import pandas as pd
import pytest
from rich.console import Console, RenderableType

from dlas.report.quantities import number, scaled
from dlas.report.terminal import comparison, results_table, summary
from dlas.testing.results import made_up_results


def shown(what: RenderableType, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(what)
    text = captured.get()
    assert max(map(len, text.splitlines())) <= width
    return text.replace("\N{NO-BREAK SPACE}", " ")


def find(frame: pd.DataFrame, **choices: str) -> pd.Series:
    for column, value in choices.items():
        frame = frame[frame[column] == value]
    return frame.iloc[0]


def test_the_summary_holds_the_answer_the_front_and_every_reason() -> None:
    frame = made_up_results()
    text = shown(summary(frame))
    flat = " ".join(text.split())
    assert "is the fastest stack within 1 point of the best accuracy" in flat
    assert len(text.splitlines()) < 24
    for message in frame["message"].dropna().unique():
        assert message in flat


def test_the_table_has_a_line_per_stack() -> None:
    frame = made_up_results()
    text = shown(results_table(frame))
    numbered = [line for line in text.splitlines() if "±" in line]
    assert len(numbered) == (frame["status"] == "ok").sum()
    assert text.count("refused [") == (frame["status"] == "refused").sum()
    assert "2.03/4.00×" in text


def test_agreement_is_said_for_networks_of_a_reduced_precision() -> None:
    frame = made_up_results()
    row = find(frame, optimizations="int8", system="onnxruntime", model="resnet(8)")
    text = " ".join(shown(results_table(frame)).split())
    labels, scores = (number(100 * row[f"{name}_agreement"]) for name in ("label", "output"))
    assert (
        "resnet(8) · int8 agrees with ONNX Runtime in labels (scores within a step): "
        f"onnxruntime {labels} % ({scores} %), " in text
    )
    assert "resnet(8) · float16 agrees with ONNX Runtime in labels: pytorch" in text
    assert "resnet(8) · none agrees" not in text


def test_long_names_wrap_and_markup_stays_text() -> None:
    frame = made_up_results().assign(
        model="[red]a network whose name is longer than a line of the terminal can ever hold[/red]",
        message="[bold]no[/bold]",
    )
    text = shown(results_table(frame), width=60)
    assert "[red]" in text
    assert "[bold]no[/bold]" in text


@pytest.mark.parametrize("show", [summary, results_table])
def test_an_empty_study_says_so(show) -> None:
    assert "no stacks" in shown(show(made_up_results().iloc[:0]))


def test_two_stacks_are_compared_by_ratio_and_interval() -> None:
    frame = made_up_results()
    a = find(frame, optimizations="none", system="pytorch")
    b = find(frame, optimizations="none", system="onnxruntime")
    text = shown(comparison(a, b))
    ratio = a["latency_s"] / b["latency_s"]
    assert f"B is {ratio:.2f}× as fast as A; the 95 % intervals do not overlap." in text
    assert [line.split()[0] for line in text.splitlines() if "differs" in line] == ["system"]
    swapped = shown(comparison(b, a))
    assert f"A is {ratio:.2f}× as fast as B" in swapped


def test_stacks_within_noise_are_not_ranked() -> None:
    a = made_up_results().iloc[0]
    b = a.copy()
    b["latency_s"] = a["latency_s"] * 1.0001
    assert "Not distinguishable: A is 1.00× as fast as B" in shown(comparison(a, b))
    b["latency_low_s"] = None
    assert "this may be noise" in shown(comparison(a, b))


def test_a_stack_that_was_not_measured_says_why() -> None:
    frame = made_up_results()
    text = " ".join(shown(comparison(find(frame, status="refused"), frame.iloc[0])).split())
    assert "A was not measured (refused): gemm has no float16 form" in text
    assert "as fast as" not in text


def test_accuracy_differs_in_points() -> None:
    a = made_up_results().iloc[0].copy()
    b = a.copy()
    b["accuracy"] = a["accuracy"] - 0.0125
    assert "-1.2 points" in shown(comparison(a, b))


@pytest.mark.parametrize(
    "value, text",
    [
        (12345.6, "12,346"),
        (98.76, "98.8"),
        (9.876, "9.88"),
        (0.0541, "0.0541"),
        (0.055, "0.0550"),
        (0, "0"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_large_numbers_have_prefixes() -> None:
    assert scaled(118e9, "FLOP/s") == "118\N{NO-BREAK SPACE}GFLOP/s"
    assert scaled(None, "FLOP/s") == "not measured"
