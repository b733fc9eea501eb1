"""How often noise alone decides a claim: in at most 5 % of the draws, for every kind of test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from claims_frames import IMAGES, blurred, grid, times

from dlas.analysis.claims import judge
from dlas.analysis.claims.claim import parse_claims
from dlas.analysis.claims.evidence import Effect
from dlas.analysis.claims.kinds.counted import mean_of
from dlas.measure.statistics import ratio_of_rounds

DRAWS = 100
MOST = 5
NETWORKS = {name: 1e6 for name in "abcd"}
TWO = {"kind": "faster", "choice": {"primitive": "gemm"}, "than": [{"primitive": "direct"}]}
WORDS = ("always", "generally", "sometimes", "rarely", "never")
Draw = Callable[[np.random.Generator], pd.DataFrame]


def rates(
    tests: Sequence[dict[str, Any]], draw: Draw, wrong: Sequence[str] = ("holds", "contradicted")
) -> list[int]:
    """In how many draws each test said what is wrong: anything but "undecided"."""
    shared = {"title": "One", "statement": "It is so.", "reading": "As it says."}
    tables = [{**shared, "id": f"own.{n}", "test": [test]} for n, test in enumerate(tests)]
    claims = parse_claims({"source": {"paper": "Ours"}, "claim": tables})
    found = [0] * len(tests)
    for seed in range(DRAWS):
        verdicts = judge(claims, draw(np.random.default_rng(seed)))
        assert all(verdict.verdict != "not testable here" for verdict in verdicts)
        found = [n + (v.verdict in wrong) for n, v in zip(found, verdicts, strict=True)]
    return found


def rate(test: dict[str, Any], draw: Draw) -> int:
    return rates([test], draw)[0]


def noisy(**factors: Any) -> Draw:
    """Four networks, latencies that differ by these factors and noise."""
    true = grid(
        times(**factors), networks=NETWORKS, width=0.02,
        compression=("none", "int8"), primitive=("direct", "gemm", "spatial_pack"),
    )  # fmt: skip
    return lambda noise: blurred(true, noise)


def test_equal_latencies() -> None:
    tests = [
        {**TWO, "how_often": word, "best_over": best}
        for word in WORDS
        for best in ([], ["threads", "tuning"])
    ]
    assert max(rates(tests, noisy())) <= MOST


def test_one_setting() -> None:
    test = {**TWO, "where": {"network": "a", "tuning": "untuned", "compression": "none"}}
    assert rate(test, noisy()) <= MOST


def test_three_equal_rivals() -> None:
    test = {**TWO, "than": [{"primitive": ["direct", "spatial_pack"]}]}
    assert rate(test, noisy()) <= MOST


def test_a_ratio_at_its_bound() -> None:
    assert rate({**TWO, "times": 2.0}, noisy(primitive={"direct": 2.0})) <= MOST


def test_equal_gains() -> None:
    test = {
        "kind": "gain",
        "choice": {"compression": "int8"}, "than": {"compression": "none"},
        "before": {"tuning": "untuned"}, "after": {"tuning": "template"},
    }  # fmt: skip
    assert rate(test, noisy(tuning={"template": 0.5})) <= MOST


def test_levels_that_are_equally_good() -> None:
    test = {
        "kind": "flip", "before": {"tuning": "untuned"}, "after": {"tuning": "template"},
        "levels": [{"primitive": "direct"}, {"primitive": "gemm"}, {"primitive": "spatial_pack"}],
    }  # fmt: skip
    assert rate(test, noisy()) <= MOST


def test_levels_of_which_one_loses_its_lead() -> None:
    """Ahead before and level afterwards: no flip, and no level that is best on both sides."""
    test = {
        "kind": "flip", "before": {"tuning": "untuned"}, "after": {"tuning": "template"},
        "levels": [{"primitive": "direct"}, {"primitive": "gemm"}],
    }  # fmt: skip

    true = grid(
        lambda row: 2.0 if (row["primitive"], row["tuning"]) == ("gemm", "untuned") else 1.0,
        networks=NETWORKS, width=0.02, compression=("none", "int8"),
    )  # fmt: skip
    assert rate(test, lambda noise: blurred(true, noise)) <= MOST


def test_as_far_apart_as_the_bound() -> None:
    test = {
        "kind": "differs", "times": 1.5,
        "choice": {"primitive": "direct"}, "than": {"primitive": "gemm"},
    }  # fmt: skip
    assert rate(test, noisy(primitive={"gemm": 1.5})) <= MOST


def test_a_promise_that_is_just_met() -> None:
    test = {"kind": "promise", "choice": {"compression": "int8"}}
    assert rate(test, noisy(compression={"int8": 0.25})) <= MOST


@pytest.mark.parametrize("bounds", [{"at_least": 2.0}, {"at_most": 2.0}])
def test_a_loss_at_its_bound(bounds: dict[str, float]) -> None:
    def draw(noise: np.random.Generator) -> pd.DataFrame:
        def accuracy(row: Any) -> float:
            return (
                float(noise.binomial(IMAGES, 0.88 if row["compression"] == "int8" else 0.9))
                / IMAGES
            )

        frame = grid(accuracy=accuracy, networks=NETWORKS, primitive=("gemm",), tuning=("untuned",),
                     compression=("none", "int8"))  # fmt: skip
        plain = frame[frame["compression"] == "none"].set_index("network")["accuracy"]
        return frame.assign(baseline_accuracy=frame["network"].map(plain))

    test = {"kind": "average", "choice": {"compression": "int8"}, **bounds}
    assert rate(test, draw) <= MOST


@pytest.mark.parametrize("bound", [{"below": 0.5}, {"above": 0.5}])
def test_a_correlation_at_its_bound(bound: dict[str, float]) -> None:
    """Of 12 networks, drawn from a population in which the rank correlation is the bound."""
    pearson = 2 * np.sin(np.pi * 0.5 / 6)  # for normal pairs of that rank correlation

    def draw(noise: np.random.Generator) -> pd.DataFrame:
        x = noise.standard_normal(12)
        y = pearson * x + np.sqrt(1 - pearson**2) * noise.standard_normal(12)
        networks = {f"n{i}": 1e6 * float(np.exp(value)) for i, value in enumerate(x)}
        seconds = {f"n{i}": float(np.exp(value)) for i, value in enumerate(y)}
        return grid(times(network=seconds), networks=networks, primitive=("gemm",),
                    tuning=("untuned",), compression=("none",))  # fmt: skip

    test = {
        "kind": "correlation", "of": ["parameters", "latency_s"], **bound,
        "about": "networks like these",
    }  # fmt: skip
    assert rate(test, draw) <= MOST


@pytest.mark.parametrize("count, gap", [(4, 0.001), (7, 0.001), (7, 0.004), (12, 0.004)])
@pytest.mark.parametrize("order, bound", [(1, {"below": 0.7}), (-1, {"above": -0.7})])
def test_noise_does_not_hide_that_two_quantities_go_together(
    count: int, gap: float, order: int, bound: dict[str, float]
) -> None:
    """Accuracies rise with size, by less than 1,000 images tell."""

    def draw(noise: np.random.Generator) -> pd.DataFrame:
        def accuracy(row: Any) -> float:
            return float(noise.binomial(1000, 0.9 + order * gap * int(row["network"][1:])) / 1000)

        return grid(accuracy=accuracy, networks={f"n{i}": 1e6 * (i + 1) for i in range(count)},
                    primitive=("gemm",), tuning=("untuned",), compression=("none",),
                    ).assign(test_images=1000)  # fmt: skip

    test = {"kind": "correlation", "of": ["parameters", "accuracy"], **bound}
    assert rates([test], draw, wrong=["holds"])[0] <= MOST


@pytest.mark.parametrize("bound", [{"below": 0.5}, {"above": 0.5}])
def test_a_correlation_of_these_networks_at_its_bound(bound: dict[str, float]) -> None:
    seconds = {"n1": 1.02, "n2": 1.06, "n3": 1.00, "n4": 1.04, "n5": 1.08}
    true = grid(
        times(network=seconds), networks={name: 1e6 * int(name[1]) for name in seconds}, width=0.03,
        primitive=("gemm",), tuning=("untuned",), compression=("none",),
    )  # fmt: skip
    assert pd.Series(seconds.values()).corr(pd.Series(range(5)), "spearman") == pytest.approx(0.5)
    test = {"kind": "correlation", "of": ["parameters", "latency_s"], **bound}
    assert rate(test, lambda noise: blurred(true, noise)) <= MOST


@pytest.mark.parametrize("bound", [{"at_least": 90.0}, {"at_most": 90.0}])
def test_a_mean_accuracy_over_the_same_images(bound: dict[str, float]) -> None:
    """What is hard for one network is hard for all."""

    def draw(noise: np.random.Generator) -> pd.DataFrame:
        labelled = float(noise.binomial(IMAGES, 0.9)) / IMAGES
        return grid(accuracy=lambda row: labelled, networks=NETWORKS, primitive=("gemm",),
                    tuning=("untuned",), compression=("none",))  # fmt: skip

    test = {"kind": "average", "choice": {"compression": "none"}, "column": "accuracy", **bound}
    assert rate(test, draw) <= 2 * MOST  # by the exact interval: about 5 are expected


@pytest.mark.parametrize("count", [3, 8])
def test_networks_that_differ_either_way(count: int) -> None:
    """gemm is faster for some networks and slower for as many others, by chance."""

    def draw(noise: np.random.Generator) -> pd.DataFrame:
        factor = {f"n{i}": float(np.exp(0.5 * noise.standard_normal())) for i in range(count)}
        return grid(
            lambda row: factor[row["network"]] if row["primitive"] == "gemm" else 1.0,
            networks=dict.fromkeys(factor, 1e6), compression=("none",),
        )  # fmt: skip

    assert rate({**TWO, "about": "networks like these"}, draw) <= MOST


def test_samples_taken_side_by_side() -> None:
    """One pair, compared by its 95 % interval alone: about 5 of 100 are expected."""
    frame = grid(networks={"a": 1e6}, compression=("none",), tuning=("untuned",)).assign(
        group="one"
    )
    drift = np.exp(0.2 * np.sin(np.linspace(0, 9, 150)))
    shared = {"id": "own.one", "title": "One", "statement": "It is so.", "reading": "As it says."}
    claims = parse_claims({"source": {"paper": "Ours"}, "claim": [{**shared, "test": [TWO]}]})
    found = 0
    for seed in range(3 * DRAWS):
        noise = np.random.default_rng(seed)
        samples = {k: drift * np.exp(0.05 * noise.standard_normal(150)) for k in frame["key"]}
        found += judge(claims, frame, samples)[0].verdict != "undecided"
    assert found <= 3 * MOST + 6


@pytest.mark.parametrize("rounds", [3, 5, 10, 40])
def test_few_rounds_make_far_ends_likelier(rounds: int) -> None:
    """Equal stacks, by chances that many settings would ask for."""
    noise, chances = np.random.default_rng(rounds), []
    for _ in range(4000):
        a, b = np.exp(0.05 * noise.standard_normal((2, rounds)))
        found = ratio_of_rounds(a, b)
        assert found.low is not None
        assert found.high is not None
        effect = Effect.ratio(found.value, found.low, found.high, degrees=rounds - 1)
        chances.append(effect.chance_above(1.0))
    for asked in (0.1, 0.025, 0.005):
        assert np.mean(np.array(chances) <= asked) <= 1.3 * asked + 0.001


@pytest.mark.parametrize("networks", [3, 4, 7])
def test_the_mean_over_networks_is_covered(networks: int) -> None:
    """The true mean lies in the 95 % interval, however few networks there are."""
    noise = np.random.default_rng(networks)
    ends = [mean_of(noise.standard_normal(networks).tolist())[1:] for _ in range(4000)]
    assert np.mean([low <= 0 <= high for low, high in ends]) >= 0.93
