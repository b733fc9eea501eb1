"""The benchmark of precisions: what is timed, who takes part, ratios and speedups, the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
from rich.console import Console

from dlas.bench.cases import PAPER, Case
from dlas.bench.contenders import Contender, choose
from dlas.bench.precision import (
    PRECISIONS,
    precision_cases,
    precision_contenders,
)
from dlas.bench.rows import (
    Fault,
    PrecisionRow,
    Row,
    Timed,
    precision_rows_of,
    rows_of,
    write_rows,
)
from dlas.bench.run import Bench
from dlas.bench.tables import case_table, emulated_lines, precision_table
from dlas.errors import InputError
from dlas.executable import read_header
from dlas.hardware.base import Hardware
from dlas.measure.protocol import Session
from dlas.measure.statistics import Estimate
from dlas.network import Network
from dlas.testing.clock import FakeMachine, FakeSession
from dlas.testing.networks import tiny

FLOAT32, BFLOAT16, FLOAT16, INT8 = PRECISIONS


def timed(
    contender: str, precision: str, rounds_s: list[float], system: str = "tvm", **more: bool | str
) -> Timed:
    middle = Estimate(sorted(rounds_s)[len(rounds_s) // 2], None, None)
    is_peer = system != "tvm"
    return Timed(contender, is_peer, precision, middle, rounds_s, "group", system=system, **more)  # type: ignore[arg-type]


def rows(*several: Timed) -> dict[str, PrecisionRow]:
    found = precision_rows_of(rows_of("net", 1e9, several, {INT8: 4e12}), several)
    return {row.contender: row for row in found}


SEVERAL = (
    timed("pack", FLOAT32, [8, 8, 8]),
    timed("gemm", FLOAT32, [10, 10, 10]),
    timed("cheapest", FLOAT32, [4, 4, 4], winograd=True),
    timed("pack-int8", INT8, [2, 2, 3]),
    timed("theirs", FLOAT32, [6, 6, 6], "peer"),
    timed("theirs-default", BFLOAT16, [1, 1, 1.5], "peer"),
    timed("theirs-int8", INT8, [4, 4, 6], "peer"),
    timed("lone-int8", INT8, [5, 5, 5], "lone"),
)


def test_ratios_are_to_the_best_peer_in_the_same_and_in_any_precision() -> None:
    found = rows(*SEVERAL)
    assert found["pack-int8"].ratio_to_best_peer == 0.5
    assert found["pack-int8"].ratio_to_any_peer == 2
    assert found["theirs-default"].ratio_to_any_peer == 1
    assert found["pack"].ratio_to_best_peer == pytest.approx(8 / 6)


def test_speedups_are_over_the_same_systems_float32_without_winograd() -> None:
    found = rows(*SEVERAL)
    assert found["pack-int8"].speedup_over_float32 == 4
    assert found["cheapest"].speedup_over_float32 == 2
    assert found["theirs-int8"].speedup_over_float32 == 1.5
    assert found["lone-int8"].speedup_over_float32 is None


def test_shares_are_of_the_ceiling_of_the_precision() -> None:
    found = rows(*SEVERAL)
    assert found["pack-int8"].share_of_peak == 2e9 / 2 / 4e12
    assert found["pack"].share_of_peak is None


def test_layers_of_three_kinds_and_the_papers_networks() -> None:
    names = [case.name for case in precision_cases()]
    assert len(set(names)) == len(names)
    assert names[-7:] == list(PAPER)
    assert names[:2] == ["64x32x32-64-3x3", "128x16x16-128-3x3"]
    assert "64x56x56-256-1x1-both" in names
    assert "144x56x56-144-3x3-depthwise" in names
    for case in precision_cases(["vgg16-cifar", "mobilenetv1-cifar-depthwise"], [INT8]):
        assert case.precisions == (FLOAT32, INT8)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"places": ["resnet50-1x2"]}, "did you mean 'resnet50-1x1'?"),
        ({"precisions": ["int7"]}, "--precisions: 'int7' is not a precision; did you mean 'int8'?"),
    ],
)
def test_mistakes_are_sentences(change: dict[str, list[str]], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        precision_cases(**change)
    assert sentence in str(error.value)


def test_contenders_take_part_in_the_precisions_that_are_asked_for() -> None:
    usual = choose((), precision_contenders())
    everything, int8, plain = (
        [one.name for one in usual if one.takes(Case("net", tiny, precisions=precisions))]
        for precisions in (PRECISIONS, (FLOAT32, INT8), (FLOAT32,))
    )
    ours = ["tvm-spatial_pack-template", "tvm-cheapest-template"]
    peers = ["onnxruntime", "openvino", "openvino-default", "pytorch", "openvino-float16"]
    assert plain == [*ours, *peers]
    assert int8 == [
        *ours, *(f"{name}-int8" for name in ours), *peers,
        "onnxruntime-int8", "openvino-int8", "openvino-default-int8",
    ]  # fmt: skip
    reduced = {f"{name}-{precision}" for name in ours for precision in PRECISIONS[1:]}
    assert set(everything) == {*int8, *reduced}
    [named] = choose(["tvm-direct-untuned-float16"], precision_contenders())
    assert named.optimizations() == [{"name": "float16"}]


def test_the_file_has_the_fields_of_other_rows_and_three_more(tmp_path: Path) -> None:
    write_rows(list(rows(*SEVERAL).values()), tmp_path / "out.json")
    first = json.loads((tmp_path / "out.json").read_text())[0]
    assert list(first) == [
        *Row.__struct_fields__, "ratio_to_any_peer", "speedup_over_float32", "emulated",
    ]  # fmt: skip


def test_tables_tell_precisions_apart_and_hide_nothing() -> None:
    emulated = timed("tvm-spatial_pack-template-float16", FLOAT16, [9.0], emulated="in [float32]")
    fault = Fault("net", "tvm-spatial_pack-template-int8", INT8, "refused: no [such] thing")
    found = [*rows(*SEVERAL, emulated).values(), fault]
    console = Console(width=80, record=True)
    console.print(case_table(found), precision_table(found))
    shown = console.export_text()
    assert "…" not in shown
    for text in ("over f32", "× any", "4.00×", "bf16", "int8", "2.00", "refused"):
        assert text in shown
    assert "tvm-spatial_pack-template " in shown
    assert emulated_lines(found) == ["tvm-spatial_pack-template-float16: in [float32]"]


class Fake(Hardware, frozen=True, kw_only=True):
    """8 ms by ONNX Runtime, 12 ms by others; a quarter where the executable's file is small."""

    name: ClassVar[str] = "fake"

    def open(self, executable: Path) -> Session:
        name = read_header(executable).system["name"]
        model = next(path for path in executable.iterdir() if path.suffix == ".onnx")
        quick = b"QuantizeLinear" in model.read_bytes() or b"QLinear" in model.read_bytes()
        latency_s = 0.008 if name == "onnxruntime" else 0.012
        return FakeSession(FakeMachine(), name, latency_s / (4 if quick else 1))

    def fingerprint(self) -> dict[str, str]:
        return {"device": "fake"}


