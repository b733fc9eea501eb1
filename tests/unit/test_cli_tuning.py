"""``dlas tuning``: the verbs, with their sentences, on made-up records."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from dlas.cli.main import app
from dlas.errors import DlasError, InputError, StoreError
from dlas.target import host
from dlas.tuning.record import Place, Record, machine_name
from dlas.tuning.store import FILE, TuningStore

NOW = time.time()
DAY_S = 86400
HERE = Place(machine=machine_name(host()), target="x86-64 A", compiler="tvm 0.27", revision=5)
OLD = msgspec.structs.replace(HERE, compiler="tvm 0.26")
OTHER = msgspec.structs.replace(HERE, machine="cpu Z")


def made(kernel: str, number: int, **changes: Any) -> Record:
    plain = dict(
        kernel=kernel, candidate=f"candidate{number}", primitive="gemm",
        workload={"rows": 64.0, "[taps]": 9.0}, knobs={"tile": float(number)}, estimate=1.5e6,
        seconds=1e-3 * (number + 1), status="ok", place=HERE, created=NOW - 3 * DAY_S,
    )  # fmt: skip
    return Record(**{**plain, **changes})


RECORDS = [
    made("aaa1", 4),
    made("aaa1", 2, created=NOW - 5 * 3600),
    made("aaa1", 3, seconds=None, status="crashed"),
    made("aab2", 9),
    made("aab2", 1, seconds=None, status="timed_out", place=OTHER),
    made("ccc3", 1, seconds=None, status="wrong", primitive="direct"),
    made("ddd4", 1, primitive="direct", place=OLD, created=NOW - 40 * DAY_S),
]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TuningStore:
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    store = TuningStore()
    assert store.file.parent == tmp_path / "cache"
    store.add(RECORDS)
    return store


def ran(*words: object) -> Any:
    return CliRunner().invoke(app, ["tuning", *map(str, words)], env={"COLUMNS": "200"})


def told(*words: object) -> str:
    result = ran(*words)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: object) -> DlasError:
    error = ran(*words).exception
    assert isinstance(error, DlasError)
    return error


def cells(output: str, start: str) -> list[str]:
    """Of the table's row whose first cell begins so."""
    (line,) = (each for each in output.splitlines() if re.match(f"│ {re.escape(start)}", each))
    return [each.strip() for each in line.strip("│").split("│")]


# -- show ------------------------------------------------------------------------------------------


def test_show_by_primitive_and_place() -> None:
    output = told("show")
    assert cells(output, "gemm") == ["gemm", "2", "5", "1 crashed, 1 timed_out", "4", "5 hours"]
    assert cells(output, "direct") == ["direct", "2", "2", "1 wrong", "2", "3 days"]
    assert cells(output, "cpu Z") == ["cpu Z", "x86-64 A", "tvm 0.27", "5", "1", "3 days"]
    assert output.count("this one") == 2


def test_show_a_primitives_kernels_slowest_first() -> None:
    output = told("show", "--primitive", "gemm")
    here, other = output.split("cpu Z")
    assert "this machine, x86-64 A, tvm 0.27, templates 5" in here
    assert here.index("aab2") < here.index("aaa1")
    row = ["aaa1", "3", "3", "1 crashed", "rows=64 [taps]=9", "tile=2"]
    assert cells(here, "aaa1") == row
    assert cells(other, "aab2") == ["aab2", "–", "1", "1 timed_out", "rows=64 [taps]=9", ""]
    assert "ddd4" not in output


def test_show_a_primitive_in_every_type_of_numbers(store: TuningStore) -> None:
    store.add([made("eee5", 1, primitive="dense int8"), made("fff6", 1, primitive="dense float32")])
    output = told("show", "--primitive", "dense")
    assert "eee5" in output
    assert "fff6" in output
    assert "fff6" not in told("show", "--primitive", "dense int8")


def test_show_a_kernels_candidates_by_time() -> None:
    output = told("show", "--kernel", "aaa")
    assert "gemm, rows=64 [taps]=9 · this machine" in output
    row = ["candidate2", "3", "1.5e+06", "tile=2", "ok", "5 hours"]
    assert cells(output, "candidate2") == row
    assert cells(output, "candidate3")[1:5] == ["–", "1.5e+06", "tile=3", "crashed"]
    order = re.findall(r"candidate(\d)", output)
    assert order == ["2", "4", "3"]


