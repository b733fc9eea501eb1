"""The ceilings of a processor, measured by a C program."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dlas.errors import InputError
from dlas.hardware import probe as probing
from dlas.hardware.probe import (
    Probe,
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
    for kernel in ("fp32", "bf16", "int8"):
        assert (kernel in found.arithmetic) != (kernel in found.absent)
    assert list(found.reading)[-1] == "memory"
    for ceiling in [*found.arithmetic.values(), *found.reading.values()]:
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


def test_instructions_that_are_missing_are_told_from_old_compilers() -> None:
    old = msgspec.structs.replace(host(), features=("avx512_bf16",))
    assert "does not know avx512_bf16" in probing._why_absent("bf16", old, "/usr/bin/cc")
    none = msgspec.structs.replace(host(), features=())
    assert "no int8 dot product" in probing._why_absent("int8", none, "/usr/bin/cc")
