"""The store: artifacts by key, results in a database, and what was learnt of this machine."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dlas.errors import StoreError
from dlas.store.artifacts import Artifacts
from dlas.store.results import Results

DEFAULT = ".dlas"
_log = logging.getLogger("dlas.store")


@dataclass(frozen=True)
class Store:
    """``root``: a local folder. ``database``: an SQLAlchemy URL, by default SQLite in ``root``.
    ``remote``: an fsspec URL through which artifacts are shared, by default none."""

    root: Path
    database: str = ""
    remote: str = ""

    @cached_property
    def artifacts(self) -> Artifacts:
        return Artifacts(self.root, self.remote)

    @cached_property
    def results(self) -> Results:
        return Results(self.database or f"sqlite:///{self.root / 'results.sqlite'}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time in a store: two would do the same work and disturb each other's
        timing. The lock goes with the process that holds it, however that ends."""
        with (self.root / "run.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.warning("another run is at work in %s; waiting for it to end", self.root)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def report(self, study: str) -> Path:
        """Where a study's page lies."""
        return self.root / "reports" / f"{study}.html"


def open_store(root: Path | str | None = None) -> Store:
    """The store in ``root``, else ``$DLAS_STORE``, else ``.dlas`` here. ``$DLAS_DATABASE`` and
    ``$DLAS_REMOTE`` name a shared database and a shared place for artifacts."""
    place = Path(root or os.environ.get("DLAS_STORE") or DEFAULT).resolve()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the store {place} cannot be made: {error.strerror}") from None
    return Store(place, os.environ.get("DLAS_DATABASE", ""), os.environ.get("DLAS_REMOTE", ""))
