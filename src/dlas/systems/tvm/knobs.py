"""What was measured to be the best knobs of a kernel, kept so that no kernel is tuned twice on one
machine: a SQLite file in the user's cache folder.

An entry's key is the kernel's own text, the target, the number of threads, how cold weights are in
the network, and TVM's version. The entries are measurements: deleting the file costs time, and may
give other, equally correct, knobs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlas.places import cache_folder

if TYPE_CHECKING:
    from dlas.algorithms.template import Knobs

FILE = "tvm-knobs.sqlite"
TABLE = """create table if not exists knobs
    (key text primary key, knobs text not null, seconds real not null) without rowid"""


def kernel_key(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class KnobStore:
    def __init__(self, file: Path | None = None) -> None:
        self.file = file or cache_folder() / FILE

    def get(self, key: str) -> Knobs | None:
        if not self.file.exists():
            return None
        with self._open() as database:
            row = database.execute("select knobs from knobs where key = ?", (key,)).fetchone()
        return None if row is None else {str(k): int(v) for k, v in json.loads(row[0]).items()}

    def put(self, key: str, knobs: Knobs, seconds: float) -> None:
        """The last to be written stays."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        values = key, json.dumps(dict(knobs), sort_keys=True), seconds
        with self._open() as database:
            database.execute("insert or replace into knobs values (?, ?, ?)", values)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.file, timeout=30)) as database:
            database.execute(TABLE)
            with database:
                yield database
