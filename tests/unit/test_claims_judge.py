"""Verdicts on results as they come: several machines and studies, readings of "tuned", and results
in which little or nothing was measured."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from claims_frames import ARM, CPU, IMAGENET, grid, times
from claims_worlds import paper_world

from dlas.analysis.claims import judge, published
from dlas.analysis.claims.claim import parse_claims
from dlas.store.schema import RESULTS
from dlas.testing.results import made_up_results

VII = [claim for claim in published() if claim.id == "dlas.VII"]
FASTEST = {"spatial_pack": 0.5}
SLOWEST = {"spatial_pack": 2.0}


def tuned_either_way() -> pd.DataFrame:
    """Spatial pack is the fastest with auto, and the slowest with template."""
    return grid(
        lambda row: {"auto": FASTEST, "template": SLOWEST, "untuned": {}}[row["tuning"]].get(
            row["primitive"], 1.0
        ),
        tuning=("untuned", "template", "auto"),
    )


def test_tuned_is_auto_where_as_much_has_it_and_other_verdicts_end_the_sentence() -> None:
    found = judge(VII, tuned_either_way())[0]
    assert found.verdict == "holds"
    assert found.sentence.endswith(
        " Tuned is tuning = auto. With tuning = template, in 3 settings, it is contradicted."
    )
    labels = " ".join(number.label for number in found.numbers)
    assert "tuned is tuning = template, contradicted" in labels
    assert "tuned is tuning = auto or template, the faster, holds" in labels


def test_without_auto_tuned_is_template() -> None:
    found = judge(VII, grid(times(primitive=SLOWEST)))[0]
    assert found.verdict == "contradicted"
    assert "Tuned is tuning = template." in found.sentence


def test_the_tuning_with_the_most_settings_counts() -> None:
    """Two of three networks have auto: enough to test the claim, but less than there is."""
    frame = tuned_either_way()
    frame = frame[(frame["tuning"] != "auto") | (frame["network"] != "vgg16")]
    found = judge(VII, frame)[0]
    assert found.verdict == "contradicted"
    assert " Tuned is tuning = template. With tuning = auto, in 2 settings, it holds." in (
        found.sentence
    )


def test_where_neither_tuning_has_all_settings_the_faster_counts() -> None:
    frame = tuned_either_way()
    of_vgg16 = frame["network"] == "vgg16"
    parts = [frame[of_vgg16 & (frame["tuning"] == "auto")],
             frame[~of_vgg16 & (frame["tuning"] == "template")]]  # fmt: skip
    found = judge(VII, pd.concat(parts))[0]
    assert "Tuned is tuning = auto or template, the faster." in found.sentence


def test_auto_for_one_network_is_not_enough() -> None:
    one = grid(networks={"vgg16": 1.0}, tuning=("auto",))
    found = judge(VII, pd.concat([grid(times(primitive=FASTEST)), one]))[0]
    assert found.sentence.endswith("Tuned is tuning = template.")


def test_machines_are_judged_one_by_one() -> None:
    frame = pd.concat([grid(times(primitive=FASTEST)), grid(times(primitive=SLOWEST), machine=ARM)])
    found = {v.machine: v for v in judge(VII, frame)}
    assert {machine: v.verdict for machine, v in found.items()} == {
        CPU: "holds",
        ARM: "contradicted",
    }
    keys = {m: set(rows["key"]) for m, rows in frame.groupby("machine")}
    assert all(set(v.rows) <= keys[machine] for machine, v in found.items())


def test_a_machine_that_cannot_test_it_is_silent_where_another_can() -> None:
    frame = pd.concat([grid(times(primitive=FASTEST)), grid(machine="AGX Xavier GPU")])
    assert [v.machine for v in judge(VII, frame)] == [CPU]


def test_what_is_missing_names_all_that_was_asked_of_a_column() -> None:
    test = {"kind": "faster", "where": {"primitive": ["direct", "gemm"]},
            "choice": {"primitive": "spatial_pack"}, "than": [{"primitive": "gemm"}]}  # fmt: skip
    claim = {"id": "own.one", "title": "T", "statement": "S", "reading": "R", "test": [test]}
    found = judge(parse_claims({"source": {"paper": "P"}, "claim": [claim]}), grid())[0]
    asked = "primitive = direct or gemm and primitive = spatial_pack"
    assert found.missing == (f"No stack has {asked}: add such stacks to the study.",)


def test_parts_about_several_devices_are_judged_together() -> None:
    nine = [claim for claim in published() if claim.id == "dlas.IX"]
    gpu = grid(times(primitive={"direct": 0.5}), machine="AGX Xavier GPU")
    found = judge(nine, pd.concat([grid(times(primitive={"gemm": 0.5})), gpu]))
    assert [v.verdict for v in found] == ["holds"]
    assert found[0].machine == f"{CPU} and AGX Xavier GPU"


def test_stacks_of_two_studies_count_once() -> None:
    frame = grid(times(primitive=FASTEST))
    again = frame.assign(study="again", latency_s=np.nan, status="pending")
    for both in ([frame, again], [again, frame]):
        found = judge(VII, pd.concat(both))[0]
        assert found.verdict == "holds"
        assert "in 3 of 3 settings of 3 networks" in found.sentence


def test_a_network_on_two_data_sets_is_two() -> None:
    large = grid(times(primitive=FASTEST), networks=IMAGENET, pixels=224 * 224)
    found = judge(VII, pd.concat([grid(times(primitive=FASTEST)), large]))[0]
    assert "7 settings of 7 networks" in found.sentence
    assert any(number.label == "mobilenetv2 on images(50176)" for number in found.numbers)


def test_what_is_missing_is_said_with_the_reason() -> None:
    frame = grid(lambda row: math.nan if row["primitive"] == "gemm" else 1.0)
    found = judge(VII, frame)[0]
    assert found.verdict == "not testable here"
    assert found.missing[0].startswith("None of 3 stacks was measured, 3 refused (It was refused),")
    assert "primitive = gemm" in found.missing[0]
    assert "tuning = auto or template" in found.missing[0]


@pytest.mark.parametrize(
    "frame",
    [
        grid().iloc[:0],
        pd.DataFrame(columns=[column.name for column in RESULTS]),
        pd.DataFrame(),
        grid().iloc[:1],
        grid(lambda row: math.nan),
        grid().assign(accuracy=np.nan, baseline_accuracy=np.nan),
        grid().assign(latency_low_s=np.nan, latency_high_s=np.nan),
        grid().assign(latency_s=0.0),
        grid().assign(accuracy=7.0),
        grid().assign(machine=""),
        grid().assign(network=None, primitive=None, tuning=None),
        grid().drop(columns=["network", "batch", "group"]),
        made_up_results(),
        pd.concat([grid(), grid(machine=ARM)]).assign(key=""),
    ],
)
def test_whatever_the_results_are_every_claim_has_a_verdict(frame: pd.DataFrame) -> None:
    before = frame.copy()
    verdicts = judge(published(), frame)
    assert {v.claim.id for v in verdicts} == {claim.id for claim in published()}
    for found in verdicts:
        assert found.sentence
        assert found.missing or found.verdict != "not testable here"
        assert "nan" not in found.sentence.replace("nance", "")
    pd.testing.assert_frame_equal(frame, before)


def test_without_intervals_latencies_decide_nothing() -> None:
    frame = grid(times(primitive=FASTEST)).assign(latency_low_s=np.nan, latency_high_s=np.nan)
    assert judge(VII, frame)[0].verdict == "undecided"


def test_the_order_of_the_rows_changes_nothing() -> None:
    frame = paper_world(CPU)
    shuffled = frame.sample(frac=1.0, random_state=1)
    first = {v.claim.id: v.verdict for v in judge(published(), frame)}
    assert {v.claim.id: v.verdict for v in judge(published(), shuffled)} == first
