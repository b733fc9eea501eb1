"""Records as a file: they come back elsewhere, and what is no record is named and left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tuning_records import ELSEWHERE, PLACE, failed, made

from dlas.errors import InputError
from dlas.tuning.store import FILE, TuningStore


@pytest.fixture
def store(tmp_path: Path) -> TuningStore:
    return TuningStore(tmp_path / "deep" / FILE)


def test_export_and_load(store: TuningStore, tmp_path: Path) -> None:
    records = [made(0), failed(1), made(2, place=ELSEWHERE)]
    store.add(records)
    file = tmp_path / "records.jsonl"
    assert store.export(file) == 3
    assert sorted(tmp_path.iterdir()) == [store.file.parent, file]
    other = TuningStore(tmp_path / "other.sqlite")
    found = other.load(file)
    assert (list(found.records), found.problems) == (records, ())
    assert other.records() == records
    assert other.of_kernel("k", PLACE) == records[:2], "of this place, wherever they come from"


def test_an_older_record_does_not_replace_a_newer(store: TuningStore, tmp_path: Path) -> None:
    old, new = made(0, created=1.0), made(0, created=2.0, seconds=9.0)
    store.add([old])
    store.export(tmp_path / "old")
    store.add([new])
    store.load(tmp_path / "old")
    assert store.records() == [new]


def line(**changes: Any) -> str:
    plain = msgspec.to_builtins(made(0))
    return msgspec.json.encode({**plain, **changes}).decode()


@pytest.mark.parametrize(
    "bad, why",
    [
        ("", "truncated"),
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        (line()[:-9], "malformed"),
        (line(extra=1), "unknown field `extra`"),
        (line(place={**msgspec.to_builtins(PLACE), "owner": "x"}), "unknown field `owner`"),
        (line(seconds=-1.0), "seconds must be above 0 and finite, not -1.0"),
        (line(seconds=0), "seconds must be above 0"),
        (line().replace("0.001", "NaN"), "malformed"),
        (line().replace("0.001", "1e999"), "out of range"),
        (line(seconds=None), "has seconds where its status"),
        (line(status="failed"), "has seconds where its status"),
        (line(status="great"), "Invalid enum value 'great'"),
        (line(seconds="1"), "Expected `float | null`, got `str`"),
        (line(knobs={"a": "x"}), "Expected `float`, got `str`"),
        (line(kernel=3), "Expected `str`"),
        (line(created=None), "Expected `float`"),
        (line(place={**msgspec.to_builtins(PLACE), "revision": 1.5}), "Expected `int`"),
        ('{"format":"dlas tuning records","version":1}', "unknown field `format`"),
    ],
)
def test_a_bad_line_is_skipped_and_named(
    store: TuningStore, tmp_path: Path, bad: str, why: str
) -> None:
    store.add([made(0), made(1)])
    file = tmp_path / "records.jsonl"
    store.export(file)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], bad, *lines[2:]]))
    found = store.read(file)
    assert found.records == (made(0), made(1))
    (problem,) = found.problems
    assert problem.startswith(f"{file} line 3 was skipped: ")
    assert why in problem


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "holds no tuning records"),
        (b"hello\n", "holds no tuning records"),
        (b"\xff\xfe\n", "holds no tuning records"),
        (line().encode(), "holds no tuning records"),
        (b'{"format":"other","version":1}\n', "holds no tuning records"),
        (b'{"format":"dlas tuning records","version":2}\n', "of version 2, .* version 1"),
    ],
)
def test_a_foreign_file_is_refused(
    store: TuningStore, tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        store.load(tmp_path / "file")
    assert not store.file.exists()


def test_files_that_cannot_be_read_or_written(store: TuningStore, tmp_path: Path) -> None:
    store.add([made(0)])
    with pytest.raises(InputError, match="cannot be read: No such file"):
        store.read(tmp_path / "absent")
    with pytest.raises(InputError, match="cannot be written"):
        store.export(tmp_path / "absent" / "file")
    with pytest.raises(InputError, match="cannot be written"):
        store.export(tmp_path)
    with pytest.raises(InputError, match="is where the records are kept"):
        store.export(store.file)
    assert store.records() == [made(0)]


def test_export_writes_to_a_device_and_leaves_it_there(store: TuningStore) -> None:
    store.add([made(0)])
    assert store.export(Path("/dev/null")) == 1
    assert not Path("/dev/null").is_file()
