"""A study's results as values, and as one file: what can be committed, sent and analysed anywhere.

The file is Parquet, a row per stack: the columns of ``schema.RESULTS``, ``samples_s`` (float32, the
raw latencies in the order they were taken), ``blocks`` (how many of them each round gave), and JSON
for what is nested. Its metadata holds the circumstances. Any Parquet reader opens it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError, StoreError
from dlas.measure.statistics import round_medians
from dlas.store.frame import results_frame
from dlas.store.results import Results
from dlas.store.schema import RESULTS

if TYPE_CHECKING:
    import pandas as pd

ENDING = ".parquet"
#: The form of the file; readers refuse others.
FORM = 2
_META = b"dlas"
_SAMPLES, _BLOCKS = "samples_s", "blocks"


@dataclass(frozen=True)
class StudyResults:
    """``frame``: a row per stack, the columns of ``schema.RESULTS``. ``samples``: raw latencies in
    seconds by the stack's key; ``blocks``: how many of them each round gave. ``nested``: more by
    name and key, plain data. ``circumstances``: what is known of the study beside its results,
    plain data. ``place``: where it was read."""

    study: str
    frame: pd.DataFrame
    samples: Mapping[str, NDArray[np.float64]]
    blocks: Mapping[str, Sequence[int]] = field(default_factory=dict)
    nested: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    circumstances: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""

    @cached_property
    def rounds(self) -> dict[str, NDArray[np.float64]]:
        """By the stack's key the median latency of each round, in seconds: those of one ``group``
        were taken side by side, the first with the first."""
        blocks = self.blocks
        return {key: round_medians(s, blocks.get(key, ())) for key, s in self.samples.items()}


def read_results(results: Results, study: str) -> StudyResults:
    """From the store; StoreError where the study is unknown."""
    frame = results_frame(results, study)
    measured = results.last_observations(list(frame["key"]))
    samples = {key: found.samples_s for key, found in measured.items()}
    blocks = {key: found.record["blocks"] for key, found in measured.items()}
    return StudyResults(study, frame, samples, blocks)


def save_archive(found: StudyResults, path: Path) -> None:
    """Write the file, or leave an older one as it was. StoreError where it cannot be written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = list(found.frame["key"])
    table = pa.Table.from_pandas(found.frame, preserve_index=False)
    samples = [np.asarray(found.samples.get(key, ()), np.float32) for key in keys]
    table = table.append_column(_SAMPLES, pa.array(samples, pa.list_(pa.float32())))
    blocks = [list(found.blocks.get(key, ())) for key in keys]
    table = table.append_column(_BLOCKS, pa.array(blocks, pa.list_(pa.int32())))
    for name, values in found.nested.items():
        texts = [json.dumps(values[key]) if key in values else None for key in keys]
        table = table.append_column(f"{name}_json", pa.array(texts, pa.string()))
    meta = {"form": FORM, "study": found.study, "circumstances": dict(found.circumstances)}
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), _META: json.dumps(meta).encode()}
    )
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, aside, compression="zstd", compression_level=19)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from None


def open_archive(path: Path) -> StudyResults:
    """Read the file. InputError where it is none, or lacks a column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} is not a Parquet file that can be read: {reason}") from None
    with _named(path):
        meta = json.loads((table.schema.metadata or {})[_META])
        if meta["form"] != FORM:
            raise InputError(f"{path} has form {meta['form']}, this version reads {FORM}")
        lacking = {column.name for column in RESULTS} - set(table.column_names)
        if lacking:
            raise InputError(f"{path} lacks the columns {', '.join(sorted(lacking))}")
        frame = table.select([column.name for column in RESULTS]).to_pandas()
        keys = list(frame["key"])
        for column in RESULTS:
            if column.unit and frame[column.name].dtype.kind not in "iuf":
                raise InputError(f"{path}: the column {column.name} holds no numbers")
        lists = zip(keys, table[_SAMPLES].to_pylist(), strict=True)
        samples = {key: np.asarray(values, np.float64) for key, values in lists if values}
        blocks = dict(zip(keys, table[_BLOCKS].to_pylist(), strict=True))
        nested = {
            column.removesuffix("_json"): {
                key: json.loads(text)
                for key, text in zip(keys, table[column].to_pylist(), strict=True)
                if text is not None
            }
            for column in table.column_names
            if column.endswith("_json")
        }
        facts = meta["circumstances"]
        return StudyResults(meta["study"], frame, samples, blocks, nested, facts, str(path))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} does not hold the results of a study: {error!r}") from None


def joined(many: Sequence[StudyResults]) -> StudyResults:
    """Several studies as one, without circumstances. A stack that more than one holds counts once,
    with all that the first of them knows that measured it."""
    import pandas as pd

    frame = pd.concat([each.frame.assign(_of=n) for n, each in enumerate(many)], ignore_index=True)
    measured_first = frame.sort_values("latency_s", key=lambda column: column.isna(), kind="stable")
    frame = measured_first.drop_duplicates("key").sort_index().reset_index(drop=True)
    holders = dict(zip(frame["key"], frame.pop("_of"), strict=True))

    def own(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {key: values[n][key] for key, n in holders.items() if key in values[n]}

    return StudyResults(
        ", ".join(dict.fromkeys(each.study for each in many)),
        frame,
        own([each.samples for each in many]),
        own([each.blocks for each in many]),
        {name: own([each.nested.get(name, {}) for each in many]) for name in _names(many)},
    )


def _names(many: Sequence[StudyResults]) -> list[str]:
    return list(dict.fromkeys(name for each in many for name in each.nested))
