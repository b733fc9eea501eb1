"""What was understood, as the page shows it: maps, flips, verdicts, and links to their stacks."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlas.analysis.claims import Number, Verdict, published
from dlas.analysis.interactions import Effect, Flip, Understanding, understand
from dlas.report.evidence import Rows, ranges
from dlas.report.flips import chart
from dlas.report.page import render
from dlas.report.rows import ready
from dlas.report.understanding import maps, to_front, understanding
from dlas.report.verdicts import OBSERVATIONS, SIGNS, verdict_counts, verdict_groups
from dlas.testing.results import made_up_info, made_up_results

FLIP = Flip(
    machine="a", sentence="It flips.", changed="tuning", before="untuned", after="template",
    of="primitive", best_before="gemm", best_after="direct", contexts=("resnet18",), rows=(),
    margin=2.0, low=1.5, high=2.5, margin_before=1.2, low_before=1.1, high_before=1.3, chance=0.01,
    looked=1,
)  # fmt: skip


def flipped() -> pd.DataFrame:
    """int8 makes gemm the fastest algorithm of tvm, by far; without it spatial_pack is."""
    frame = made_up_results()
    one = (frame["optimizations"] == "int8") & (frame["algorithm"] == "gemm")
    for column in ("latency_s", "latency_low_s", "latency_high_s"):
        frame.loc[one, column] *= 0.25
    return frame


@given(st.sets(st.integers(0, 300)))
def test_a_link_names_every_row_once(rows: set[int]) -> None:
    found = []
    for part in ranges(sorted(rows)).split():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    assert found == sorted(rows)


margins = st.lists(st.floats(1.001, 1e4), min_size=3, max_size=3).map(sorted)


@given(margins, margins)
def test_a_chart_has_each_best_on_its_side(before: list[float], after: list[float]) -> None:
    (low_before, margin_before, high_before), (low, margin, high) = before, after
    flip = replace(
        FLIP, margin=margin, low=low, high=high, margin_before=margin_before,
        low_before=low_before, high_before=high_before,
    )  # fmt: skip
    drawn = chart(flip)
    assert drawn is not None
    first, second = drawn["lines"]
    assert drawn["middle"] <= first["low"] <= first["x"] <= first["high"] <= 340
    assert 0 <= second["low"] <= second["x"] <= second["high"] <= drawn["middle"]
    assert all(0 < tick["x"] < 340 for tick in drawn["ticks"])


def test_a_flip_of_unknown_size_has_no_chart() -> None:
    assert chart(replace(FLIP, low_before=math.nan)) is None


def test_what_cannot_be_said_is_a_hole_with_a_reason() -> None:
    effects = (
        Effect("a", "latency_s", ("network",), 0.4, 0.3, 0.5, (3,), 105),
        Effect(
            "a", "latency_s", ("compression", "network"), math.nan, math.nan, math.nan, (7, 3), 9
        ),
    )
    (one,) = maps(Understanding(machines=("a",), effects=effects))
    assert one["factors"] == ["network", "compression"]
    told, hole = sorted(one["cells"], key=lambda cell: cell["share"] is None)
    assert (told["at"], told["share"], told["why"]) == ([0, 0], 0.4, "")
    assert (hole["at"], hole["share"]) == ([0, 1], None)
    assert hole["why"] == "cannot be said from 7 × 3 choices, 9 stacks"


def test_every_flip_leads_to_the_stacks_that_show_it() -> None:
    frame = flipped()
    found = understand(frame)
    assert found.flips
    page = render(frame, made_up_info())
    items = re.findall(r'<li class="finding flip" id="(flip-\d+)">.*?</li>\n', page, re.DOTALL)
    assert items == [f"flip-{i + 1}" for i in range(len(found.flips))]
    rows, shown = Rows(ready(frame)), understanding(found, ready(frame), Rows(ready(frame)))
    (flips,) = shown["flips"].values()
    for flip, item in zip(found.flips, flips, strict=True):
        assert item["sentence"] == flip.sentence
        assert item["stacks"] == len(set(flip.rows))
        assert item["rows"] == ranges(sorted({rows[key] for key in flip.rows}))
        assert f'data-rows="{item["rows"]}"' in page


def test_the_front_is_at_distance_one_and_others_above() -> None:
    frame = ready(made_up_results())
    distances = to_front(understand(made_up_results()), frame)
    timed = (frame["status"] == "ok") & frame["accuracy"].notna()
    assert [not math.isnan(one) for one in distances] == list(timed)
    assert min(one for one in distances if not math.isnan(one)) == 1
    best = frame["latency_s"].idxmin()
    assert distances[best] == 1


def verdict(index: int, word: str, machine: str = "a") -> Verdict:
    return Verdict(published()[index], machine, word, "Said. (holds) And more.")  # type: ignore[arg-type]


def test_observations_stand_first_and_what_cannot_be_tested_apart() -> None:
    observation = next(i for i, c in enumerate(published()) if c.kind == "observation")
    other = next(i for i, c in enumerate(published()) if c.kind != "observation")
    verdicts = [
        verdict(other, "not testable here"),
        verdict(other + 1, "contradicted"),
        verdict(observation, "not testable here"),
    ]
    groups = verdict_groups(verdicts, Rows(ready(made_up_results())))
    first, second = groups
    assert first["title"] == OBSERVATIONS
    assert [one["verdict"] for one in first["verdicts"]] == ["not testable here"]
    assert first["verdicts"][0]["title"].startswith("I · ")
    assert [one["verdict"] for one in second["verdicts"]] == ["contradicted"]
    assert [one["verdict"] for one in second["untestable"]] == ["not testable here"]
    assert verdict_counts(verdicts) == {"contradicted": 1, "not testable here": 2}
    assert first["verdicts"][0]["sentences"] == ["Said. (holds)", "And more."]


def test_verdicts_of_two_machines_have_places_of_their_own() -> None:
    verdicts = [verdict(0, word, machine) for machine, word in zip("ab", SIGNS, strict=False)]
    groups = verdict_groups(verdicts, Rows(ready(made_up_results())))
    assert [group["title"] for group in groups] == [f"{OBSERVATIONS}, a", f"{OBSERVATIONS}, b"]
    ids = [one["id"] for group in groups for one in group["verdicts"]]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    "value, unit, text",
    [
        (0.913, "share", "91.3\N{NO-BREAK SPACE}%"),
        (0.00123, "s", "1.23\N{NO-BREAK SPACE}ms"),
        (1.5, "×", "1.50×"),
        (2_500_000, "bytes", "2.50\N{NO-BREAK SPACE}MB"),
        (math.nan, "s", "–"),
        (0.44, "", "0.440"),
    ],
)
def test_numbers_of_claims_have_units(value: float, unit: str, text: str) -> None:
    claimed = replace(verdict(0, "holds"), numbers=(Number("label", value, unit=unit),))
    (group,) = verdict_groups([claimed], Rows(ready(made_up_results())))
    (number,) = group["verdicts"][0]["numbers"]
    assert (number["value"], number["interval"]) == (text, "unknown")
