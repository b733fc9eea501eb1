"""A run of a benchmark on a device that takes no time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from dlas.bench.cases import Case
from dlas.bench.contenders import Contender, choose
from dlas.bench.rows import Fault, Row
from dlas.bench.run import Bench, Finished
from dlas.errors import Refused
from dlas.executable import read_header
from dlas.hardware.base import Hardware
from dlas.hardware.null import Null
from dlas.measure.protocol import Session
from dlas.testing.clock import FakeMachine, FakeSession
from dlas.testing.networks import tiny

CASES = [Case(name, lambda name=name: tiny(name)) for name in ("plain", "residual")]  # type: ignore[misc]
ORT, REFERENCE = choose(["onnxruntime"])[0], Contender("reference", {"name": "reference"})


class Fake(Hardware, frozen=True, kw_only=True):
    """Latencies by system; a system that is not named is refused."""

    name: ClassVar[str] = "fake"
    latency_s: dict[str, float]

    def open(self, executable: Path) -> Session:
        system = read_header(executable).system["name"]
        if system not in self.latency_s:
            raise Refused(f"no {system} here")
        return FakeSession(FakeMachine(), system, self.latency_s[system])

    def fingerprint(self) -> dict[str, str]:
        return {"device": "fake"}


def by_contender(finished: Finished) -> Mapping[str, Row | Fault]:
    return {row.contender: row for row in finished.rows}


def test_cases_come_one_by_one_with_a_row_for_everyone(tmp_path: Path) -> None:
    device = Fake(latency_s={"onnxruntime": 0.002, "reference": 0.003})
    seen: list[float] = []
    bench = Bench(CASES, [ORT, REFERENCE], device, together=2, root=tmp_path)
    found = list(bench.run(lambda fraction, text: seen.append(fraction)))
    assert [finished.case for finished in found] == ["plain", "residual"]
    for case, finished in zip(CASES, found, strict=True):
        rows = by_contender(finished)
        slow, fast = rows["reference"], rows["onnxruntime"]
        assert isinstance(slow, Row)
        assert isinstance(fast, Row)
        assert slow.ratio_to_best_peer == pytest.approx(1.5)
        assert fast.gflops == pytest.approx(2e-9 * case.draw().macs / 0.002)
        assert fast.precision == "float32"
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)
    assert len(list(tmp_path.glob("artifacts/*/*/executable.json"))) == 4


def test_what_fails_is_a_row_with_a_sentence() -> None:
    device = Fake(latency_s={"onnxruntime": 0.002})
    (finished,) = Bench(CASES[:1], [REFERENCE, ORT], device).run()
    fault = by_contender(finished)["reference"]
    assert fault == Fault("plain", "reference", "float32", "refused: no reference here")
    assert isinstance(by_contender(finished)["onnxruntime"], Row)


def test_what_cannot_be_compiled_is_a_row_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    (finished,) = Bench(CASES[:1], choose(["inductor", "onnxruntime"]), Null()).run()
    fault = by_contender(finished)["inductor"]
    assert isinstance(fault, Fault)
    assert fault.error.startswith("refused: inductor needs a C++ compiler")
    row = by_contender(finished)["onnxruntime"]
    assert isinstance(row, Row)
    assert row.share_of_peak is None  # the null device has no ceiling


def test_what_is_done_is_kept_when_it_is_stopped() -> None:
    found: list[str] = []
    device = Fake(latency_s={"onnxruntime": 0.002})

    def interrupt(fraction: float, text: str) -> None:
        if fraction > 0.6:
            raise KeyboardInterrupt

    run = Bench(CASES, [ORT], device).run(interrupt)
    with pytest.raises(KeyboardInterrupt):
        found.extend(finished.case for finished in run)
    assert found == ["plain"]


def test_the_precision_is_the_one_that_is_computed_in() -> None:
    narrow = replace(ORT, name="narrow", precision="bfloat16")
    device = Fake(latency_s={"onnxruntime": 0.002})
    (finished,) = Bench(CASES[:1], [narrow], device).run()
    (row,) = finished.rows
    assert row.precision == "float32"  # nothing says that it computes in another type
