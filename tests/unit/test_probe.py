"""The ceilings of a processor, measured by a C program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dlas.errors import InputError
from dlas.hardware import probe as probing
from dlas.hardware.probe import (
    ARITHMETIC,
    Probe,
    Rate,
    cached_probe,
    compile_probe,
    find_compiler,
    measure_probe,
    read_probe,
    working_sets,
)
from dlas.target.target import Cache, Target, host

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def found() -> Probe:
    return measure_probe(repeats=3, run_s=0.002)


@needs_compiler
def test_every_ceiling_is_there_or_explained(found: Probe) -> None:
    assert "fp32" in found.arithmetic
    for precision in ARITHMETIC:
        assert (precision in found.arithmetic) != (precision in found.absent)
    assert found.others.keys() <= found.arithmetic.keys()
    assert list(found.reading)[-1] == "memory"
    slower = [ceiling for others in found.others.values() for ceiling in others]
    for ceiling in [*found.arithmetic.values(), *slower, *found.reading.values()]:
        for rate in (ceiling.one_core, ceiling.all_cores):
            assert 0 < rate.median <= rate.best
            assert rate.spread >= 0
    assert found.fingerprint == host().fingerprint()


@needs_compiler
@pytest.mark.skipif(host().isa not in ("x86-64", "aarch64"), reason="no clock kernel here")
def test_arithmetic_stays_in_registers(found: Probe) -> None:
    """A loop that the compiler removed would do thousands of operations per cycle. (Rates of a
    busy machine may be low, so there is no lower bound.)"""
    assert found.clock_hz is not None
    per_cycle = found.arithmetic["fp32"].one_core.best / found.clock_hz.best
    assert per_cycle < 10 * 4 * 2 * host().vector_bits / 32  # 4 units, 2 operations per lane


@needs_compiler
def test_a_probe_is_kept_and_a_damaged_one_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Probe
) -> None:
    calls = []

    def measured() -> Probe:
        calls.append(1)
        return found

    monkeypatch.setattr(probing, "measure_probe", measured)
    assert cached_probe(tmp_path) == found == cached_probe(tmp_path)
    assert len(calls) == 1
    assert read_probe(tmp_path, host().fingerprint()) == found
    assert read_probe(tmp_path, {"cpu": "another"}) is None
    (path,) = tmp_path.iterdir()
    assert msgspec.json.decode(path.read_bytes())["absent"] == found.absent
    path.write_text("{")
    assert cached_probe(tmp_path) == found
    assert cached_probe(tmp_path, again=True) == found
    assert len(calls) == 3


def test_without_a_compiler_all_is_absent_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "find_compiler", lambda: None)
    found = measure_probe()
    assert (found.arithmetic, found.reading, found.clock_hz) == ({}, {}, None)
    assert "there is no C compiler" in found.absent["fp32"]


def test_a_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'cc: error: broken' >&2\nexit 1\n")
    compiler.chmod(0o755)
    with pytest.raises(InputError, match="cannot compile the probe: cc: error: broken"):
        compile_probe(str(compiler), tmp_path)


def test_working_sets_fit_what_each_core_has() -> None:
    caches = (Cache(1, 2**15, 2), Cache(2, 2**20, 2), Cache(3, 2**25, 16))
    target = Target(
        isa="x86-64", cpu="", revision="", features=(), vector_bits=512, vector_registers=32,
        cores=8, cpus=tuple(range(8)), usable=8, caches=caches, memory_bytes=2**34, llvm_cpu=None,
    )  # fmt: skip
    assert working_sets(target, 8) == {"L1": 2**13, "L2": 2**18, "L3": 2**21, "memory": 2**24}


@needs_compiler
@pytest.mark.parametrize("flag, kernel", [("amx_int8", "int8-matrix"), ("amx_bf16", "bf16-matrix")])
def test_the_ceiling_is_that_of_tiles_where_there_are_tiles(
    found: Probe, flag: str, kernel: str
) -> None:
    if flag not in host().features:
        pytest.skip(f"this processor has no {flag}")
    if kernel in found.absent:
        pytest.skip(found.absent[kernel])
    precision = kernel.partition("-")[0]
    (vectors,) = found.others[precision]
    assert "tiles" in found.arithmetic[precision].instruction
    assert "512 bits" in vectors.instruction
    assert found.arithmetic[precision].one_core.best > vectors.one_core.best


def test_the_fastest_of_several_instructions_is_the_ceiling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernels = {"fp32": "fma", "int8": "vpdpbusd", "int8-matrix": "tdpbusd", "bf16-matrix": ""}
    kernels["read"] = "loads"
    speeds = {"fp32": 1.0, "int8": 4.0, "int8-matrix": 32.0, "read": 2.0}

    def run(*arguments: Any) -> dict[probing._Task, Rate]:
        return {task: Rate(speeds[task[0]], speeds[task[0]], 0.0) for task in arguments[2]}

    monkeypatch.setattr(probing, "compile_probe", lambda *_: Path("probe"))
    monkeypatch.setattr(probing, "_kernels", lambda _: kernels)
    monkeypatch.setattr(probing, "_run", run)
    found = measure_probe(msgspec.structs.replace(host(), features=()))
    assert [c.instruction for c in found.arithmetic.values()] == ["fma", "tdpbusd"]
    assert [c.instruction for c in found.others["int8"]] == ["vpdpbusd"]
    assert "lends no program the registers" in found.absent["bf16-matrix"]
    assert "multiplies and adds bf16" in found.absent["bf16"]
    assert found.absent.keys() == {"bf16-matrix", "bf16", "fp16"}


def test_instructions_that_are_missing_are_told_from_old_compilers() -> None:
    old = msgspec.structs.replace(host(), features=("avx512_bf16", "amx_int8"))
    found = probing._absent({}, old, "/usr/bin/cc")
    assert "does not know avx512_bf16" in found["bf16"]
    assert "does not know amx_int8" in found["int8-matrix"]
    assert "no instruction that multiplies and adds int8" in found["int8"]
    assert "bf16-matrix" not in found


def test_another_program_measures_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = probing._place(tmp_path, {"cpu": "x"})
    monkeypatch.setattr(probing, "SOURCE", "probe.py")
    assert probing._place(tmp_path, {"cpu": "x"}) != place
