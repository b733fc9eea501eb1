"""The benchmark of networks with zeros: what is timed, who takes part, speedups, the file."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from rich.console import Console

from dlas.bench.cases import Case
from dlas.bench.contenders import Contender, choose
from dlas.bench.rows import Fault, Row, SparseRow, Timed, rows_of, sparse_rows_of, write_rows
from dlas.bench.run import Bench
from dlas.bench.sparse import (
    FORMATS,
    LAYERS,
    LEVELS,
    sparse_cases,
    sparse_contenders,
    with_zeros,
)
from dlas.bench.tables import case_table, speedup_table
from dlas.cli.options import shares
from dlas.errors import DlasError, InputError
from dlas.executable import read_header
from dlas.hardware.base import Hardware
from dlas.measure.protocol import Session
from dlas.measure.statistics import Estimate
from dlas.testing.clock import FakeMachine, FakeSession
from dlas.testing.networks import tiny

ORT = choose(["onnxruntime"])[0]


def timed(contender: str, rounds_s: list[float], format: str = "dense") -> Timed:
    middle = sorted(rounds_s)[len(rounds_s) // 2]
    peer = contender == "peer"
    return Timed(
        contender, peer, "float32", Estimate(middle, None, None), rounds_s, "group", format
    )


def rows(*several: Timed) -> list[SparseRow]:
    return sparse_rows_of(rows_of("net-90%-csr", 1e6, several, {}), several, 0.9, 10.0)


def test_layers_and_networks_at_every_level_in_every_format() -> None:
    cases = sparse_cases()
    assert len({case.name for case in cases}) == len(cases) == 9 * len(LEVELS) * len(FORMATS)
    assert cases[0].name == "64x32x32-64-3x3-50%-csr"
    assert cases[0].copies == 8
    names = [case.name for case in sparse_cases([LAYERS], [0.9], ["bsr_4x4"])]
    assert names == [
        f"{layer}-3x3-90%-bsr_4x4"
        for layer in ("64x32x32-64", "128x16x16-128", "256x8x8-256", "512x4x4-512")
    ]


@pytest.mark.parametrize("name, block", [("csr", 1), ("bsr_8x1", 8)])
def test_every_layer_has_the_share_of_zeros_in_the_blocks_of_the_format(
    name: str, block: int
) -> None:
    network = with_zeros(lambda: tiny("residual"), 0.5, name)
    for row in network.layers:
        assert row.nonzeros / row.weights == pytest.approx(0.5, abs=0.5 * block / row.weights + 0.1)
        zero = network.weight(row) == 0
        if row.out_channels % block == 0:
            blocks = zero.reshape(-1, block, *zero.shape[1:])
            np.testing.assert_array_equal(blocks, np.broadcast_to(blocks[:, :1], blocks.shape))


def test_dense_and_sparse_take_part_where_the_zeros_are_theirs() -> None:
    usual = choose((), sparse_contenders())
    csr = sparse_cases([LAYERS], [0.5], ["csr"])[0]
    assert [one.name for one in usual if one.takes(csr)] == [
        "tvm-spatial_pack-template", "tvm-cheapest-template", "tvm-cheapest-template-csr",
        "onnxruntime", "openvino",
    ]  # fmt: skip
    [direct] = choose(["tvm-direct-template-csr"], sparse_contenders())
    assert direct.choice() == {"name": "direct", "format": "csr"}
    assert ORT.choice() == {"name": "vendor"}
    with pytest.raises(InputError, match="did you mean 'tvm-direct-template-csr'"):
        choose(["tvm-direct-templat-csr"], sparse_contenders())


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"formats": ["csv"]}, "--formats: 'csv' is not a weight format; did you mean 'csr'?"),
        ({"formats": ["dense"]}, "dense skips no zeros"),
        ({"formats": ["kept_channels"]}, "no case of pruned channels"),
        ({"levels": [1.0]}, "100 % zeros: a level lies between 0 and 100 %"),
        ({"places": ["resnet18-cifar-3x"]}, "did you mean 'resnet18-cifar-3x3'?"),
    ],
)
def test_mistakes_are_sentences(change: dict[str, list[str]], sentence: str) -> None:
    with pytest.raises(DlasError) as error:
        sparse_cases(**change)  # type: ignore[arg-type]
    assert sentence in str(error.value)


def test_levels_are_percents() -> None:
    assert shares("90, 50,50", "--levels") == (0.5, 0.9)
    with pytest.raises(InputError, match="--levels: 'x' is not a percentage between 0 and 100"):
        shares("50,x", "--levels")


def test_speedups_are_over_the_fastest_dense_one_of_ours_round_by_round() -> None:
    found = rows(
        timed("slow", [8, 8, 8]),
        timed("fast", [4, 4, 6]),
        timed("sparse", [1, 1, 2], "csr"),
        timed("peer", [2, 2, 3]),
    )
    assert [row.measured_speedup for row in found] == [0.5, 1, 4, 2]
    assert [row.expected_speedup for row in found] == [10.0] * 4
    assert [row.format for row in found] == ["dense", "dense", "csr", "dense"]


def test_without_a_dense_contender_no_speedup_was_measured() -> None:
    sparse, _ = rows(timed("sparse", [1.0], "csr"), timed("peer", [2.0]))
    assert sparse.measured_speedup is None
    assert sparse.ratio_to_best_peer == 0.5


def test_the_file_has_the_fields_of_other_rows_and_four_more(tmp_path: Path) -> None:
    found = rows(timed("dense", [4.0]), timed("sparse", [1.0], "csr"))
    write_rows(found, tmp_path / "out.json")
    _, sparse = json.loads((tmp_path / "out.json").read_text())
    assert list(sparse) == [
        *Row.__struct_fields__, "zeros", "format", "expected_speedup", "measured_speedup",
    ]  # fmt: skip
    assert (sparse["zeros"], sparse["format"], sparse["measured_speedup"]) == (0.9, "csr", 4)


def test_tables_show_expected_and_measured() -> None:
    fault = Fault("net-90%-csr", "other", "float32", "failed: no")
    found = [*rows(timed("dense", [4.0]), timed("sparse", [1.0], "csr")), fault]
    console = Console(width=80, record=True)
    console.print(case_table(found), speedup_table(found))
    shown = console.export_text()
    assert "…" not in shown
    for text in ("expected", "measured", "10.00×", "4.00×", "1.00×", "90%", "failed"):
        assert text in shown


class Fake(Hardware, frozen=True, kw_only=True):
    """Latencies by the number of trials of ``tvm``, which tells the contenders apart."""

    name: ClassVar[str] = "fake"

    def open(self, executable: Path) -> Session:
        return FakeSession(FakeMachine(), "x", 0.001 * read_header(executable).system["trials"])

    def fingerprint(self) -> dict[str, str]:
        return {"device": "fake"}


def test_a_run_times_the_same_network_in_both_forms() -> None:
    pytest.importorskip("tvm")
    dense = Contender("dense", {"name": "tvm", "trials": 4}, "direct")
    csr = Contender("csr", {"name": "tvm", "trials": 1}, "direct", format="csr")
    other = replace(csr, name="other", format="bsr_16x1")
    draw = partial(with_zeros, lambda: tiny("plain"), 0.75, "csr")
    case = Case("plain-75%-csr", draw, format="csr")
    [finished] = Bench([case], [dense, csr, other], Fake()).run()
    slow, fast = finished.rows
    assert isinstance(slow, SparseRow)
    assert isinstance(fast, SparseRow)
    assert fast.expected_speedup == pytest.approx(4, rel=0.01)
    assert fast.measured_speedup == pytest.approx(4)
    assert (slow.format, fast.format, slow.measured_speedup) == ("dense", "csr", 1)
    assert fast.zeros == pytest.approx(0.75, abs=0.01)
