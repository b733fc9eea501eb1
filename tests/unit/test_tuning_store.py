"""The records of tuning: they come back, survive each other's writing and being killed, and no
damage stops whoever asks."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tuning_records import ELSEWHERE, PLACE, failed, made

from dlas.target import host
from dlas.tuning.exchange import decoded, encoded
from dlas.tuning.record import machine_name
from dlas.tuning.store import FILE, TuningStore, Unwanted

#: Adds records for as long as it lives: one kernel of so many candidates at a time.
WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from tuning_records import made
from dlas.tuning.store import TuningStore
store = TuningStore(Path(sys.argv[1]))
for kernel in range(int(sys.argv[3])):
    store.add([made(i, kernel=f"{sys.argv[2]}{kernel}") for i in range(50)])
    print(kernel, flush=True)
assert not store.notes, store.notes
"""


def writer(file: Path, name: str, kernels: int) -> subprocess.Popen[str]:
    given = map(str, (file, name, kernels, Path(__file__).parent))
    words = [sys.executable, "-c", WRITER, *given]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def store(tmp_path: Path) -> TuningStore:
    return TuningStore(tmp_path / "deep" / FILE)


@pytest.fixture
def read_only() -> Iterator[Callable[[TuningStore], TuningStore]]:
    """A store's file as another user finds it who may not write there; root may always."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)

        def closed(store: TuningStore) -> TuningStore:
            file = folder / FILE
            if store.file.exists():
                file.write_bytes(store.file.read_bytes())
                file.chmod(0o444)
            folder.chmod(0o555)
            if root:
                os.seteuid(65534)
            return TuningStore(file)

        yield closed
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


# -- records ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"seconds": math.nan}, "seconds must be above 0"),
        ({"seconds": math.inf}, "seconds must be above 0"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"seconds": -1.0}, "seconds must be above 0"),
        ({"seconds": None}, "has seconds where its status"),
        ({"status": "wrong"}, "has seconds where its status"),
        ({"estimate": math.nan}, "numbers must be finite"),
        ({"workload": {"a": math.inf}}, "numbers must be finite"),
        ({"knobs": {"a": -math.inf}}, "numbers must be finite"),
        ({"created": math.nan}, "numbers must be finite"),
    ],
)
def test_what_cannot_be_is_no_record(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        made(**changes)


@pytest.mark.parametrize("revision", [-1, 2**31])
def test_a_revision_is_small(revision: int) -> None:
    with pytest.raises(ValueError, match="revision"):
        msgspec.structs.replace(PLACE, revision=revision)


def test_numbers_may_be_numpys() -> None:
    record = made(knobs={"a": np.int64(3)}, workload={"b": np.float32(0.5)}, seconds=np.float64(2))
    assert decoded(encoded(record)) == record


def test_this_machine_has_a_name() -> None:
    assert machine_name(host()) == machine_name(host())
    assert str(host().cores) in machine_name(host())


# -- the store -------------------------------------------------------------------------------------


def test_nothing_is_there_at_first(store: TuningStore) -> None:
    assert store.of_kernel("k", PLACE) == store.guides("gemm") == store.records() == []
    assert store.primitives() == {}
    assert store.prune(Unwanted(failed=True)) == 0
    store.add([])
    assert store.fault() == ""
    assert not store.notes
    assert not store.file.parent.exists()


def test_by_default_it_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLAS_CACHE", "/somewhere")
    assert TuningStore().file == Path("/somewhere") / FILE


def test_records_come_back(store: TuningStore) -> None:
    records = [made(2), failed(1), made(0, kernel="other"), made(3, workload={}, knobs={})]
    store.add(records)
    again = TuningStore(store.file)
    assert again.records() == records
    assert again.of_kernel("k", PLACE) == [records[1], records[0], records[3]]
    assert again.primitives() == {"gemm": 4}
    assert again.fault() == ""
    assert not again.notes


def test_the_last_that_was_added_stays(store: TuningStore) -> None:
    store.add([made(0), made(0, seconds=7.0)])
    store.add([made(1), made(0, seconds=8.0, created=0.0)])
    assert store.of_kernel("k", PLACE) == [made(0, seconds=8.0, created=0.0), made(1)]
    store.add([failed(0, primitive="direct")])
    assert store.of_kernel("k", PLACE)[0].status == "crashed"
    assert store.primitives() == {"direct": 1, "gemm": 1}


@pytest.mark.parametrize(
    "change", [{"machine": "m"}, {"target": "t"}, {"compiler": "c"}, {"revision": 6}]
)
def test_records_of_other_places_only_guide(store: TuningStore, change: dict[str, Any]) -> None:
    place = msgspec.structs.replace(PLACE, **change)
    store.add([made(0), made(0, place=place, created=5.0)])
    assert store.of_kernel("k", PLACE) == [made(0)]
    assert store.of_kernel("k", place) == [made(0, place=place, created=5.0)]
    assert store.guides("gemm") == [made(0), made(0, place=place, created=5.0)]


def test_guides_are_the_newest_that_ran(store: TuningStore) -> None:
    store.add([made(1), made(3), failed(4), made(2), made(5, primitive="direct")])
    assert store.guides("gemm", 2) == [made(3), made(2)]
    assert store.guides("winograd") == []


@pytest.mark.parametrize("query", ["of_kernel", "guides"])
def test_look_ups_go_by_an_index(store: TuningStore, query: str) -> None:
    store.add([made(0)])
    asked: list[str] = []
    connect = sqlite3.connect

    class Watched(sqlite3.Connection):
        def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
            if text.startswith("select record"):
                plan = super().execute(f"explain query plan {text}", *values).fetchall()
                asked.extend(row[3].decode() for row in plan)
            return super().execute(text, *values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=Watched, **k))
        store.of_kernel("k", PLACE) if query == "of_kernel" else store.guides("gemm")
    assert asked
    assert all(line.startswith("SEARCH records USING INDEX") for line in asked), asked


@pytest.mark.parametrize(
    "unwanted, left",
    [
        (Unwanted(), 5),
        (Unwanted(before=1002.0), 3),
        (Unwanted(machine="cpu A"), 4),
        (Unwanted(compiler="apache-tvm 0.27"), 4),
        (Unwanted(revision=5), 4),
        (Unwanted(failed=True), 4),
        (Unwanted(machine="cpu A", failed=True), 3),
    ],
)
def test_prune_forgets_what_any_field_names(
    store: TuningStore, unwanted: Unwanted, left: int
) -> None:
    older = msgspec.structs.replace(PLACE, compiler="apache-tvm 0.26")
    before = msgspec.structs.replace(PLACE, revision=4)
    places = made(1, place=ELSEWHERE), made(2, place=older), made(3, place=before)
    store.add([made(0), *places, failed(4)])
    would = store.unwanted(unwanted)
    everything = store.records()
    assert len(everything) == 5
    assert store.prune(unwanted) == len(would) == 5 - left
    assert store.records() == [each for each in everything if each not in would]


# -- several processes -----------------------------------------------------------------------------


def test_two_processes_add_at_once(store: TuningStore) -> None:
    writers = [writer(store.file, name, 20) for name in "ab"]
    for each in writers:
        each.communicate(timeout=120)
        assert each.returncode == 0
    kernels = {f"{name}{number}" for name in "ab" for number in range(20)}
    assert {each.kernel for each in store.records()} == kernels
    assert len(store.records()) == len(kernels) * 50


def test_a_writer_that_is_killed_leaves_whole_transactions(store: TuningStore) -> None:
    for number, pause_s in enumerate((0.0, 0.003, 0.011, 0.02)):
        killed = writer(store.file, f"{number}-", 100_000)
        assert killed.stdout is not None
        assert killed.stdout.readline() == "0\n"
        time.sleep(pause_s)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert store.fault() == ""
        kept = [each.kernel for each in store.records()]
        assert f"{number}-0" in kept
        assert all(kept.count(kernel) == 50 for kernel in set(kept))
    store.add([made(0)])
    assert not store.notes


def test_a_transaction_half_in_the_file_is_undone(store: TuningStore) -> None:
    """Killed while SQLite writes pages: the journal lies there, and the first to open undoes it."""
    store.add([made(i) for i in range(200)])
    code = (
        "import os, sqlite3, sys; database = sqlite3.connect(sys.argv[1])\n"
        "database.execute('pragma cache_size = 2'); database.execute('pragma cache_spill = 1')\n"
        "database.execute('begin')\n"
        "database.execute(\"update records set record = zeroblob(900), status = 'x'\")\n"
        "os.kill(os.getpid(), 9)"
    )
    before = store.file.read_bytes()
    ran = subprocess.run([sys.executable, "-c", code, store.file], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert store.file.with_name(f"{FILE}-journal").exists()
    assert store.file.read_bytes() != before
    assert store.records() == [made(i) for i in range(200)]
    assert not store.notes


def test_a_file_that_is_locked_keeps_nothing_and_says_so(
    store: TuningStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add([made(0)])
    monkeypatch.setattr("dlas.tuning.store.WAIT_S", 0.01)
    holder = sqlite3.connect(store.file, isolation_level=None)
    holder.execute("begin exclusive")
    store.add([made(1)])
    holder.close()
    assert store.records() == [made(0)]
    assert "database is locked" in store.notes[0]


# -- damage ----------------------------------------------------------------------------------------


def text(file: Path) -> None:
    file.write_text("these are no records\n" * 100)


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def overwritten(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + b"\xff" * 8000 + whole[8100:])


def other_tables(file: Path) -> None:
    file.unlink()
    database = sqlite3.connect(file)
    database.execute("create table records (kernel text, seconds real)")
    database.commit()
    database.close()


@pytest.mark.parametrize("damage", [text, truncated, overwritten, other_tables])
@pytest.mark.parametrize("first", ["read", "add"])
def test_a_damaged_file_is_set_aside(
    store: TuningStore, damage: Callable[[Path], None], first: str
) -> None:
    store.add([made(i) for i in range(100)])
    for number in (1, 2):
        damage(store.file)
        content = store.file.read_bytes()
        again = TuningStore(store.file)
        assert again.fault()
        assert store.file.read_bytes() == content, "looking for faults leaves the file alone"
        if first == "read":
            assert again.of_kernel("k", PLACE) == []
            assert not store.file.exists()
        again.add([made(7)])
        assert again.records() == [made(7)]
        aside = store.file.with_name(f"{FILE}.damaged-{number}")
        assert aside.read_bytes() == content
        (note,) = again.notes
        assert f"is damaged ({'it holds other tables' if damage is other_tables else ''}" in note
        assert aside.name in note
        store.add([made(i) for i in range(100)])


def test_an_empty_file_is_begun(store: TuningStore) -> None:
    store.file.parent.mkdir()
    store.file.touch()
    assert store.records() == []
    store.add([made(0)])
    assert store.records() == [made(0)]
    assert not store.notes


@pytest.mark.parametrize(
    "nonsense", [b"", b"{}", b"\xff\xfe", None, 3, "text", b'{"kernel": "k\xff"}']
)
def test_a_row_that_makes_no_sense_is_passed_over(store: TuningStore, nonsense: Any) -> None:
    store.add([made(0), made(1)])
    database = sqlite3.connect(store.file)
    database.execute("pragma ignore_check_constraints = 1")
    stored = b"" if nonsense is None else nonsense
    database.execute("update records set record = ? where candidate = 'c0'", (stored,))
    database.commit()
    database.close()
    assert store.of_kernel("k", PLACE) == store.guides("gemm") == store.records() == [made(1)]
    assert not store.notes


def test_a_row_that_is_another_kernels_is_passed_over(store: TuningStore) -> None:
    store.add([made(0)])
    database = sqlite3.connect(store.file)
    stranger = encoded(failed(0, kernel="stranger"))
    database.execute("update records set record = ?", (stranger,))
    database.commit()
    database.close()
    assert store.of_kernel("k", PLACE) == []
    assert store.guides("gemm") == []


def test_bytes_damaged_anywhere_stop_nobody(store: TuningStore) -> None:
    store.add([made(i) for i in range(100)])
    whole, random = store.file.read_bytes(), np.random.default_rng(0)
    for number in range(100):
        bytes_ = bytearray(whole)
        for place in random.integers(0, len(whole), 10 ** (number % 4)):
            bytes_[place] = random.integers(0, 256)
        store.file.write_bytes(bytes_)
        damaged = TuningStore(store.file)
        damaged.fault()
        damaged.of_kernel("k", PLACE)
        damaged.guides("gemm")
        damaged.records()
        damaged.add([made(1)])
        damaged.prune(Unwanted(before=5.0))
        assert damaged.notes or made(1) in damaged.of_kernel("k", PLACE)


# -- where nothing can be written ------------------------------------------------------------------


def test_a_folder_that_is_read_only(
    store: TuningStore, read_only: Callable[[TuningStore], TuningStore]
) -> None:
    there = read_only(store)
    there.add([made(0)])
    there.add([made(1)])
    assert there.records() == []
    (note,) = there.notes
    assert "what is measured is not kept: make it writable" in note


def test_records_in_a_read_only_folder_are_read(
    store: TuningStore, read_only: Callable[[TuningStore], TuningStore]
) -> None:
    store.add([made(0)])
    there = read_only(store)
    assert there.of_kernel("k", PLACE) == [made(0)]
    assert not there.notes
    there.add([made(1)])
    assert there.records() == [made(0)]
    assert "readonly database" in there.notes[0]


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / FILE, tmp_path):
        store = TuningStore(place)
        store.add([made(0)])
        assert store.of_kernel("k", PLACE) == []
        assert "cannot be used" in store.notes[0]
