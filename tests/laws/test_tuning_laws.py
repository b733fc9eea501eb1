"""Laws of tuning records: what is exported is what comes back, in whichever order it is merged, and
damage costs the record that it falls on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from dlas.tuning.exchange import read_records, write_records
from dlas.tuning.record import Place, Record, Status
from dlas.tuning.store import TuningStore

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.sampled_from(["a", "b", "c"])  # few, so that records of the same candidate meet
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.dictionaries(texts, numbers, max_size=3)
positive = st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False)
places = st.builds(
    Place, machine=st.one_of(names, texts), target=texts, compiler=texts,
    revision=st.integers(0, 2**31 - 1),
)  # fmt: skip
few_places = st.builds(
    Place, machine=names, target=st.just("t"), compiler=st.just("c"), revision=st.just(1)
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    status = draw(st.sampled_from(get_args(Status)))
    return Record(
        kernel=draw(st.one_of(names, texts)),
        candidate=draw(st.one_of(names, texts)),
        primitive=draw(texts),
        workload=draw(values),
        knobs=draw(values),
        estimate=draw(numbers),
        seconds=draw(positive) if status == "ok" else None,
        status=status,
        place=draw(st.one_of(places, few_places)),
        created=draw(st.one_of(numbers, st.sampled_from([0.0, 1.0]))),
    )


lists = st.lists(records(), max_size=6)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def exported(records: Sequence[Record], file: Path) -> Path:
    assert write_records(records, file) == len(records)
    return file


def merged(files: Sequence[Path], store: TuningStore) -> set[str]:
    """What a store holds that took the files in this order; as text, since a record holds dicts."""
    for file in files:
        store.load(file)
    assert not store.notes
    return {repr(each) for each in store.records()}


@given(lists)
def test_what_is_written_is_read(given: list[Record]) -> None:
    with folder() as place:
        found = read_records(exported(given, place / "file"))
    assert list(found.records) == given
    assert not found.problems


@given(lists)
@settings(max_examples=50, deadline=None)
def test_export_then_import_is_the_identity(given: list[Record]) -> None:
    with folder() as place:
        first, second = TuningStore(place / "first"), TuningStore(place / "second")
        first.add(given)
        first.export(place / "file")
        second.load(place / "file")
        assert second.records() == first.records()
        second.load(place / "file")
        assert second.records() == first.records(), "taken twice"
        last = {(each.kernel, each.candidate, repr(each.place)): each for each in given}
        assert first.records() == list(last.values())


@given(st.lists(lists, min_size=2, max_size=3))
@settings(max_examples=50, deadline=None)
def test_merging_goes_in_any_order(given: list[list[Record]]) -> None:
    with folder() as place:
        files = [exported(each, place / str(number)) for number, each in enumerate(given)]
        forth = merged(files, TuningStore(place / "forth"))
        back = merged(files[::-1], TuningStore(place / "back"))
        assert forth == back


@given(lists.filter(bool), st.data())
@settings(deadline=None)
def test_a_damaged_byte_costs_its_record_at_most(given: list[Record], data: st.DataObject) -> None:
    with folder() as place:
        file = exported(given, place / "file")
        lines = file.read_bytes().splitlines(keepends=True)
        hit = data.draw(st.integers(1, len(given)))
        where = data.draw(st.integers(0, len(lines[hit]) - 2))  # not the end of the line
        damaged = bytearray(lines[hit])
        damaged[where] = data.draw(st.integers(0, 255))
        lines[hit] = bytes(damaged)
        file.write_bytes(b"".join(lines))
        found = read_records(file)
        rest = [each for number, each in enumerate(given, 1) if number != hit]
        kept = list(found.records)
        assert kept[: hit - 1] == rest[: hit - 1]
        assert kept[len(kept) - len(rest[hit - 1 :]) :] == rest[hit - 1 :]
        assert len(kept) >= len(rest)
        assert len(found.problems) <= 2  # the byte may have become the end of a line
        store = TuningStore(place / "store")
        store.load(file)
        assert not store.notes


@given(lists, st.binary(max_size=40), st.integers(0, 400))
def test_a_file_cut_short_keeps_what_is_whole(given: list[Record], tail: bytes, cut: int) -> None:
    with folder() as place:
        file = exported(given, place / "file")
        whole = file.read_bytes()
        start = whole.index(b"\n") + 1
        length = max(len(whole) - cut, start)
        file.write_bytes(whole[:length] + tail)
        complete = whole[:length].count(b"\n") - 1
        assert list(read_records(file).records[:complete]) == given[:complete]
