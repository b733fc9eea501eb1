"""Results by node key: what each node was, how it ended, what it yielded, what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from dlas.errors import StoreError
from dlas.node import Node
from dlas.store import tables as t
from dlas.store.database import Database
from dlas.store.outcome import Ending as Ending
from dlas.store.outcome import Measured as Measured
from dlas.store.outcome import Outcome as Outcome

#: Outcomes that an estimate of time is learnt from.
RECENT = 20_000
_ABOVE_DIGITS = "g"  # after every digit of a key
_CHUNK = 500  # keys per query: below every database's limit on bound values


_ENDINGS = sa.select(
    t.outcomes.c.id, t.outcomes.c.key, t.outcomes.c.status, t.outcomes.c.message,
    t.outcomes.c.seconds, t.outcomes.c.finished_at,
).order_by(t.outcomes.c.id)  # fmt: skip


class Results(Database):
    """What studies made and measured, in a database."""

    # -- writing -------------------------------------------------------------------------------

    def add_nodes(self, nodes: Iterable[Node]) -> None:
        """Record what keys stand for; known ones are left alone."""
        rows = {
            n.key: {
                "key": n.key, "layer": n.layer, "spec": dict(n.spec), "content": dict(n.content),
                "tools": dict(n.tools), "parent": n.parent,
            }
            for n in nodes
        }  # fmt: skip
        self._again(lambda: self._add_nodes(rows))

    def _add_nodes(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        with self._begin() as connection:
            known = set(_by_key(connection, sa.select(t.nodes.c.key), t.nodes.c.key, list(rows)))
            fresh = [row for key, row in rows.items() if (key,) not in known]
            if fresh:
                connection.execute(t.nodes.insert(), fresh)

    def add_outcome(self, key: str, outcome: Outcome) -> None:
        """Record how a try ended, with its numbers and sentences (which replace earlier ones)."""
        self._again(lambda: self._add_outcome(key, outcome))

    def _add_outcome(self, key: str, outcome: Outcome) -> None:
        with self._begin() as connection:
            connection.execute(
                t.outcomes.insert().values(
                    key=key, status=outcome.status, message=outcome.message,
                    finished_at=now(), seconds=outcome.seconds,
                )
            )  # fmt: skip
            for table, values, column in (
                (t.metrics, outcome.metrics, "value"),
                (t.facts, outcome.facts, "text"),
            ):
                connection.execute(table.delete().where(table.c.key == key))
                if values:
                    rows = [
                        {"key": key, "name": name, column: value} for name, value in values.items()
                    ]
                    connection.execute(table.insert(), rows)

    def add_observation(self, key: str, measured: Measured, seconds: float) -> None:
        """Append a measurement, and that the node ended well."""
        with self._guarded(), self._begin() as connection:
            connection.execute(
                t.observations.insert().values(
                    key=key,
                    taken_at=measured.taken_at,
                    samples_s=np.asarray(measured.samples_s, "<f8").tobytes(),
                    record=dict(measured.record),
                )
            )
            connection.execute(
                t.outcomes.insert().values(
                    key=key, status="ok", message="", finished_at=now(), seconds=seconds
                )
            )

    def save_study(
        self, name: str, spec: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Record a study and its stacks, ``rows`` of ``{key, stack, labels}``, replacing what was
        recorded under its name; measurements stay."""
        self._again(lambda: self._save_study(name, spec, rows))

    def _save_study(
        self, name: str, spec: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        with self._begin() as connection:
            connection.execute(t.members.delete().where(t.members.c.study == name))
            connection.execute(t.studies.delete().where(t.studies.c.name == name))
            connection.execute(t.studies.insert().values(name=name, spec=dict(spec), run_at=now()))
            if rows:
                numbered = [{"study": name, "position": i, **row} for i, row in enumerate(rows)]
                connection.execute(t.members.insert(), numbered)

    def add_run(self, study: str, started_at: str, ending: str, spent: Mapping[str, Any]) -> None:
        """Record a run that has just ended and where its time went."""
        with self._guarded(), self._begin() as connection:
            connection.execute(
                t.runs.insert().values(
                    study=study, started_at=started_at, ended_at=now(), ending=ending,
                    spent=dict(spent),
                )
            )  # fmt: skip

    # -- reading -------------------------------------------------------------------------------

    def outcomes(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """The last outcome of each node that has one, with its numbers and sentences."""
        with self._connect() as connection:
            query = sa.select(
                t.outcomes.c.key, t.outcomes.c.status, t.outcomes.c.message, t.outcomes.c.seconds
            ).order_by(t.outcomes.c.id)
            last = {row.key: row for row in _by_key(connection, query, t.outcomes.c.key, keys)}
            numbers = self._values(connection, t.metrics, keys)
            sentences = self._values(connection, t.facts, keys)
        return {
            key: Outcome(
                row.status, row.message, row.seconds, numbers.get(key, {}), sentences.get(key, {})
            )
            for key, row in last.items()
        }

    def observations(self, keys: Sequence[str]) -> dict[str, list[Measured]]:
        """All measurements of each node that has any, oldest first."""
        columns = t.observations.c
        query = sa.select(columns.key, columns.taken_at, columns.samples_s, columns.record)
        found: dict[str, list[Measured]] = {}
        with self._connect() as connection:
            for row in _by_key(connection, query.order_by(columns.id), columns.key, keys):
                samples = np.frombuffer(row.samples_s, "<f8")
                found.setdefault(row.key, []).append(Measured(row.taken_at, samples, row.record))
        return found

    def observed(self, keys: Sequence[str]) -> set[str]:
        """The nodes among ``keys`` that have been measured."""
        query = sa.select(t.observations.c.key).distinct()
        with self._connect() as connection:
            return {row.key for row in _by_key(connection, query, t.observations.c.key, keys)}

    def endings(self, keys: Sequence[str]) -> dict[str, Ending]:
        """The last outcome of each node that has one, without its numbers and sentences."""
        with self._connect() as connection:
            rows = _by_key(connection, _ENDINGS, t.outcomes.c.key, keys)
        return {row.key: Ending(*tuple(row)) for row in rows}

    def endings_after(self, number: int) -> dict[str, Ending]:
        """The same of the outcomes that were added after the one of that number."""
        with self._connect() as connection:
            rows = connection.execute(_ENDINGS.where(t.outcomes.c.id > number)).all()
        return {row.key: Ending(*tuple(row)) for row in rows}

    def last_number(self) -> int:
        """That of the outcome that was added last; 0 where there is none."""
        with self._connect() as connection:
            return connection.execute(sa.select(sa.func.max(t.outcomes.c.id))).scalar() or 0

    def last_observations(self, keys: Sequence[str]) -> dict[str, Measured]:
        """The last measurement of each node that has any."""
        c = t.observations.c
        query = sa.select(c.key, c.taken_at, c.samples_s, c.record)
        with self._connect() as connection:
            return {
                row.key: Measured(row.taken_at, np.frombuffer(row.samples_s, "<f8"), row.record)
                for row in _last(connection, query, keys)
            }

    def runs(self, study: str) -> list[Mapping[str, Any]]:
        """What the runs of a study cost, ``{started_at, ended_at, ending, spent}``, oldest first;
        those that were killed, or did nothing, are not among them."""
        query = sa.select(t.runs).where(t.runs.c.study == study).order_by(t.runs.c.id)
        with self._connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def study(self, name: str) -> tuple[Mapping[str, Any], str]:
        """What is recorded of a study itself, and when it was run last. StoreError where it is
        unknown."""
        query = sa.select(t.studies.c.spec, t.studies.c.run_at).where(t.studies.c.name == name)
        with self._connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            known = self.studies()
            there = f"; there are {', '.join(known)}" if known else "; nothing was run yet"
            raise StoreError(f"no study {name!r} in this store{there}")
        return row.spec, row.run_at

    def nodes(self, keys: Sequence[str]) -> dict[str, Node]:
        """The nodes of ``keys`` and all above them."""
        found: dict[str, Node] = {}
        wanted = list(dict.fromkeys(keys))
        with self._connect() as connection:
            while wanted:
                rows = _by_key(connection, sa.select(t.nodes), t.nodes.c.key, wanted)
                for row in rows:
                    found[row.key] = Node(row.layer, row.spec, row.content, row.tools, row.parent)
                parents = {row.parent for row in rows if row.parent}
                wanted = sorted(parents - found.keys())
        return found

    def studies(self) -> list[str]:
        """The recorded studies' names, last run first."""
        with self._connect() as connection:
            query = sa.select(t.studies.c.name).order_by(t.studies.c.run_at.desc())
            return [row.name for row in connection.execute(query)]

    def members(self, study: str) -> list[Mapping[str, Any]]:
        """A study's stacks in order, ``{key, stack, labels}``. StoreError where it is unknown."""
        self.study(study)
        query = (
            sa.select(t.members).where(t.members.c.study == study).order_by(t.members.c.position)
        )
        with self._connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def find(self, prefix: str) -> list[str]:
        """Keys of stacks in any study that start with ``prefix``."""
        low, key = prefix.lower(), t.members.c.key
        # a range, because LIKE uses no index where it ignores case
        query = sa.select(key).where(key >= low, key < f"{low}{_ABOVE_DIGITS}").distinct()
        with self._connect() as connection:
            return [row.key for row in connection.execute(query)]

    def studies_of(self, key: str) -> list[str]:
        """The studies that hold a stack, last run first."""
        query = (
            sa.select(t.studies.c.name)
            .join(t.members, t.members.c.study == t.studies.c.name)
            .where(t.members.c.key == key)
            .order_by(t.studies.c.run_at.desc())
        )
        with self._connect() as connection:
            return [row.name for row in connection.execute(query)]

    def usual_seconds(self) -> dict[tuple[str, str], float]:
        """The median time that finished nodes of a kind took, by (layer, member name), among the
        last ``RECENT`` outcomes: a large store is not read through for an estimate."""
        last = sa.select(sa.func.max(t.outcomes.c.id)).scalar_subquery()
        query = (
            sa.select(t.nodes.c.layer, t.nodes.c.spec, t.outcomes.c.seconds)
            .join(t.outcomes, t.outcomes.c.key == t.nodes.c.key)
            .where(t.outcomes.c.id > last - RECENT, t.outcomes.c.status == "ok")
        )
        taken: dict[tuple[str, str], list[float]] = {}
        with self._connect() as connection:
            for row in connection.execute(query):
                taken.setdefault((row.layer, row.spec["name"]), []).append(row.seconds)
        return {kind: float(np.median(seconds)) for kind, seconds in taken.items()}

    def _values(
        self, connection: sa.Connection, table: sa.Table, keys: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for row in _by_key(connection, sa.select(table), table.c.key, keys):
            key, name, value = tuple(row)
            found.setdefault(key, {})[name] = value
        return found


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _by_key(
    connection: sa.Connection, query: sa.Select[Any], column: sa.Column[Any], keys: Sequence[str]
) -> list[sa.Row[Any]]:
    """The query's rows for these keys, asked in chunks."""
    rows: list[sa.Row[Any]] = []
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        rows.extend(connection.execute(query.where(column.in_(chunk))).all())
    return rows


def _last(
    connection: sa.Connection, query: sa.Select[Any], keys: Sequence[str]
) -> Iterator[sa.Row[Any]]:
    """The query's rows for the last observation of each of these keys."""
    column, number = t.observations.c.key, t.observations.c.id
    for start in range(0, len(keys), _CHUNK):
        last = sa.select(sa.func.max(number)).group_by(column)
        last = last.where(column.in_(keys[start : start + _CHUNK]))
        yield from connection.execute(query.where(number.in_(last)))
