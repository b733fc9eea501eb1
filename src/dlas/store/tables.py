"""The database's tables. SQLite by default, any database SQLAlchemy knows by URL."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

#: What every key stands for: the key can be recomputed from its row.
nodes = Table(
    "nodes",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("layer", String(32), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("content", JSON, nullable=False),
    Column("tools", JSON, nullable=False),
    Column("parent", String(64), nullable=False),
)

#: How each try at a node ended; the last one counts.
outcomes = Table(
    "outcomes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(64), ForeignKey("nodes.key"), nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("message", Text, nullable=False, default=""),
    Column("finished_at", String(32), nullable=False),
    Column("seconds", Float, nullable=False),
)

#: Numbers that a node yields; ``schema.METRICS`` says what they are.
metrics = Table(
    "metrics",
    metadata,
    Column("key", String(64), ForeignKey("nodes.key"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", Float, nullable=False),
)

#: Sentences that a node yields, such as how a number format is emulated.
facts = Table(
    "facts",
    metadata,
    Column("key", String(64), ForeignKey("nodes.key"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("text", Text, nullable=False),
)

#: Measurements: appended, never overwritten. ``samples_s`` is little-endian float64.
observations = Table(
    "observations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(64), ForeignKey("nodes.key"), nullable=False, index=True),
    Column("taken_at", String(32), nullable=False),
    Column("samples_s", LargeBinary, nullable=False),
    Column("record", JSON, nullable=False),
)

#: What each run of a study that did anything cost; ``spent`` as ``study.costs`` has it.
runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study", String(200), nullable=False, index=True),
    Column("started_at", String(32), nullable=False),
    Column("ended_at", String(32), nullable=False),
    Column("ending", String(16), nullable=False),
    Column("spent", JSON, nullable=False),
)

#: What each study asked for last, and the stacks it spans, by the key of their last node.
studies = Table(
    "studies",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("spec", JSON, nullable=False),
    Column("run_at", String(32), nullable=False),
)
members = Table(
    "members",
    metadata,
    Column("study", String(200), ForeignKey("studies.name"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("key", String(64), nullable=False, index=True),
    Column("stack", JSON, nullable=False),
    Column("labels", JSON, nullable=False),
)
