"""A store, a command line, and members that fail in every way, as another package brings them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import driver, page  # noqa: F401  # fixtures

FAULTY = '''
import errno, os, signal, time
from typing import ClassVar, Literal
from dlas.optimizations.base import Optimization

class Faulty(Optimization, frozen=True, kw_only=True):
    """Fails on purpose."""
    name: ClassVar[str] = "faulty"
    how: Literal["raise", "segfault", "killed", "hang", "disk_full", "memory", "exit"]

    def apply(self, network, data, context):
        match self.how:
            case "raise": raise RuntimeError("no luck today\\nand a second line")
            case "segfault": os.kill(os.getpid(), signal.SIGSEGV)
            case "killed": os.kill(os.getpid(), signal.SIGKILL)
            case "hang": time.sleep(60)
            case "disk_full": raise OSError(errno.ENOSPC, "No space left on device")
            case "memory": raise MemoryError
            case "exit": os._exit(3)
        return network
'''


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install another package with the optimization ``faulty``, by its entry point."""
    site = tmp_path / "site"
    info = site / "faulty-0.dist-info"
    info.mkdir(parents=True)
    (site / "dlas_faulty.py").write_text(FAULTY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[dlas.optimizations]\nfaulty = dlas_faulty:Faulty\n")
    path = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


Dlas = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def dlas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dlas:
    """Run the command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DLAS_STORE", raising=False)

    def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dlas.cli.main", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=300
        )

    return call
