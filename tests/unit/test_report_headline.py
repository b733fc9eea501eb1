"""The report's sentences follow from the data, and are cautious where noise could have decided."""

import pandas as pd

from dlas.report.headline import Headline, headline
from dlas.report.rows import absences, ready
from dlas.testing.results import made_up_results

PLAIN = {
    "status": "ok",
    "optimizations": "none",
    "emulated": "",
    "warnings": "",
    "size_bytes": 1000.0,
}


def stacks(*rows: dict) -> pd.DataFrame:
    """Stacks of one model on as many systems, latencies in ms with ±1 %."""
    frame = made_up_results().iloc[: len(rows)].reset_index(drop=True)
    for i, row in enumerate(rows):
        latency = row.pop("ms") / 1e3
        row |= {"latency_s": latency, "latency_low_s": latency * 0.99}
        row |= {"latency_high_s": latency * 1.01, "system": f"s{i}", "algorithm": "vendor"}
        for column, value in {**PLAIN, **row}.items():
            frame.loc[i, column] = value
    return ready(frame)


def text(found: Headline) -> str:
    said = [found.winner, found.answer, *found.also]
    for finding in found.findings:
        said += [finding.title, finding.figure, *finding.sentences]
    return "\n".join(said).replace("\N{NO-BREAK SPACE}", " ")


def test_the_winner_is_the_fastest_within_one_point_of_the_best() -> None:
    found = headline(
        stacks(
            {"ms": 2, "accuracy": 0.980},
            {"ms": 1, "accuracy": 0.970},  # exactly one point below: still within
            {"ms": 0.5, "accuracy": 0.969},
        )
    )
    assert found.winner == "resnet(8) · none · s1"
    assert "1.00 ms (95 % interval 0.990–1.01 ms) per inference at 97.0 %, 1 point below" in text(
        found
    )
    assert [f.title for f in found.findings] == [
        "Fastest within 1 point of the best accuracy; also the smallest of these",
        "Fastest of all",
        "Most accurate",
    ]


def test_overlapping_intervals_are_called_not_distinguishable() -> None:
    rows = {"ms": 1, "accuracy": 0.98}, {"ms": 1.015, "accuracy": 0.98}, {"ms": 2, "accuracy": 0.98}
    found = text(headline(stacks(*rows)))
    assert "1 other cannot be told apart from it in latency." in found
    assert (
        "Not distinguishable in latency (95 % intervals overlap): resnet(8) · none · s1." in found
    )
    assert "s2" not in found.splitlines()[1]


def test_clear_winners_are_not_doubted() -> None:
    found = text(headline(stacks({"ms": 1, "accuracy": 0.98}, {"ms": 2, "accuracy": 0.98})))
    assert "told apart from it in latency" not in found
    assert "distinguishable" not in found


def test_unknown_intervals_are_said_and_crown_nobody_falsely() -> None:
    frame = stacks({"ms": 1, "accuracy": 0.98}, {"ms": 1.001, "accuracy": 0.98})
    frame["latency_low_s"] = float("nan")
    assert "1.00 ms (interval unknown)" in text(headline(frame))


def test_accuracy_is_doubted_by_the_number_of_test_images() -> None:
    frame = stacks({"ms": 2, "accuracy": 0.98}, {"ms": 1, "accuracy": 0.96})
    few = text(headline(frame.assign(test_images=100.0)))
    many = text(headline(frame.assign(test_images=50_000.0)))
    assert "1 other stack cannot be told apart from it in accuracy on 100 images" in few
    assert "100 test images give accuracy a 95 % interval of about ±" in few
    assert "told apart" not in many
    assert "may be chance" not in many


def test_an_unknown_number_of_test_images_is_said_and_gives_no_interval() -> None:
    frame = stacks({"ms": 2, "accuracy": 0.98}, {"ms": 1, "accuracy": 0.96})
    found = text(headline(frame.assign(test_images=float("nan"))))
    assert "The number of test images is unknown" in found
    assert "accuracy 98.0 %, file" in found
    assert "told apart" not in found


def test_what_makes_the_same_network_slow_is_named() -> None:
    frame = stacks({"ms": 1, "accuracy": 0.98}, {"ms": 9, "accuracy": 0.98})
    own = {"primitive": "direct", "software": "tvm", "tuning": ["template", "untuned"]}
    for changed, layers in (
        (own, "tuning"),
        (own | {"primitive": ["direct", "gemm"], "threads": [2.0, 1.0]},
         "algorithm, tuning and number of threads"),
        (own | {"software": ["openvino", "tvm"], "primitive": ["vendor", "direct"],
                "tuning": ["vendor", "untuned"]}, "system and algorithm"),
        (own | {"tuning": "untuned"}, "system"),
    ):  # fmt: skip
        said = f"up to 9.00× as long by the choice of {layers} alone: "
        assert said in text(headline(frame.assign(**changed)))


def test_ties_in_accuracy_go_to_the_faster() -> None:
    found = headline(stacks({"ms": 2, "accuracy": 0.98}, {"ms": 1, "accuracy": 0.98}))
    assert [f.row for f in found.findings] == [1]


def test_doubts_stand_beside_the_number() -> None:
    row = {
        "ms": 1,
        "accuracy": 0.98,
        "warnings": "load average 3",
        "emulated": "float16 is emulated",
    }
    found = text(headline(stacks(row, {"ms": 2, "accuracy": 0.9})))
    assert "Doubtful measurement: Load average 3." in found
    assert "Float16 is emulated." in found
    assert "Measured under doubtful conditions: 1 of 2 latencies" in found


def test_one_stack_is_no_contest() -> None:
    found = headline(stacks({"ms": 1, "accuracy": 0.98}))
    assert found.answer.startswith("is the only stack measured: 1.00")


def test_without_accuracy_there_is_no_trade_off() -> None:
    found = headline(ready(made_up_results().assign(accuracy=None)))
    assert found.answer.endswith(
        "No accuracy was measured, so there is no trade-off to choose from."
    )
    assert not found.findings


def test_nothing_measured_is_said_with_counts() -> None:
    frame = made_up_results().iloc[:3].assign(status=["refused", "refused", "out_of_memory"])
    assert headline(ready(frame)).answer == (
        "No stack was measured: 2 refused, 1 out of memory. The reasons are below."
    )
    assert "has no stacks" in headline(ready(frame.iloc[:0])).answer


def test_every_absent_stack_is_listed_once_with_its_sentence() -> None:
    frame = ready(made_up_results())
    found = absences(frame)
    rows = [row for absence in found for row in absence["rows"]]
    assert sorted(rows) == list(frame.index[frame["status"] != "ok"])
    assert all(absence["sentence"] for absence in found)