def test_a_run_gives_every_contender_the_network_in_its_precision(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    peer, int8 = choose(["onnxruntime", "onnxruntime-int8"], precision_contenders())
    half = Contender("half", {"name": "pytorch"}, precision=FLOAT16, given=FLOAT16)
    case = Case("residual", lambda: tiny("residual"), precisions=PRECISIONS)
    [finished] = Bench([case], [peer, int8, half], Fake(), root=tmp_path).run()
    found = {row.contender: row for row in finished.rows}
    assert [row.precision for row in finished.rows] == [FLOAT32, INT8, FLOAT16]
    quantized, narrow = found["onnxruntime-int8"], found["half"]
    assert isinstance(quantized, PrecisionRow)
    assert isinstance(narrow, PrecisionRow)
    assert quantized.speedup_over_float32 == pytest.approx(4)
    assert narrow.ratio_to_any_peer == pytest.approx(6)
    networks = {Network.open(path.parent).dtype for path in tmp_path.rglob("network.onnx")}
    assert networks == {FLOAT32, FLOAT16, INT8}


def test_both_forms_of_openvino_int8_are_counted_as_int8(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    several = choose(
        ["openvino", "openvino-default", "openvino-int8", "openvino-default-int8"],
        precision_contenders(),
    )
    case = Case("plain", lambda: tiny("plain"), precisions=(FLOAT32, INT8))

    class Instant(Fake, frozen=True, kw_only=True):
        name: ClassVar[str] = "instant"

        def open(self, executable: Path) -> Session:
            return FakeSession(FakeMachine(), "openvino", 0.001)

    [finished] = Bench([case], several, Instant(), root=tmp_path).run()
    precisions = [row.precision for row in finished.rows]
    assert precisions[0] == FLOAT32
    assert precisions[1] in (FLOAT32, BFLOAT16)  # what this processor has
    assert precisions[2:] == [INT8, INT8]