def test_show_as_json(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    assert "written to" in told("show", "--json", file)
    found = json.loads(file.read_text())
    assert [each["primitive"] for each in found["primitives"]] == ["direct", "gemm"]
    assert found["primitives"][1]["failed"] == {"crashed": 1, "timed_out": 1}
    assert [each["here"] for each in found["places"]] == [True, False, True]
    told("show", "--primitive", "gemm", "--json", file)
    assert [each["kernel"] for each in json.loads(file.read_text())] == ["aab2", "aaa1", "aab2"]
    told("show", "--kernel", "aaa1", "--json", file)
    found = msgspec.json.decode(file.read_bytes(), type=list[Record])
    assert found == [RECORDS[1], RECORDS[0], RECORDS[2]]


def test_show_refuses_what_is_not_there() -> None:
    assert str(refused("show", "--primitive", "gem")) == (
        "there are no records of 'gem'; did you mean 'gemm'?"
    )
    assert "no kernel starts with 'b'" in str(refused("show", "--kernel", "b"))
    assert "2 kernels start with 'aa': give more of aaa1, aab2" in str(
        refused("show", "--kernel", "aa")
    )
    sentence = str(refused("show", "--primitive", "direct", "--kernel", "aaa1"))
    assert "no kernel starts with 'aaa1'" in sentence


def test_show_with_nothing_there(store: TuningStore) -> None:
    store.file.unlink()
    assert told("show") == f"no records in {store.file} yet\n"
    assert not store.file.exists()
    assert str(refused("show", "--primitive", "gemm")) == "there are no records of 'gemm'"


# -- export, import --------------------------------------------------------------------------------


def test_export_and_import(tmp_path: Path, store: TuningStore) -> None:
    file, other = tmp_path / "records.jsonl", tmp_path / "other.sqlite"
    assert told("export", file) == f"7 records written to {file}\n"
    assert told("import", file, "--file", other) == (
        f"7 records taken from {file}, 6 of this machine\n"
    )
    assert TuningStore(other).records() == store.records()
    assert "gemm" in told("show", "--file", other)


def test_import_names_the_lines_it_skips(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    told("export", file)
    lines = file.read_text().splitlines()
    lines[3] = lines[3].replace("null", "-1.0")
    file.write_text("\n".join([*lines, *["nonsense"] * 12]))
    output = told("import", file)
    first, *rest = output.splitlines()
    assert first.startswith(f"{file} line 4 was skipped: it has seconds where its status")
    assert len(rest) == 11
    assert rest[-2] == "… 13 lines were skipped in all"
    assert rest[-1].startswith("6 records taken")


def test_import_refuses_a_foreign_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    assert "holds no tuning records" in str(refused("import", tmp_path / "file"))


def test_import_says_where_nothing_could_be_kept(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    told("export", file)
    error = refused("import", file, "--file", file / "below")
    assert isinstance(error, StoreError)
    assert "cannot be used" in str(error)


# -- prune -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, number",
    [
        (["--older-than", "30"], 1),
        (["--older-than", "0"], 7),
        (["--other-machines"], 1),
        (["--outdated"], 1),
        (["--failed"], 3),
        (["--failed", "--other-machines", "--outdated"], 4),
    ],
)
def test_prune(store: TuningStore, words: list[str], number: int) -> None:
    counted = f"{number} record{'s' if number > 1 else ''}"
    assert f"{counted} would be forgotten" in told("prune", *words, "--dry-run")
    assert store.records() == RECORDS
    assert told("prune", *words) == f"{counted} forgotten\n"
    assert len(store.records()) == len(RECORDS) - number


def test_a_dry_run_shows_which() -> None:
    output = told("prune", "--failed", "--dry-run")
    assert cells(output, "direct")[:4] == ["direct", "1", "1", "1 wrong"]


def test_prune_asks_what() -> None:
    assert "say what to forget: --older-than DAYS" in str(refused("prune"))


def test_what_is_outdated_is_told_by_this_machines_records(tmp_path: Path) -> None:
    file = tmp_path / "other.sqlite"
    TuningStore(file).add([made("a", 1, place=OTHER)])
    sentence = str(refused("prune", "--outdated", "--file", file))
    assert "there is no record of this machine" in sentence


# -- another file ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["show"], ["export", "x"], ["prune", "--failed"]], ids=lambda words: words[0]
)
def test_a_file_must_be_there(tmp_path: Path, words: list[str]) -> None:
    file = tmp_path / "absent.sqlite"
    assert str(refused(*words, "--file", file)) == f"--file {file}: there is no such file"
    assert not file.exists()


@pytest.mark.parametrize(
    "words",
    [["show"], ["export", "x"], ["prune", "--failed"], ["import", "x"]],
    ids=lambda words: words[0],
)
def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path: Path, words: list[str]) -> None:
    file = tmp_path / "thesis.txt"
    file.write_text("years of work\n" * 100)
    error = refused(*words, "--file", file)
    assert isinstance(error, InputError)
    assert f"{file} cannot be used (file is not a database)" in str(error)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["thesis.txt"]
    assert file.read_text() == "years of work\n" * 100


def test_the_users_own_file_when_damaged(store: TuningStore) -> None:
    store.file.write_bytes(b"x" * 5000)
    assert "delete it, or name another with --file" in str(refused("show"))
    assert [each.name for each in store.file.parent.iterdir()] == [FILE]
