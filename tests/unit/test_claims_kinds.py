"""Every kind of test on made-up results where its statement is so, is not, cannot be told, and
cannot be tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from claims_frames import CPU, GPU, grid, times

from dlas.analysis.claims import Verdict, judge
from dlas.analysis.claims.claim import parse_claims
from dlas.analysis.claims.kinds import TABLE
from dlas.measure.statistics import median_interval

HOLDS, CONTRADICTED, UNDECIDED = "holds", "contradicted", "undecided"
NOT_TESTABLE = "not testable here"


def verdict(frame: pd.DataFrame, *tests: dict[str, Any], **rounds: Any) -> Verdict:
    claim = {"id": "own.one", "title": "One", "statement": "It is so.", "reading": "As it says."}
    content = {"source": {"paper": "Ours"}, "claim": [{**claim, "test": list(tests)}]}
    return judge(parse_claims(content), frame, **rounds)[0]


FASTER = {
    "kind": "faster",
    "choice": {"primitive": "gemm"},
    "than": [{"primitive": "direct"}, {"primitive": "spatial_pack"}],
}
PROMISE = {
    "kind": "promise", "choice": {"compression": "weight_pruning"}, "for_each": ["optimizations"],
}  # fmt: skip
GAIN = {
    "kind": "gain",
    "choice": {"compression": "int8"}, "than": {"compression": "none"},
    "before": {"tuning": "untuned"}, "after": {"tuning": "template"},
}  # fmt: skip
FLIP = {
    "kind": "flip",
    "before": {"tuning": "untuned"}, "after": {"tuning": "template"},
    "levels": [{"primitive": "direct"}, {"primitive": "gemm"}],
}  # fmt: skip
FLIP_OF_THREE = {**FLIP, "levels": [*FLIP["levels"], {"primitive": "spatial_pack"}]}
DIFFERS = {
    "kind": "differs", "choice": {"compression": "int8"}, "than": {"compression": "float16"},
    "times": 1.2,
}  # fmt: skip
AVERAGE = {
    "kind": "average", "choice": {"compression": "int8"}, "at_least": 1.0, "at_most": 4.0,
}  # fmt: skip
HARMED = {"kind": "average", "choice": {"compression": "int8"}, "than": {"compression": "float16"}}
CORRELATION = {"kind": "correlation", "of": ["effective_macs", "latency_s"], "below": 0.7}


def gain(pruned: float) -> pd.DataFrame:
    """int8 gains 2 by tuning, the rest ``pruned``."""
    return grid(
        lambda row: (
            1.0
            if row["tuning"] == "untuned"
            else 0.5
            if row["compression"] == "int8"
            else 1 / pruned
        )
    )


def flipped(before: float, after: float, width: float = 0.01) -> pd.DataFrame:
    """direct's latency over gemm's, untuned and tuned."""
    return grid(
        lambda row: (
            1.0 if row["primitive"] != "direct" else before if row["tuning"] == "untuned" else after
        ),
        width=width,
    )


def below_the_best() -> pd.DataFrame:
    """direct and gemm change places, spatial_pack is ahead of both."""
    return grid(
        lambda row: (
            0.3
            if row["primitive"] == "spatial_pack"
            else 1.0
            if (row["primitive"] == "direct") == (row["tuning"] == "untuned")
            else 2.0
        )
    )


def lossy(int8: float, float16: float = 0.0) -> pd.DataFrame:
    lost = {"int8": int8, "float16": float16}
    return grid(
        accuracy=lambda row: row["baseline_accuracy"] - lost.get(row["compression"], 0.0007)
    )


def sized(power: float, width: float = 0.01) -> pd.DataFrame:
    return grid(lambda row: 1e-9 * row["effective_macs"] ** power, width=width)


def without(frame: pd.DataFrame, **levels: str) -> pd.DataFrame:
    for column, level in levels.items():
        frame = frame[frame[column] != level]
    return frame


CASES: list[tuple[str, dict[str, Any], Callable[[], pd.DataFrame], str]] = [
    ("fastest", FASTER, lambda: grid(times(primitive={"gemm": 0.7})), HOLDS),
    ("second", FASTER, lambda: grid(times(primitive={"gemm": 0.7, "direct": 0.5})), CONTRADICTED),
    ("a tie", FASTER, grid, UNDECIDED),
    ("overlap", FASTER, lambda: grid(times(primitive={"gemm": 0.95}), width=0.1), UNDECIDED),
    ("no gemm", FASTER, lambda: without(grid(), primitive="gemm"), NOT_TESTABLE),
    ("one rival only", FASTER, lambda: without(grid(), primitive="direct"), NOT_TESTABLE),
    ("not so much faster", {**FASTER, "times": 2.0},
     lambda: grid(times(primitive={"gemm": 0.7})), CONTRADICTED),
    ("faster for one network of three", FASTER,
     lambda: grid(lambda r: 0.5 if (r["primitive"], r["network"]) == ("gemm", "vgg16")
                  else 1.5 if r["primitive"] == "gemm" else 1.0), CONTRADICTED),
    ("the same, sometimes", {**FASTER, "how_often": "sometimes"},
     lambda: grid(lambda r: 0.5 if (r["primitive"], r["network"]) == ("gemm", "vgg16")
                  else 1.5 if r["primitive"] == "gemm" else 1.0), HOLDS),
    ("smaller, exactly", {"kind": "faster", "column": "nonzeros", "how_often": "always",
                          "choice": {"compression": "weight_pruning"},
                          "than": [{"compression": "channel_pruning"}]}, grid, HOLDS),
    ("as small, exactly", {"kind": "faster", "column": "nonzeros", "how_often": "always",
                           "choice": {"compression": "int8"}, "than": [{"compression": "float16"}]},
     grid, CONTRADICTED),
    ("less accurate", {"kind": "faster", "column": "accuracy", "choice": {"compression": "int8"},
                       "than": [{"compression": "none"}]}, lambda: lossy(0.1), HOLDS),
    ("promise kept", PROMISE, lambda: grid(times(compression={"weight_pruning": 0.05})), HOLDS),
    ("promise broken", PROMISE,
     lambda: grid(times(compression={"weight_pruning": 0.5})), CONTRADICTED),
    ("rarely kept", {**PROMISE, "how_often": "rarely"},
     lambda: grid(times(compression={"weight_pruning": 0.5})), HOLDS),
    ("promise just met", PROMISE,
     lambda: grid(times(compression={"weight_pruning": 0.1})), UNDECIDED),
    ("no baseline", PROMISE, lambda: without(grid(), compression="none"), NOT_TESTABLE),
    ("gains less", GAIN, lambda: gain(4.0), HOLDS),
    ("gains more", GAIN, lambda: gain(1.2), CONTRADICTED),
    ("gains as much", GAIN, lambda: gain(2.0), UNDECIDED),
    ("more is asked", {**GAIN, "gains": "more"}, lambda: gain(1.2), HOLDS),
    ("less, where more is asked", {**GAIN, "gains": "more"}, lambda: gain(4.0), CONTRADICTED),
    ("gains otherwise", {**GAIN, "gains": "differently", "times": 1.1}, lambda: gain(4.0), HOLDS),
    ("alike", {**GAIN, "gains": "differently", "times": 1.5}, lambda: gain(2.0), CONTRADICTED),
    ("never tuned", GAIN, lambda: grid(tuning=("untuned",)), NOT_TESTABLE),
    ("flips", FLIP, lambda: flipped(2.0, 0.5), HOLDS),
    ("never flips", FLIP, lambda: flipped(2.0, 1.5), CONTRADICTED),
    ("seems to flip", FLIP, lambda: flipped(1.05, 0.95, width=0.1), UNDECIDED),
    ("flips below the best", FLIP_OF_THREE, below_the_best, CONTRADICTED),
    ("one of three becomes the best", FLIP_OF_THREE, lambda: flipped(2.0, 0.5), HOLDS),
    ("one level only", FLIP, lambda: without(grid(), primitive="gemm"), NOT_TESTABLE),
    ("apart", DIFFERS, lambda: grid(times(compression={"int8": 0.5})), HOLDS),
    ("apart the other way", DIFFERS, lambda: grid(times(compression={"int8": 2.0})), HOLDS),
    ("not apart", DIFFERS, grid, CONTRADICTED),
    ("unsure", DIFFERS, lambda: grid(times(compression={"int8": 0.83}), width=0.1), UNDECIDED),
    ("no float16", DIFFERS, lambda: without(grid(), compression="float16"), NOT_TESTABLE),
    ("loss within", AVERAGE, lambda: lossy(0.025), HOLDS),
    ("loss beyond", AVERAGE, lambda: lossy(0.2), CONTRADICTED),
    ("loss at the bound", AVERAGE, lambda: lossy(0.04), UNDECIDED),
    ("no accuracy", AVERAGE,
     lambda: lossy(0.02).assign(accuracy=np.nan, baseline_accuracy=np.nan), NOT_TESTABLE),
    ("loses more", HARMED, lambda: lossy(0.05), HOLDS),
    ("loses less", HARMED, lambda: lossy(0.0, 0.05), CONTRADICTED),
    ("loses as much", HARMED, lambda: lossy(0.02, 0.02), UNDECIDED),
    ("time follows work", CORRELATION, lambda: sized(1.0), CONTRADICTED),
    ("time against work", CORRELATION, lambda: sized(-1.0), HOLDS),
    ("time anyhow", CORRELATION, lambda: sized(0.001, width=0.3), UNDECIDED),
    ("two networks", CORRELATION, lambda: without(sized(1.0), network="vgg16"), NOT_TESTABLE),
    ("the same for all", {**CORRELATION, "of": ["promised_latency_s", "macs"]},
     lambda: sized(0.0).assign(macs=1.0), NOT_TESTABLE),
]  # fmt: skip


@pytest.mark.parametrize("test, frame, expected", [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_verdict(test: dict[str, Any], frame: Callable[[], pd.DataFrame], expected: str) -> None:
    found = verdict(frame(), test)
    assert found.verdict == expected, found.sentence
    assert found.sentence.endswith(".")
    if expected == NOT_TESTABLE:
        assert found.missing
        assert not found.rows
    else:
        assert found.numbers[0].keys
        assert set(found.rows) <= set(frame()["key"])


def test_every_kind_has_every_verdict() -> None:
    seen = {kind: {case[3] for case in CASES if case[1]["kind"] == kind} for kind in TABLE}
    assert seen == {kind: {HOLDS, CONTRADICTED, UNDECIDED, NOT_TESTABLE} for kind in TABLE}


@pytest.mark.parametrize(
    "how_often, faster, expected",
    [
        ("always", 8, HOLDS), ("always", 7, CONTRADICTED),
        ("generally", 5, HOLDS), ("generally", 4, CONTRADICTED),
        ("sometimes", 1, HOLDS), ("sometimes", 0, CONTRADICTED),
        ("rarely", 1, HOLDS), ("rarely", 2, CONTRADICTED),
        ("never", 0, HOLDS), ("never", 1, CONTRADICTED),
    ],
)  # fmt: skip
def test_how_often(how_often: str, faster: int, expected: str) -> None:
    """gemm is faster in so many of 8 settings, which are numbers of threads."""
    frame = grid(
        lambda row: 1.0 if row["primitive"] == "direct" else 0.5 if row["threads"] <= faster else 2,
        networks={"vgg16": 1.0}, compression=("none",), tuning=("untuned",),
        threads=tuple(range(1, 9)), primitive=("direct", "gemm"),
    )  # fmt: skip
    test = {**FASTER, "than": [{"primitive": "direct"}], "how_often": how_often}
    found = verdict(frame, test)
    assert found.verdict == expected
    assert f"in {faster} of 8 settings" in found.sentence


def test_the_best_level_is_taken_over() -> None:
    """Weight pruning is faster with gemm only, and best of all with it."""
    frame = grid(
        lambda row: 0.5 if (row["compression"], row["primitive"]) == ("weight_pruning", "gemm")
        else 2.0 if row["compression"] == "weight_pruning" else 1.0
    )  # fmt: skip
    test = {
        "kind": "faster", "choice": {"compression": "weight_pruning"},
        "than": [{"compression": "none"}],
    }  # fmt: skip
    assert verdict(frame, test).verdict == CONTRADICTED
    assert verdict(frame, {**test, "best_over": ["primitive"]}).verdict == HOLDS


def test_networks_like_these_are_counted_not_their_stacks() -> None:
    test = {**FASTER, "about": "networks like these"}
    few = {"a": 1.0, "b": 2.0, "c": 3.0}
    many = {name: 1.0 for name in "abcdefgh"}
    latency = times(primitive={"gemm": 0.5})
    assert verdict(grid(latency, networks=few), test).verdict == UNDECIDED
    assert verdict(grid(latency, networks=many), test).verdict == HOLDS
    slow = times(primitive={"gemm": 2.0})
    assert verdict(grid(slow, networks=many), test).verdict == CONTRADICTED


def test_too_few_networks_for_the_claim() -> None:
    found = verdict(grid(times(primitive={"gemm": 0.5})), {**FASTER, "networks": 4})
    assert found.verdict == NOT_TESTABLE
    assert "It needs 4 networks" in found.missing[0]
    assert found.sentence.endswith(", and the claim needs 4.")


@pytest.mark.parametrize(
    "asked, left",
    [
        ({"tuning": "not tuned"}, {"untuned"}),
        ({"tuning": ["tuned", "untuned"]}, {"untuned", "template"}),
        ({"compression": ["not none", "not *pruning"]}, {"float16", "int8"}),
        ({"compression": ["none", "int8"]}, {"none", "int8"}),
    ],
)  # fmt: skip
def test_which_stacks_a_list_and_a_negation_take(asked: dict[str, Any], left: set[str]) -> None:
    frame = grid(times(primitive={"gemm": 0.5}))
    found = verdict(frame, {**FASTER, "where": asked})
    stacks = frame[frame["key"].isin(found.rows)]
    assert set(stacks[next(iter(asked))]) == left


def test_not_tuned_is_a_level_and_no_kind_of_tuning() -> None:
    found = verdict(
        grid(times(primitive={"gemm": 0.5})), {**FASTER, "where": {"tuning": "not tuned"}}
    )
    assert "Tuned is" not in found.sentence


def test_a_reason_is_the_reason() -> None:
    never = grid()
    unknown = {**CORRELATION, "of": ["macs", "energy_j"]}
    assert verdict(never, unknown).missing == (f"energy_j is unknown for all {len(never)} stacks.",)
    apart = never.assign(macs=never["macs"].where(never["threads"] > 1), threads=1)
    apart = pd.concat([apart, grid(threads=(2,)).assign(latency_s=np.nan)])
    assert verdict(apart, {**CORRELATION, "of": ["macs", "latency_s"]}).missing == (
        "No stack has both macs and latency_s: add networks to the study.",
    )


def test_any_rival_is_called_so() -> None:
    found = verdict(grid(), {**FASTER, "than": [{"primitive": "*"}]})
    assert "gemm is faster than any primitive: " in found.sentence


def test_a_promise_that_is_met_exactly_is_counted_as_it_is_decided() -> None:
    promise = {"kind": "promise", "choice": {"compression": "int8"}}
    found = verdict(grid(times(compression={"int8": 0.25}), width=0.0), promise)
    assert (found.verdict, found.numbers[0].value) == (CONTRADICTED, 0.0)


def test_stacks_timed_side_by_side_are_compared_round_by_round() -> None:
    """Drift that meets both hides a difference of 2 % from the medians, not from the pairs."""
    frame = grid(networks={"vgg16": 1.0}, compression=("none",), tuning=("untuned",),
                 primitive=("direct", "gemm"))  # fmt: skip
    drift = np.exp(0.3 * np.sin(np.linspace(0, 9, 150)))
    rounds = {
        key: drift * (0.98 if primitive == "gemm" else 1.0)
        for key, primitive in zip(frame["key"], frame["primitive"], strict=True)
    }
    estimates = [median_interval(rounds[key]) for key in frame["key"]]
    for column, place in (("latency_s", 0), ("latency_low_s", 1), ("latency_high_s", 2)):
        frame[column] = [estimate[place] for estimate in estimates]
    test = {**FASTER, "than": [{"primitive": "direct"}]}
    assert verdict(frame.assign(group="one"), test, rounds=rounds).verdict == HOLDS
    assert verdict(frame.assign(group=frame["key"]), test, rounds=rounds).verdict == UNDECIDED
    assert verdict(frame.assign(group="one"), test).verdict == UNDECIDED


def test_a_claim_about_machines_sees_all_of_them() -> None:
    both = pd.concat([grid(machine=CPU), grid(times(compression={"int8": 0.2}), machine=GPU)])
    test = {
        **GAIN, "choice": {"device": "cpu"}, "than": {"device": "gpu"},
        "before": {"compression": "none"}, "after": {"compression": "int8"},
    }  # fmt: skip
    assert verdict(both, test).verdict == HOLDS
    assert verdict(both[both["machine"] == CPU], test).missing == (
        "None of the machines is a GPU: run the study on a GPU.",
    )


def test_a_part_that_fails_decides_and_without_one_a_part_that_cannot_be_tested() -> None:
    frame = grid(times(primitive={"gemm": 0.5}))
    good = {**FASTER, "part": "gemm"}
    bad = {"kind": "faster", "part": "direct", "choice": {"primitive": "direct"},
           "than": [{"primitive": "gemm"}]}  # fmt: skip
    absent = {**FASTER, "part": "on GPUs", "where": {"device": "gpu"}}
    assert verdict(frame, good, bad).verdict == CONTRADICTED
    assert verdict(frame, good, bad).sentence.startswith("Direct, contradicted: ")
    found = verdict(frame, good, absent)
    assert found.verdict == NOT_TESTABLE
    assert found.sentence.startswith("Gemm, holds: ")
    assert "On GPUs, not testable here: " in found.sentence
    assert found.missing == ("None of the machines is a GPU: run the study on a GPU.",)
    assert found.rows
    assert verdict(grid(), good, absent).verdict == NOT_TESTABLE
    assert verdict(frame, good, absent, bad).verdict == CONTRADICTED


def test_parts_of_a_correlation_share_the_chance() -> None:
    """What is sure enough alone is not as one of many parts, and the 95 % interval stays."""
    apart = 1.017  # 95 % intervals, ends 0.8 % off, do not touch
    seconds = {"vgg16": 1.0, "resnet18": 1 / apart, "mobilenetv2": apart**-2}
    frame = grid(times(network=seconds), primitive=("gemm",), tuning=("untuned",),
                 compression=("none",), width=0.008)  # fmt: skip
    against = {"kind": "correlation", "of": ["parameters", "latency_s"], "above": 0.7}
    alone, shared = verdict(frame, against), verdict(frame, *[against] * 100)
    assert (alone.verdict, shared.verdict) == (HOLDS, UNDECIDED)
    assert alone.numbers[0] == shared.numbers[0]


@pytest.mark.parametrize("kind", ["faster", "promise", "differs"])
def test_a_choice_is_not_its_own_rival(kind: str) -> None:
    frame = grid(times(compression={"int8": 0.01}))
    than = {"compression": "none"}
    test = {
        "kind": kind, "choice": {"compression": "*"}, "than": [than] if kind == "faster" else than,
    }  # fmt: skip
    found = verdict(frame, test)
    assert found.verdict == NOT_TESTABLE
    assert found.missing == (
        "Every stack with compression = none has compression = * too: compare with others.",
    )
    apart = verdict(frame, {**test, "for_each": ["optimizations"], "best_over": ["primitive"]})
    assert "24 settings of 3 networks" in apart.sentence  # 4 compressions, 2 tunings
