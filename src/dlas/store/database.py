"""The database: opening it, writing beside others, and its faults as sentences."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from dlas.errors import StoreError
from dlas.store import tables as t

_TRIES, _PAUSE_S = 5, 0.2


class Database:
    """The database at ``url`` (``sqlite:///…`` or ``postgresql+psycopg://…``)."""

    def __init__(self, url: str) -> None:
        try:
            self.engine = sa.create_engine(url)
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
            raise StoreError(f"{url} is not a database URL that can be used: {error}") from None
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
        self._again(self._create)

    def _create(self) -> None:
        """Tables and indices that are not there: a store may be older than some of them."""
        t.metadata.create_all(self.engine)
        for table in t.metadata.tables.values():
            for index in table.indexes:
                index.create(self.engine, checkfirst=True)

    def _again(self, write: Callable[[], None]) -> None:
        """Runs that share a database may add the same rows at once: the loser tries again, and
        then finds them there."""
        clashes = (sa.exc.IntegrityError, sa.exc.OperationalError, sa.exc.ProgrammingError)
        with self._guarded():
            for _ in range(_TRIES):
                with contextlib.suppress(*clashes):
                    return write()
                time.sleep(_PAUSE_S * random.random())
            write()

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def _connect(self) -> Iterator[sa.Connection]:
        with self._guarded(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            place = self.engine.url.render_as_string(hide_password=True)
            raise StoreError(f"the results database {place}: {error.orig}") from None


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Write-ahead logging: readers never wait, and a killed writer leaves the database whole."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA busy_timeout=30000")
