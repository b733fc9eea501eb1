"""What was measured, kept so that no candidate is measured twice on one machine, and so that what
is known of some kernels guides the search for others: a SQLite file in the user's cache folder.

A row is a record as its line of an export, and beside it the columns that it is looked up by. The
records are measurements: losing the file costs time, and never the compile that asks for them. So
a damaged file is set aside, a row that makes no sense is passed over, and what cannot be kept is
not; ``TuningStore.notes`` says so.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from dlas.errors import InputError
from dlas.places import cache_folder
from dlas.tuning.exchange import Imported, decoded, encoded, read_records, write_records
from dlas.tuning.record import Place, Record

FILE = "tuning.sqlite"
#: Records that a model learns from, of one primitive.
MOST = 20_000
WAIT_S = 30.0

#: The text is what makes a file one of ours: other tables count as damage. As SQLite keeps it.
TABLE = """CREATE TABLE records (
    kernel text not null, machine text not null, target text not null, compiler text not null,
    revision integer not null, candidate text not null, primitive text not null,
    status text not null, created real not null, record blob not null,
    primary key (kernel, machine, target, compiler, revision, candidate))"""
INDEX = "CREATE INDEX by_primitive on records (primitive, status, created)"
KEEP_LAST = """insert into records values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (kernel, machine, target, compiler, revision, candidate) do update set
    primitive = excluded.primitive, status = excluded.status, created = excluded.created,
    record = excluded.record"""
#: Of two made at the same moment one stays, whichever comes first.
KEEP_NEWEST = KEEP_LAST + " where (excluded.created, excluded.record) > (created, record)"

#: What SQLite says of a file that holds something else; SQLITE_ERROR: of one in another format.
DAMAGED = sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR

T = TypeVar("T")


class _DamagedError(Exception):
    """The file is not one of ours, or not any more."""


@dataclass(frozen=True)
class Unwanted:
    """Records to forget: those that any of these names. ``before``: measured before that second
    since 1970. ``machine``, ``compiler``, ``revision``: measured on, with or of another.
    ``failed``: with another status than "ok"."""

    before: float | None = None
    machine: str | None = None
    compiler: str | None = None
    revision: int | None = None
    failed: bool = False

    def condition(self) -> tuple[str, list[Any]]:
        """As SQL, with its values."""
        named = {
            "created < ?": self.before,
            "machine <> ?": self.machine,
            "compiler <> ?": self.compiler,
            "revision <> ?": self.revision,
            "status <> ?": "ok" if self.failed else None,
        }
        given = {text: value for text, value in named.items() if value is not None}
        return " or ".join(given) or "false", list(given.values())


class TuningStore:
    """The records in ``file``; by default the user's own. Neither ``add`` nor a look-up raises for
    the file's sake: ``notes`` says, in sentences, what could not be read or kept."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or cache_folder() / FILE
        self.notes: list[str] = []

    # -- writing -------------------------------------------------------------------------------

    def add(self, records: Sequence[Record]) -> None:
        """Keep all of them, or none. Of one candidate of one kernel at one place the last that was
        added stays."""
        self._put(KEEP_LAST, records)

    def load(self, file: Path) -> Imported:
        """Keep what ``export`` wrote, here or elsewhere. Of one candidate of one kernel at one
        place the newest stays. Raises what ``read`` does."""
        imported = self.read(file)
        self._put(KEEP_NEWEST, imported.records)
        return imported

    def prune(self, unwanted: Unwanted) -> int:
        """Forget them; how many there were."""
        condition, values = unwanted.condition()

        def delete(database: sqlite3.Connection) -> int:
            return database.execute(f"delete from records where {condition}", values).rowcount

        return self._do(delete, 0, writing=True) if self.file.exists() else 0

    def _put(self, statement: str, records: Sequence[Record]) -> None:
        rows = [_row(record) for record in records]

        def insert(database: sqlite3.Connection) -> None:
            database.executemany(statement, rows)

        if rows:
            self._do(insert, None, writing=True)

    # -- reading -------------------------------------------------------------------------------

    def of_kernel(self, kernel: str, place: Place) -> list[Record]:
        """What was measured of a kernel at exactly this place, by candidate."""
        condition = "kernel = ? and machine = ? and target = ? and compiler = ? and revision = ?"
        values = (kernel, place.machine, place.target, place.compiler, place.revision)
        found = self._records(f"where {condition} order by candidate", values)
        return [each for each in found if each.kernel == kernel and each.place == place]

    def guides(self, primitive: str, most: int = MOST) -> list[Record]:
        """Records with seconds of that primitive's candidates, from any place, the newest first."""
        end = "where primitive = ? and status = 'ok' order by created desc, rowid desc limit ?"
        found = self._records(end, (primitive, most))
        return [each for each in found if each.primitive == primitive and each.status == "ok"]

    def primitives(self) -> dict[str, int]:
        """How many records there are of each primitive, by name."""
        return dict(sorted(Counter(each.primitive for each in self.records()).items()))

    def records(self) -> list[Record]:
        """All of them, as they were added."""
        return self._records("order by rowid")

    def unwanted(self, unwanted: Unwanted) -> list[Record]:
        """What ``prune`` would forget."""
        condition, values = unwanted.condition()
        return self._records(f"where {condition} order by rowid", values)

    def fault(self) -> str:
        """What is wrong with the file, in words; "" where nothing is, or where there is none yet.
        Leaves it as it is."""

        def check(database: sqlite3.Connection) -> str:
            (answer,) = database.execute("pragma quick_check(1)").fetchone()
            return "" if answer == b"ok" else str(answer.decode(errors="replace"))

        try:
            return self._transaction(check, "", False) if self.file.exists() else ""
        except (_DamagedError, sqlite3.Error, OSError) as error:
            return str(error)

    def _records(self, end: str, values: Sequence[Any] = ()) -> list[Record]:
        return _sound(self._rows(f"select record from records {end}", values))

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        nothing: list[Any] = []
        return self._do(lambda database: database.execute(query, values).fetchall(), nothing)

    # -- exchanging ----------------------------------------------------------------------------

    def export(self, file: Path) -> int:
        """Write all records as JSON lines; how many. InputError where it cannot be written."""
        if file.exists() and self.file.exists() and file.samefile(self.file):
            raise InputError(f"{file} is where the records are kept: export them to another file")
        return write_records(self.records(), file)

    def read(self, file: Path) -> Imported:
        """What ``export`` wrote, without keeping it. A line that no longer holds is skipped and
        named; InputError for another kind of file."""
        return read_records(file)

    # -- the file ------------------------------------------------------------------------------

    def _do(
        self, work: Callable[[sqlite3.Connection], T], otherwise: T, writing: bool = False
    ) -> T:
        """The result of one transaction; ``otherwise`` where there is no file, or none that can be
        used. ``writing``: begin a file where there is none."""
        try:
            if writing:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            elif not self.file.exists():
                return otherwise
            seen = self._identity()
            try:
                return self._transaction(work, otherwise, writing)
            except _DamagedError as error:
                self._set_aside(seen, str(error))
                return self._transaction(work, otherwise, writing) if writing else otherwise
        except (_DamagedError, sqlite3.Error, OSError) as error:
            self._note(
                f"{self.file} cannot be used ({error}), so what is measured is not kept: make it "
                "writable, or name another folder in $DLAS_CACHE"
            )
            return otherwise

    def _transaction(
        self, work: Callable[[sqlite3.Connection], T], otherwise: T, writing: bool
    ) -> T:
        # Readers may write too: they undo what a killed writer began. The journal is SQLite's
        # usual one, since a write-ahead log needs a local folder that readers can write to.
        address = f"{self.file.absolute().as_uri()}?mode={'rwc' if writing else 'rw'}"
        try:
            with (
                closing(sqlite3.connect(address, WAIT_S, isolation_level=None, uri=True)) as opened,
                opened as database,
            ):
                database.text_factory = bytes  # what is damaged need not be text
                database.execute("begin immediate" if writing else "begin")
                return work(database) if _is_ready(database, writing) else otherwise
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
                raise _DamagedError(str(error)) from None
            raise
        except UnicodeDecodeError:  # in the message that it is damaged
            raise _DamagedError("what it holds is no text") from None

    def _identity(self) -> int | None:
        return self.file.stat().st_ino if self.file.exists() else None

    def _set_aside(self, seen: int | None, why: str) -> None:
        """Out of the way, whole, unless another process has done that and begun a new one."""
        if seen is None or self._identity() != seen:
            return
        names = (self.file.with_name(f"{self.file.name}.damaged-{n}") for n in count(1))
        aside = next(name for name in names if not name.exists())
        self.file.rename(aside)
        journal = self.file.with_name(f"{self.file.name}-journal")
        if journal.exists():
            journal.rename(f"{aside}-journal")
        self._note(f"{self.file} is damaged ({why}): it is now {aside.name}, and a new one begins")

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def _is_ready(database: sqlite3.Connection, writing: bool) -> bool:
    """Whether the table is there; in an empty file it is made."""
    query = "select sql from sqlite_master where name not like 'sqlite_%' order by rowid"
    found = [text for (text,) in database.execute(query)]
    if not found and writing:
        database.execute(TABLE)
        database.execute(INDEX)
    elif found and found != [TABLE.encode(), INDEX.encode()]:
        raise _DamagedError("it holds other tables")
    return bool(found) or writing


def _row(record: Record) -> tuple[Any, ...]:
    place = record.place
    return (
        record.kernel, place.machine, place.target, place.compiler, place.revision,
        record.candidate, record.primitive, record.status, record.created, encoded(record),
    )  # fmt: skip


def _sound(rows: Iterable[tuple[Any]]) -> list[Record]:
    """Those that are records."""
    found = []
    for (line,) in rows:
        try:
            found.append(decoded(line))
        except (ValueError, TypeError):
            continue
    return found
