"""Targets are read from the kernel's files; here from small trees of such files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlas.hardware.local import last_cores
from dlas.target import linux, macos
from dlas.target.cgroup import cpu_quota, memory_left
from dlas.target.isa import llvm_attributes, vector, x86_name
from dlas.target.target import Target, host

CPU = "sys/devices/system/cpu"
ZEN4 = "fpu sse4_2 popcnt avx avx2 fma f16c bmi2 avx512f avx512bw avx512cd avx512dq avx512vl"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def x86(flags: str = ZEN4, model: int = 17, cpus: str = "0-3") -> dict[str, str]:
    siblings = {
        f"{CPU}/cpu{n}/topology/thread_siblings_list": f"{n % 2},{n % 2 + 2}\n" for n in range(4)
    }
    return {
        "proc/cpuinfo": "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\n"
        f"model\t\t: {model}\nmodel name\t: AMD EPYC 9554\nflags\t\t: {flags}\n\nprocessor\t: 1\n",
        "proc/meminfo": "MemTotal:       24684096 kB\nMemFree: 1 kB\n",
        "proc/self/status": f"Name:\tx\nCpus_allowed_list:\t{cpus}\n",
        f"{CPU}/online": "0-3\n",
        f"{CPU}/cpu1/cache/index0/level": "1\n",
        f"{CPU}/cpu1/cache/index0/type": "Data\n",
        f"{CPU}/cpu1/cache/index0/size": "32K\n",
        f"{CPU}/cpu1/cache/index0/shared_cpu_list": "1,3\n",
        f"{CPU}/cpu1/cache/index1/level": "1\n",
        f"{CPU}/cpu1/cache/index1/type": "Instruction\n",
        f"{CPU}/cpu1/cache/index1/size": "32K\n",
        f"{CPU}/cpu1/cache/index2/level": "3\n",
        f"{CPU}/cpu1/cache/index2/type": "Unified\n",
        f"{CPU}/cpu1/cache/index2/size": "32M\n",
        f"{CPU}/cpu1/cache/index2/shared_cpu_list": "0-3\n",
        **siblings,
    }


def test_an_x86_machine(tmp_path: Path) -> None:
    target = linux.read_target(tree(tmp_path, x86(cpus="1-3")), "x86_64")
    assert (target.isa, target.cpu, target.llvm_cpu) == ("x86-64", "AMD EPYC 9554", "znver4")
    assert (target.vector_bits, target.vector_registers) == (512, 32)
    assert (target.cores, target.cpus, target.usable) == (2, (1, 2, 3), 3)
    assert (target.cache_bytes(1), target.cache_bytes(2), target.cache_bytes(3)) == (
        2**15,
        0,
        2**25,
    )
    assert target.caches[1].shared_by == 4
    assert "fpu" not in target.features
    assert target.fingerprint()["memory_gib"] == "24"


def test_the_fingerprint_follows_the_device_and_not_its_use(tmp_path: Path) -> None:
    everything = linux.read_target(tree(tmp_path / "a", x86()), "x86_64")
    pinned = linux.read_target(
        tree(tmp_path / "b", x86(ZEN4 + " new_mitigation", cpus="1")), "x86_64"
    )
    masked = linux.read_target(tree(tmp_path / "c", x86("avx avx2 fma")), "x86_64")
    assert pinned.usable == 1
    assert everything.fingerprint() == pinned.fingerprint()
    assert everything.fingerprint() != masked.fingerprint()


def test_an_arm_board(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp crc32\n"
        "CPU implementer\t: 0x41\nCPU part\t: 0xd0b\n\n",
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    }
    target = linux.read_target(tree(tmp_path, files), "aarch64")
    assert target.cpu == "cortex-a76 Raspberry Pi 5 Model B Rev 1.0"
    assert (target.llvm_cpu, target.vector_bits, target.vector_registers) == ("cortex-a76", 128, 32)
    assert target.features == ("asimd", "asimddp")


def test_sve_tells_its_width(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "Features\t: asimd sve bf16\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n",
        "proc/sys/abi/sve_default_vector_length": "32\n",
    }
    target = linux.read_target(tree(tmp_path, files), "aarch64")
    assert target.vector_bits == 256
    assert target.name.endswith("256 bits")  # code for one width computes nonsense on another


def test_a_riscv_board(tmp_path: Path) -> None:
    info = "processor\t: 0\nisa\t\t: rv64imafdcv_zicbom_zfh\nuarch\t\t: spacemit,x60\n"
    target = linux.read_target(tree(tmp_path, {"proc/cpuinfo": info}), "riscv64")
    assert (target.cpu, target.llvm_cpu) == ("spacemit,x60", "generic-rv64")
    assert target.features == ("a", "c", "d", "f", "m", "v", "zfh")


def test_an_unknown_instruction_set(tmp_path: Path) -> None:
    target = linux.read_target(tree(tmp_path, {"proc/cpuinfo": "cpu\t: POWER9\n"}), "ppc64le")
    assert (target.isa, target.llvm_cpu, target.features) == ("ppc64le", None, ())


def test_a_mac() -> None:
    values = {
        "machdep.cpu.brand_string": "Apple M2 Pro",
        "hw.physicalcpu": "10",
        "hw.logicalcpu": "10",
        "hw.l1dcachesize": "65536",
        "hw.l2cachesize": "4194304",
        "hw.memsize": str(16 * 2**30),
        "hw.optional.arm.FEAT_DotProd": "1",
        "hw.optional.arm.FEAT_BF16": "1",
        "hw.optional.arm.FEAT_I8MM": "0",
    }
    target = macos.read_target(values, "arm64")
    assert (target.isa, target.llvm_cpu, target.cores) == ("aarch64", "apple-m2", 10)
    assert target.features == ("asimd", "asimddp", "bf16")
    assert target.cache_bytes(2) == 4 * 2**20


def test_processors_that_llvm_would_be_told_wrong() -> None:
    assert x86_name("GenuineIntel", 6, 0x55, ["avx512_vnni"]) == "cascadelake"
    assert x86_name("GenuineIntel", 6, 0x55, []) == "skylake-avx512"
    assert x86_name("Other", 1, 1, ZEN4.split()) == "x86-64-v4"
    assert x86_name("Other", 1, 1, ["avx2", "fma", "f16c", "bmi2"]) == "x86-64-v3"
    assert x86_name("Other", 1, 1, []) == "x86-64"
    assert "-avx512f" in llvm_attributes("x86-64", ["avx2"])  # a hypervisor may mask it
    assert vector("x86-64", []) == (128, 16)


@pytest.mark.parametrize(
    "files, quota",
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "50000 100000\n"}, 0.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            2.0,
        ),
        ({}, None),
    ],
)
def test_a_quota_of_cpu_time(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(tree(tmp_path, files)) == quota


def test_a_limit_of_memory_counts_dropped_caches_as_free(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/a\n",
        "sys/fs/cgroup/a/memory.max": "1000\n",
        "sys/fs/cgroup/a/memory.current": "700\n",
        "sys/fs/cgroup/a/memory.stat": "anon 500\ninactive_file 200\n",
    }
    assert memory_left(tree(tmp_path, files)) == 500
    assert memory_left(tree(tmp_path / "none", {"proc/self/cgroup": "0::/a\n"})) is None


def test_this_machine_has_one() -> None:
    target = host()
    assert isinstance(target, Target)
    assert target.cores >= 1
    assert target.memory_bytes > 0
    assert target.fingerprint() == host().fingerprint()


def test_the_last_physical_cores_are_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = linux.read_target(tree(tmp_path, x86()), "x86_64")
    monkeypatch.setattr("dlas.hardware.local.one_per_core", lambda cpus: (0, 1))
    assert last_cores(target, 1) == (1,)
    assert last_cores(target, 2) == (0, 1)
    assert last_cores(target, 3) == (1, 2, 3)
