"""What ``understand`` says of studies whose truth is known, and of those that say little."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from typer.testing import CliRunner

from dlas.analysis.interactions import Understanding, understand
from dlas.cli.main import app
from dlas.store.archive import StudyResults, save_archive
from dlas.store.schema import RESULTS
from dlas.testing.planted import Score, planted
from dlas.testing.studies import MACHINE, PlantedStudy, Shape, measured_study, planted_study

GRID = {
    "network": ("vgg16", "resnet18", "mobilenetv2"),
    "primitive": ("direct", "gemm", "spatial_pack"),
    "tuning": ("untuned", "template"),
}


def study(bests: dict[tuple[int, int], int], lead: float = 0.2, **more: object) -> PlantedStudy:
    """Every algorithm as fast as all, but the best of a network (first) and tuning by ``lead``."""
    table = np.full((3, 3, 2), np.log(5e-3))
    for (network, tuning), best in bests.items():
        table[network, best, tuning] -= lead
    return measured_study(GRID, table, **more)  # type: ignore[arg-type]


def every(best: int) -> dict[tuple[int, int], int]:
    return {(network, tuning): best for network in range(3) for tuning in range(2)}


def of(found: Understanding, changed: str, sought: str) -> list[str]:
    return [f.sentence for f in found.flips if (f.changed, f.of) == (changed, sought)]


FLIPPED = {**every(1), (0, 1): 0, (1, 1): 0}  # GEMM; direct when two networks are tuned


def test_a_flip_is_a_plain_sentence_with_its_evidence() -> None:
    made = study(FLIPPED)
    found = understand(made.frame, made.rounds)
    assert of(found, "tuning", "primitive") == [
        "Changing only the tuning from untuned to template changes the fastest algorithm from GEMM "
        "to direct for resnet18 and vgg16."
    ]
    flip = next(f for f in found.flips if f.changed == "tuning")
    assert (flip.before, flip.after, flip.best_before, flip.best_after) == (
        "untuned", "template", "gemm", "direct",
    )  # fmt: skip
    assert sorted(flip.contexts) == ["resnet18", "vgg16"]
    assert flip.looked == 3
    assert len(flip.rows) == 8
    assert flip.low < flip.margin < flip.high
    for low, high in ((flip.low, flip.high), (flip.low_before, flip.high_before)):
        assert low < np.exp(0.2) < high < 1.1 * low
    first = made.frame.set_index("key").loc[list(flip.rows[:4])]
    assert list(first["primitive"]) == ["direct", "gemm", "gemm", "direct"]
    assert list(first["tuning"]) == ["template", "template", "untuned", "untuned"]
    assert first["network"].nunique() == 1


def test_networks_flip_the_best_too() -> None:
    made = study(FLIPPED)
    found = understand(made.frame, made.rounds)
    assert len(of(found, "network", "primitive")) == 2  # vgg16 and resnet18 against mobilenetv2


def test_what_never_changes_is_steady() -> None:
    made = study(every(2))
    found = understand(made.frame, made.rounds)
    assert not found.flips
    sentences = [one.sentence for one in found.steady]
    assert (
        "The fastest algorithm does not depend on the tuning in any of 3 clear comparisons: "
        "it is spatial pack in all."
    ) in sentences


def test_no_flip_where_leads_are_within_the_margin() -> None:
    made = study(FLIPPED, lead=0.012, runs=150)
    assert not understand(made.frame, made.rounds).flips


def test_no_flip_where_intervals_overlap() -> None:
    made = study(FLIPPED)
    frame = made.frame.assign(
        latency_low_s=made.frame["latency_s"] * 0.8, latency_high_s=made.frame["latency_s"] * 1.25
    )
    assert not understand(frame, made.rounds).flips


def test_no_flip_where_the_old_best_is_not_measured_after_the_change() -> None:
    kept = np.ones((3, 3, 2), bool)
    kept[:2, 1, 1] = False  # GEMM tuned
    made = study(FLIPPED, measured=kept)
    assert not of(understand(made.frame, made.rounds), "tuning", "primitive")


def test_sessions_apart_need_a_larger_lead() -> None:
    quiet = np.random.default_rng(3)
    made = study(FLIPPED, lead=0.035, runs=150, random=quiet)
    assert of(understand(made.frame, made.rounds), "tuning", "primitive")
    apart = made.frame.assign(group=made.frame["key"])
    assert not understand(apart, made.rounds).flips


def test_flips_need_no_samples_but_intervals() -> None:
    made = study(FLIPPED)
    assert of(understand(made.frame), "tuning", "primitive")
    blank = made.frame.assign(latency_low_s=np.nan, latency_high_s=np.nan)
    found = understand(blank)
    assert not found.flips
    assert any("ran too few times" in sentence for sentence in found.said)


def test_many_contexts_are_counted() -> None:
    grid = {
        "network": ("vgg16", "resnet18", "mobilenetv2"),
        "compression": ("none", "weight_pruning", "float16"),
        "primitive": ("direct", "gemm"),
        "tuning": ("untuned", "template"),
    }
    table = np.full((3, 3, 2, 2), np.log(5e-3))
    table[:, :, 1, 0] -= 0.3
    table[:, :, 0, 1] -= 0.3
    made = measured_study(grid, table)
    (sentence,) = of(understand(made.frame, made.rounds), "tuning", "primitive")
    assert "from GEMM to direct in 9 of 9 cases, most of all for " in sentence


def test_systems_are_compared_at_their_fastest_and_apart_from_what_only_one_has() -> None:
    made = planted_study(4, peers=True, holes=0)
    found = understand(made.frame, made.rounds)
    scopes = {effect.scope: {e.factors for e in found.effects if e.scope == effect.scope}
              for effect in found.effects}  # fmt: skip
    inner, outer = scopes["stacks of tvm"], scopes["systems, each at its fastest choices"]
    assert ("primitive", "tuning") in inner
    assert ("software",) not in inner
    assert ("network", "software") in outer
    assert not any("primitive" in factors or "tuning" in factors for factors in outer)


def test_what_follows_from_another_choice_is_named_or_joined() -> None:
    made = planted_study(4, peers=False, holes=0)
    frame = made.frame.copy()
    pruned = frame["compression"] == "weight_pruning"
    frame.loc[pruned, "format"] = "csr"  # as it must be: nothing to tell
    frame["batch"] = frame["network"].map({n: i + 1 for i, n in enumerate(made.levels[0])})
    found = understand(frame, made.rounds)
    assert {e.factors[0] for e in found.effects if len(e.factors) == 1} == set(made.factors)
    assert found.said == (
        f"{MACHINE}: The batch follows from the network: the two cannot be told apart.",
    )


def test_a_format_crossed_in_part_is_one_factor_with_the_compression() -> None:
    made = planted_study(4, peers=False, holes=0)
    pruned = made.frame[made.frame["compression"] == "weight_pruning"]
    sparse = pruned.assign(format="csr", key=pruned["key"] + "-csr", algorithm="sparse")
    found = understand(pd.concat([made.frame, sparse]), made.rounds)
    alone = {e.factors[0]: e.levels for e in found.effects if len(e.factors) == 1}
    assert "format" not in alone
    assert alone["compression"] == (len(made.levels[1]) + 1,)


def test_two_levels_of_one_compression_are_told_apart_by_their_labels() -> None:
    made = planted_study(4, peers=False, holes=0)
    more = made.frame[made.frame["compression"] == "weight_pruning"]
    more = more.assign(optimizations="weight_pruning(0.9)", key=more["key"] + "-90")
    found = understand(pd.concat([made.frame, more]), made.rounds)
    alone = {e.factors[0]: e.levels for e in found.effects if len(e.factors) == 1}
    assert alone["optimizations"] == (len(made.levels[1]) + 1,)


def test_two_machines_are_never_mixed() -> None:
    one, other = study(FLIPPED), study(every(2), random=np.random.default_rng(9))
    moved = other.frame.assign(machine="Another CPU", key=other.frame["key"] + "-other")
    samples = {**one.rounds, **{f"{key}-other": found for key, found in other.rounds.items()}}
    both = understand(pd.concat([one.frame, moved], ignore_index=True), samples)
    assert both.machines == (MACHINE, "Another CPU")
    assert both.said[0] == (
        f"2 machines are analysed apart, never compared: {MACHINE} and Another CPU."
    )
    apart = [understand(one.frame, samples), understand(moved, samples)]
    for name in ("effects", "rests", "flips", "steady", "correlations", "fronts", "budgets"):
        together = [found for part in apart for found in getattr(part, name)]
        assert repr(together) == repr(list(getattr(both, name)))  # NaN is itself in text


def blank(**columns: object) -> pd.DataFrame:
    frame = planted_study(4, peers=False, holes=0.1).frame
    return frame.assign(**columns)


REFUSED = {"status": "refused", "latency_s": np.nan, "accuracy": np.nan}
BAD = {
    "no stacks": (
        pd.DataFrame(columns=[column.name for column in RESULTS]),
        "The study has no stacks, so there is nothing to understand.",
    ),
    "all refused": (blank(**REFUSED), "No stack has a latency (150 refused), so there is nothing"),
    "one stack": (
        blank()[lambda frame: frame["latency_s"].notna()].head(1),
        f"{MACHINE}: only one stack was measured, so there is nothing to compare.",
    ),
    "no accuracy": (blank(accuracy=np.nan), f"{MACHINE}: no accuracy is known"),
    "zero latency": (blank(latency_s=0.0), "No stack has a latency (140 ok, 10 refused)"),
    "one choice only": (
        blank()[lambda frame: frame["latency_s"].notna()].head(2),
        f"{MACHINE}: the variance of latency",
    ),
    "three stacks": (blank().head(3), f"{MACHINE}: the variance of latency"),
    "no intervals": (blank(latency_low_s=np.nan, latency_high_s=np.nan), "ran too few times"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_said_is_a_sentence(case: str) -> None:
    frame, sentence = BAD[case]
    found = understand(frame)
    assert any(sentence in said for said in found.said), found.said
    if not found.machines:
        assert found == Understanding(said=found.said)


UNKNOWN = ["network", "compression", "primitive", "format", "software", "tuning", "threads",
           "batch", "machine", "group", "sparse_bytes", "macs", "dataset"]  # fmt: skip


@pytest.mark.parametrize("column", UNKNOWN)
@pytest.mark.parametrize("value", [None, np.nan], ids=["none", "nan"])
def test_choices_that_were_not_recorded_stop_nothing(column: str, value: object) -> None:
    made = planted_study(5, peers=True)
    found = understand(made.frame.assign(**{column: value}), made.rounds)
    assert found.machines
    assert found.effects


def test_networks_without_accuracy_have_no_front_and_no_budget() -> None:
    found = understand(blank(accuracy=np.nan))
    assert not found.fronts
    assert not found.budgets
    assert {e.quantity for e in found.effects} == {"latency_s", "sparse_bytes"}


def test_one_stack_is_still_the_best_there_is() -> None:
    frame, _ = BAD["one stack"]
    found = understand(frame)
    (key,) = frame["key"]
    assert found.fronts[0].members == (key,)
    assert {best.key for best in found.budgets} == {key}


def priced(*stacks: tuple[float, float, float]) -> pd.DataFrame:
    """(latency in ms, accuracy, half of the interval in ms), keyed a, b, …"""
    frame = blank()[lambda found: found["latency_s"].notna()].head(len(stacks)).copy()
    latency, accuracy, half = np.array(stacks).T
    return frame.assign(
        key=[*"abcdefgh"[: len(stacks)]], latency_s=latency / 1e3, accuracy=accuracy,
        latency_low_s=(latency - half) / 1e3, latency_high_s=(latency + half) / 1e3,
    )  # fmt: skip


def test_a_dominated_stack_knows_how_far_it_is_from_the_front() -> None:
    found = understand(
        priced((1, 0.80, 0.1), (2, 0.90, 0.1), (3, 0.85, 0.1), (2.1, 0.90, 0.1), (6, 0.90, 0.1))
    )
    (front,) = found.fronts
    assert front.members == ("a", "b")
    assert [(one.key, one.by, one.certain) for one in front.dominated] == [
        ("d", "b", False), ("c", "b", True), ("e", "b", True),
    ]  # fmt: skip
    assert [one.shrink for one in front.dominated] == pytest.approx([1.05, 1.5, 3])
    assert [one.points for one in front.dominated] == pytest.approx([0, 0.05, 0])


def test_the_best_of_a_budget_names_rivals_that_cannot_be_told_apart() -> None:
    found = understand(
        priced((1, 0.80, 0.1), (2, 0.90, 0.1), (3, 0.85, 0.1), (2.1, 0.90, 0.1), (6, 0.90, 0.1))
    )
    best = {(one.goal, one.key): one for one in found.budgets}
    fastest = best["latency_s", "b"]
    assert fastest.limit == pytest.approx(0.85)  # the widest budget that it is best in
    assert fastest.rivals == ("d",)
    assert fastest.sentence.endswith("; another stack cannot be told apart from it.")
    assert best["latency_s", "a"].limit == pytest.approx(0.80)
    assert best["accuracy", "a"].limit == pytest.approx(1e-3)
    assert best["accuracy", "b"].limit == pytest.approx(1e-2)


def test_rivals_in_accuracy_are_those_whom_the_test_images_do_not_tell_apart() -> None:
    frame = priced((1, 0.88, 0.1), (2, 0.90, 0.1), (3, 0.70, 0.1), (4, 0.90, 0.1))
    rivals = {}
    for images in (1017, 1_000_000, np.nan):
        found = understand(frame.assign(test_images=images)).budgets
        rivals[images] = {b.limit: b.rivals for b in found if (b.goal, b.key) == ("accuracy", "b")}
    assert list(rivals.values()) == [{0.005: ("a", "d")}, {0.005: ("d",)}, {0.005: ("d",)}]


@pytest.mark.parametrize("top", [0.0, 2e-4, 0.0503])
def test_budgets_are_possible_and_their_best_has_the_value(top: float) -> None:
    frame = priced((1, max(0, top - 3e-4), 0.1), (2, top, 0.1))
    found = understand(frame).budgets
    for one in found:
        assert one.limit > 0
        assert "-" not in one.sentence.split(" on cifar10")[0]
        assert one.value == frame.set_index("key")[one.goal][one.key]
    accurate = [one for one in found if one.goal == "accuracy"]
    assert max(one.value for one in accurate) == top


def test_batches_are_not_compared_in_fronts() -> None:
    frame = priced((1, 0.8, 0.1), (8, 0.8, 0.1), (2, 0.8, 0.1), (9, 0.8, 0.1))
    found = understand(frame.assign(batch=[1, 8, 1, 8]))
    assert {front.task: front.members for front in found.fronts} == {
        "cifar10, batch 1": ("a",), "cifar10, batch 8": ("b",),
    }  # fmt: skip


def test_correlations_are_of_networks_as_compressed() -> None:
    made = planted_study(6, holes=0, peers=False)
    found = {(one.a, one.b): one for one in understand(made.frame, made.rounds).correlations}
    one = found["effective_macs", "latency_s"]
    points = made.frame.sort_values("latency_s").drop_duplicates(["network", "compression"])
    assert one.count == len(points) == 25
    assert one.value == pytest.approx(
        spearmanr(points["effective_macs"], points["latency_s"]).statistic
    )
    assert one.low <= one.value <= one.high
    assert one.scope == "5 networks on cifar10, each as compressed, at its fastest"


def test_stacks_of_three_networks_give_a_correlation_no_interval() -> None:
    frame = planted_study(6, shape=Shape(networks=3), holes=0, peers=False).frame
    found = understand(frame).correlations
    assert all(np.isfinite(one.value) for one in found)
    assert all(np.isnan([one.low, one.high, one.pearson_low]).all() for one in found)


def test_planted_truths_are_found_and_few_are_made_up() -> None:
    found = planted(5, seed=1)
    for one in (found.pairs, found.choices, found.flips):
        assert one.planted >= 10
        assert one.recall >= 0.95, one
        assert one.false_share <= 0.05, one
    assert found.pairs.nulls > 5


def test_scores_add_up() -> None:
    total = Score("a", 10, 9, 12, 3, 1) + Score("a", 10, 10, 8, 1, 1)
    assert (total.recall, total.false_share) == (0.95, 0.2)
    assert (Score("a").recall, Score("a").false_share) == (1.0, 0.0)


@pytest.fixture
def file(tmp_path: Path) -> str:
    made = study(FLIPPED)
    path = tmp_path / "made-up.parquet"
    save_archive(StudyResults("made-up", made.frame, made.samples, made.blocks), path)
    return str(path)


def test_the_command_prints_maps_flips_and_budgets(file: str) -> None:
    ran = CliRunner().invoke(app, ["interactions", file], env={"COLUMNS": "200"})
    assert ran.exit_code == 0, ran.output
    for said in (
        MACHINE,
        "Variance of latency explained, %",
        "changes the fastest algorithm from GEMM to direct for resnet18 and vgg16.",
        "Keeping GEMM costs ×1.2",
        "on the front of latency and accuracy",
        "The fastest stack at an accuracy of",
    ):
        assert said in ran.output


def test_the_command_says_what_three_networks_cannot_tell(tmp_path: Path) -> None:
    made = planted_study(6, shape=Shape(networks=3), holes=0, peers=False)
    path = tmp_path / "few.parquet"
    save_archive(StudyResults("few", made.frame, made.samples, made.blocks), path)
    ran = CliRunner().invoke(app, ["interactions", str(path)], env={"COLUMNS": "200"})
    (line,) = [line for line in ran.output.splitlines() if "effective MACs and latency" in line]
    assert "unknown" in line
    assert "nan" not in ran.output


def test_the_command_gives_plain_data(file: str) -> None:
    ran = CliRunner().invoke(app, ["interactions", file, "--json"])
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.output)
    assert found["machines"] == [MACHINE]
    assert {"sentence", "rows", "margin", "low", "high", "contexts"} <= set(found["flips"][0])


def test_the_command_says_why_there_is_nothing(tmp_path: Path) -> None:
    frame, sentence = BAD["all refused"]
    path = tmp_path / "refused.parquet"
    save_archive(StudyResults("refused", frame, {}), path)
    ran = CliRunner().invoke(app, ["interactions", str(path)], env={"COLUMNS": "200"})
    assert ran.exit_code == 0
    assert sentence in ran.output
