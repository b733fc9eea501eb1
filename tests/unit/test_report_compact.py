"""Samples and profiles in a page: small, and the same when they are read again."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dlas.report.compact import (
    LETTERS,
    LEVELS,
    MOST_BARS,
    MOST_SAMPLES,
    NAMED,
    coded_layers,
    coded_samples,
    largest,
)  # fmt: skip
from dlas.report.info import LayerBar
from dlas.report.page import render
from dlas.testing.results import made_up_info, made_up_results

SECONDS = st.floats(1e-7, 1e3)


def decoded(least: float, most: float, letters: str) -> NDArray[np.float64]:
    """As the page's script does."""
    places = [LETTERS.index(letter) for letter in letters]
    levels = np.array(places[::2]) * len(LETTERS) + np.array(places[1::2])
    return np.asarray(least * np.exp(math.log(most / least) * levels / LEVELS))


@given(st.lists(SECONDS, min_size=1, max_size=50))
def test_samples_come_back_in_order_within_half_a_level(samples: list[float]) -> None:
    [coded] = coded_samples(["a"], {"a": np.array(samples)})
    assert coded is not None
    found = decoded(*coded[:3])
    step = math.log(max(samples) / min(samples)) / LEVELS
    assert np.abs(np.log(found / samples)).max() <= step / 2 + 2e-5


def test_what_is_no_latency_is_left_out() -> None:
    samples = {"a": np.array([math.nan, 0.0, -1.0, math.inf]), "b": np.array([1e-3, math.nan])}
    assert coded_samples(["a", "b", "c"], samples)[::2] == [None, None]
    [coded] = coded_samples(["b"], samples)
    assert coded is not None
    assert decoded(*coded) == pytest.approx([1e-3])


def test_several_groups_of_runs_are_told() -> None:
    runs = np.array([1.0, 1.01, 0.99, 1.005, 2.0] * 30)
    [coded] = coded_samples(["a"], {"a": runs})
    assert coded is not None
    assert coded[3:] == pytest.approx([1.0, 0.8, 2.0, 0.2], rel=0.01)


def test_very_many_samples_are_thinned_evenly() -> None:
    keys = [str(i) for i in range(1000)]
    own = dict.fromkeys(keys, np.linspace(1.0, 2.0, 3 * MOST_SAMPLES // len(keys)))
    coded = coded_samples(keys, own)
    assert sum(len(one[2]) // 2 for one in coded if one) <= MOST_SAMPLES
    assert coded[0] is not None
    found = decoded(*coded[0][:3])
    assert found == pytest.approx(np.linspace(1.0, 2.0, len(found)), abs=0.01)


BARS = st.lists(
    st.builds(
        LayerBar,
        st.text("abc", min_size=1),
        st.text("xy"),
        st.none() | st.floats(0, 1),
        st.none() | st.floats(1e-9, 10),
    ),
    max_size=40,
)


@given(BARS, st.integers(1, 20))
def test_the_largest_and_the_rest_are_all(bars: list[LayerBar], most: int) -> None:
    found = largest(bars, most)
    assert len(found) <= most + 1
    for part in ("promised_share", "seconds"):
        total = math.fsum(getattr(bar, part) or 0 for bar in bars)
        assert math.fsum(getattr(bar, part) or 0 for bar in found) == pytest.approx(total)


def test_the_slowest_and_the_most_promising_keep_their_names() -> None:
    bars = [LayerBar(f"l{i}", "conv", 0.01, 0.01) for i in range(50)]
    bars[30] = LayerBar("slow", "conv", 0.01, 9.0)
    bars[40] = LayerBar("promised", "conv", 0.6, 0.01)
    found = largest(bars)
    assert {"slow", "promised"} <= {bar.layer for bar in found}
    assert (found[-1].layer, found[-1].op) == ("", str(50 - NAMED))


def test_layers_are_coded_once_by_name() -> None:
    bars = (LayerBar("a", "conv", 0.25, 1.5e-3), LayerBar("copy", "layout", None, 2e-6),
            LayerBar("b", "conv", 0.75))  # fmt: skip
    found = coded_layers(["x", "y", "z"], {"x": bars, "z": bars[:1]})
    assert found == {
        "names": ["a", "copy", "b"],
        "ops": ["conv", "layout"],
        "bars": [[0, 0, 2500, 1500, 1, 1, -1, 2, 2, 0, 7500, -1], None, [0, 0, 2500, 1500]],
    }


def test_many_profiles_are_cut() -> None:
    keys = [str(i) for i in range(MOST_BARS // 50)]
    bars = tuple(LayerBar(f"l{i}", "conv", 1 / 60, 1e-3 * i) for i in range(60))
    found = coded_layers(keys, dict.fromkeys(keys, bars))
    assert all(len(own) == 4 * (NAMED + 1) for own in found["bars"])
    assert found["names"][-1] == ""


def test_a_page_of_2000_stacks_stays_below_5_mb() -> None:
    models = [(f"net({i})", 1e6 * (i + 1), 50_000, 0.9 + i / 1000) for i in range(58)]
    frame = made_up_results(models=models)
    assert len(frame) > 2000
    random = np.random.default_rng(0)
    timed = frame[frame["latency_s"].notna()].set_index("key")["latency_s"]
    samples = {key: s * random.lognormal(0, 0.02, 150) for key, s in timed.items()}
    bars = {
        key: tuple(
            LayerBar(f"block{i}.conv", "conv2d 3×3, batch normalization, relu", share, s * share)
            for i, share in enumerate(random.dirichlet(np.ones(60)).tolist())
        )
        for key, s in timed.items()
    }
    warmups = {key: (2 * s, 1.5 * s, s) for key, s in timed.items()}
    info = msgspec.structs.replace(made_up_info(), layers=bars, warmups_s=warmups)
    assert len(render(frame, info, samples).encode()) < 5_000_000
