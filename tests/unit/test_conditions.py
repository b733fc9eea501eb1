"""The machine's state: what is read, what is doubted, what is advised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dlas.hardware.energy import Meter, find_counters
from dlas.hardware.memory import available_bytes
from dlas.measure import fitness
from dlas.measure.conditions import Conditions, judge, others_share, read_conditions, steal_share
from dlas.target.linux import read_target

CPU = "sys/devices/system/cpu"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def at(seconds: float, **values: object) -> Conditions:
    return Conditions(at_s=seconds, cpus=4, own_s=0.0, **values)  # type: ignore[arg-type]


def test_the_kernels_files_are_read(tmp_path: Path) -> None:
    files = {
        f"{CPU}/cpu{n}/{name}": text
        for n in range(2)
        for name, text in {
            "cpufreq/scaling_cur_freq": f"{n + 1}000000\n",
            "cpufreq/cpuinfo_max_freq": "3500000\n",
            "cpufreq/scaling_governor": "powersave\n",
            "thermal_throttle/core_throttle_count": "3\n",
        }.items()
    }
    found = read_conditions(
        tree(tmp_path, {**files, "sys/class/thermal/thermal_zone0/temp": "41500\n"})
    )
    assert (found.clock_hz, found.clock_max_hz) == (2e9, 3.5e9)
    assert (found.governor, found.temperature_c, found.throttles) == ("powersave", 41.5, 6)
    assert found.cpus >= 1


def test_what_is_not_shown_is_absent(tmp_path: Path) -> None:
    found = read_conditions(tmp_path)
    assert found.clock_hz is found.governor is found.temperature_c is found.throttles is None


def test_own_work_is_not_others_work() -> None:
    before, after = at(0, busy_s=100.0), at(10, busy_s=112.0)
    assert others_share(before, after, workers_s=10.0) == pytest.approx(0.05)
    assert others_share(before, after, workers_s=12.5) == 0
    assert others_share(at(0), at(10), 0.0) is None


def test_ticks_of_the_kernels_clock_are_not_others() -> None:
    assert others_share(at(0, busy_s=0.0), at(0.1, busy_s=0.09), 0.0) == 0
    assert steal_share(at(0, steal_s=0.0), at(10, steal_s=2.0)) == pytest.approx(0.05)


def test_each_doubt_is_a_sentence() -> None:
    before = at(0, busy_s=0.0, steal_s=0.0, throttles=1)
    after = at(
        10,
        busy_s=20.0,
        steal_s=4.0,
        throttles=2,
        governor="ondemand",
        clock_hz=1e9,
        clock_max_hz=3e9,
    )
    flags = judge(before, after, 0.0)
    assert [flag.kind for flag in flags] == ["busy", "steal", "throttled", "governor", "slow_clock"]
    assert [flag.sentence for flag in flags] == [
        "other processes used 50% of the machine meanwhile",
        "the hypervisor took 10% of the CPU time away",
        "the processor slowed down because it was too hot",
        "the frequency governor is ondemand",
        "the fastest CPU ran at 1.0 of 3.0 GHz",
    ]
    assert judge(at(0), at(10), 0.0) == []


def test_energy_comes_from_a_counter_that_may_wrap(tmp_path: Path) -> None:
    rapl = "sys/class/powercap/intel-rapl:0"
    tree(
        tmp_path,
        {
            f"{rapl}/energy_uj": "900\n",
            f"{rapl}/max_energy_range_uj": "1000\n",
            f"{rapl}:0/energy_uj": "5\n",  # a part of the package
            f"{rapl}:0/max_energy_range_uj": "1000\n",
        },
    )
    counters, why = find_counters(tmp_path)
    assert (len(counters), why) == (1, "")
    meter = Meter(counters)
    tree(tmp_path, {f"{rapl}/energy_uj": "400\n"})
    assert meter.passed_j() == pytest.approx(500e-6)


def test_energy_of_a_board(tmp_path: Path) -> None:
    tree(tmp_path, {"sys/class/hwmon/hwmon3/energy1_input": "12\n"})
    assert len(find_counters(tmp_path)[0]) == 1


def test_no_energy_is_explained(tmp_path: Path) -> None:
    assert find_counters(tmp_path)[1].startswith("no energy counter: this machine shows neither")
    tree(tmp_path, {"sys/class/powercap/intel-rapl:0/max_energy_range_uj": "1000\n"})
    counters, why = find_counters(tmp_path)
    assert counters == []
    assert "not readable" in why


def test_memory_of_this_process() -> None:
    code = """
from dlas.hardware.memory import peak_bytes
before = peak_bytes()
block = bytearray(64 << 20)
print(peak_bytes() - before)
"""  # in a process of its own: this one may take the block from memory it has freed before
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) > 60 << 20
    assert available_bytes() > 64 << 20


def test_findings_of_a_bare_machine_have_no_advice(tmp_path: Path) -> None:
    for look in (fitness.governor, fitness.turbo, fitness.smt, fitness.virtualization):
        found = look(tmp_path)
        assert (found.verdict, found.advice) == ("ok", "")


def test_findings_of_a_laptop_all_advise(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{CPU}/intel_pstate/no_turbo": "0\n",
            f"{CPU}/smt/active": "1\n",
            "proc/cpuinfo": "flags\t\t: fpu hypervisor avx\n",
        },
    )
    for look in (fitness.governor, fitness.turbo, fitness.smt, fitness.virtualization):
        found = look(tmp_path)
        assert found.verdict == "warn"
        assert found.advice


def test_a_settled_machine_is_fine(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            f"{CPU}/cpu0/cpufreq/scaling_governor": "performance\n",
            f"{CPU}/cpufreq/boost": "0\n",
            f"{CPU}/smt/active": "0\n",
        },
    )
    for look in (fitness.governor, fitness.turbo, fitness.smt):
        assert look(tmp_path).verdict == "ok"


def test_shares_and_quotas_are_judged(tmp_path: Path) -> None:
    assert fitness.busyness(0.5, 3.0).verdict == "bad"
    assert fitness.busyness(None, 0.0).verdict == "ok"
    assert fitness.stolen(0.02, 5.0).verdict == "warn"
    assert fitness.stolen(0.0, 5.0).verdict == "ok"
    files = {
        "proc/cpuinfo": "",
        "proc/self/status": "Cpus_allowed_list:\t0-1\n",
        f"{CPU}/online": "0-3\n",
    }
    target = read_target(tree(tmp_path, files), "x86_64")
    assert fitness.cpus(target, 1.5).verdict == "bad"
    assert fitness.cpus(target, None).verdict == "ok"
    assert [fitness.free_memory(g << 29).verdict for g in (1, 3, 8)] == ["bad", "warn", "ok"]


def test_this_machine_is_examined() -> None:
    found = fitness.examine()
    assert len({finding.item for finding in found}) == len(found) >= 11
    for finding in found:
        assert finding.sentence.endswith(".")
        assert finding.value
        assert bool(finding.advice) <= (finding.verdict != "ok")
