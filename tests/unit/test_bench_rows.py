"""The rows of a benchmark: units, ratios, means, and the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from dlas.bench.rows import Fault, Row, Timed, geometric_mean, means, peaks_of, rows_of, write_rows
from dlas.bench.tables import case_table, doubt_lines, fault_lines, mean_table
from dlas.errors import InputError
from dlas.hardware.probe import Ceiling, Probe, Rate
from dlas.measure.conditions import Flag
from dlas.measure.statistics import Estimate

PEAKS = {"float32": 200e9}


def timed(contender: str, latency_s: float, peer: bool = True, precision: str = "float32") -> Timed:
    interval = Estimate(latency_s, latency_s * 0.9, latency_s * 1.2)
    return Timed(contender, peer, precision, interval, [latency_s] * 5, "group")


def disturbed(contender: str, rounds_s: list[float], peer: bool, group: str = "group") -> Timed:
    middle = sorted(rounds_s)[len(rounds_s) // 2]
    return Timed(contender, peer, "float32", Estimate(middle, None, None), rounds_s, group)


def rows(case: str = "net", *, factor: float = 1.0, copies: int = 1) -> list[Row]:
    taken = [
        timed("ours", factor * 0.004, peer=False),
        timed("slow", 0.010),
        timed("fast", 0.005),
        timed("narrow", 0.002, precision="bfloat16"),
    ]
    return rows_of(case, 1e8, taken, PEAKS, copies)


def test_a_row_counts_two_per_mac_and_compares_with_the_fastest_peer() -> None:
    ours, slow, fast, _ = rows()
    assert ours.gflops == pytest.approx(50)
    assert ours.share_of_peak == pytest.approx(0.25)
    assert ours.ci95_s == pytest.approx((0.0036, 0.0048))
    assert [row.ratio_to_best_peer for row in (ours, slow, fast)] == pytest.approx([0.8, 2, 1])


def test_precisions_are_compared_among_themselves() -> None:
    narrow = rows()[-1]
    assert narrow.ratio_to_best_peer == 1
    assert narrow.share_of_peak is None  # its ceiling was not measured


def test_rounds_are_compared_where_others_disturb_some_of_them() -> None:
    """Ours takes 0.8 of the peer's time in every round; it was done before the machine got slow."""
    peer = disturbed("peer", [1, 1, 2, 2, 2], True)
    ours = disturbed("ours", [0.8, 0.8, 1.6], False)
    assert [row.ratio_to_best_peer for row in rows_of("net", 1, [peer, ours], {})] == [1, 0.8]


def test_what_was_not_timed_side_by_side_is_compared_by_medians() -> None:
    peer = disturbed("peer", [1, 1, 2, 2, 2], True)
    ours = disturbed("ours", [0.8, 0.8, 1.6], False, group="later")
    assert rows_of("net", 1, [peer, ours], {})[1].ratio_to_best_peer == 0.4


def test_the_best_peer_is_found_round_by_round_too() -> None:
    """The slower peer left early, and so has the smaller median."""
    slow = disturbed("slow", [1.1, 1.1, 1.1], True)
    fast = disturbed("fast", [1, 1, 1, 2, 2, 2, 2], True)
    found = [row.ratio_to_best_peer for row in rows_of("net", 1, [slow, fast], {})]
    assert found == pytest.approx([1.1, 1])


def test_without_a_peer_there_is_no_ratio() -> None:
    (row,) = rows_of("net", 1e8, [timed("ours", 0.004, peer=False)], PEAKS)
    assert row.ratio_to_best_peer is None


def test_times_are_those_of_one_copy_and_ratios_do_not_change() -> None:
    one, four = rows()[0], rows(copies=4)[0]
    assert four.median_s == pytest.approx(one.median_s / 4)
    assert four.ci95_s == pytest.approx((0.0009, 0.0012))
    assert four.gflops == pytest.approx(4 * one.gflops)  # macs are given per copy
    assert four.ratio_to_best_peer == one.ratio_to_best_peer


def test_too_few_samples_give_no_interval() -> None:
    (row,) = rows_of("net", 1e8, [disturbed("x", [1.0], True)], {})
    assert row.ci95_s == (None, None)
    assert row.share_of_peak is None


def test_means_are_geometric_and_say_how_many_cases_they_are_of() -> None:
    both = [*rows("a"), *rows("b", factor=4.0), Fault("c", "ours", "float32", "failed: no")]
    ours = next(mean for mean in means(both) if mean.contender == "ours")
    assert ours.cases == 2
    assert ours.ratio == pytest.approx(1.6)
    assert ours.worst == pytest.approx(3.2)
    assert ours.share_of_peak == pytest.approx(0.125)
    assert geometric_mean([]) is None
    assert geometric_mean([2, 8]) == pytest.approx(4)


def test_the_file_has_exactly_these_fields(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_rows([], path)
    assert json.loads(path.read_text()) == []
    write_rows([rows()[0], Fault("net", "other", "int8", "refused: no int8")], path)
    row, fault = json.loads(path.read_text())
    assert list(row) == [
        "case", "contender", "precision", "median_s", "ci95_s", "gflops", "share_of_peak",
        "ratio_to_best_peer",
    ]  # fmt: skip
    assert fault == {
        "case": "net",
        "contender": "other",
        "precision": "int8",
        "error": "refused: no int8",
    }
    assert [file.name for file in tmp_path.iterdir()] == ["out.json"]


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_rows([], tmp_path / "nowhere" / "out.json")


def probed(one_core: float, all_cores: float) -> Probe:
    ceiling = Ceiling("fma", *(Rate(0.9 * best, best, 0.01) for best in (one_core, all_cores)))
    return Probe(
        fingerprint={}, taken_at="", load_average=0, compiler="cc", cores=4,
        arithmetic={"fp32": ceiling}, reading={}, clock_hz=None, absent={},
    )  # fmt: skip


def test_ceilings_are_for_the_threads_in_use() -> None:
    probe = probed(100e9, 350e9)
    assert [peaks_of(probe, n)["float32"] for n in (1, 2, 4)] == [100e9, 200e9, 350e9]
    assert peaks_of(None, 1) == {}


def test_a_ceiling_that_was_measured_on_taken_cores_is_none() -> None:
    assert peaks_of(probed(118e9, 19e9), 2) == {}
    assert peaks_of(probed(118e9, 19e9), 1) == {"float32": 118e9}


def test_tables_fit_a_terminal_and_hide_nothing() -> None:
    fault = Fault("densenet161", "tvm-spatial_pack-template", "float32", "refused: no [such] thing")
    everything = [*rows("densenet161"), fault]
    console = Console(width=80, record=True)
    console.print(case_table(everything), mean_table(everything))
    shown = console.export_text()
    assert "…" not in shown
    for text in ("20.0%", "25.0%", "0.80", "bf16", "tvm-spatial_pack-template", "refused"):
        assert text in shown
    assert "1 of 1" in shown
    (line,) = fault_lines(everything)
    assert line == "densenet161 · tvm-spatial_pack-template refused: no [such] thing"


def test_doubts_are_gathered_by_kind() -> None:
    doubts = [Flag("busy", "others used 40%"), Flag("steal", "3%"), Flag("busy", "others used 9%")]
    assert doubt_lines(doubts, 7) == [
        "2 of 7 measurements are doubtful: others used 40% (the first of them)",
        "1 of 7 measurements are doubtful: 3%",
    ]
    assert doubt_lines([], 7) == []
