"""``dlas claims`` on results in a file: what it prints, and what it says of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from claims_worlds import paper_world
from typer.testing import CliRunner, Result

from dlas.cli.main import app
from dlas.errors import DlasError
from dlas.store.archive import StudyResults, save_archive

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "claims.toml"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("claims") / "made-up.parquet"
    save_archive(StudyResults("made-up", paper_world("Example Xeon CPU"), {}), path)
    return path


def run(*words: object, store: Path) -> Result:
    return CliRunner().invoke(app, ["claims", *map(str, words), "--store", str(store)])


def test_the_thirteen_observations_and_a_line_on_the_rest(study: Path, tmp_path: Path) -> None:
    result = run(study, store=tmp_path)
    assert result.exit_code == 0, result.output
    for numeral in ("I", "VII", "XIII"):
        assert f"\ndlas.{numeral}  " in result.output
    assert "dlas.VII  holds  Spatial pack on tuned CPUs" in result.output
    assert "dlas.order" not in result.output
    assert "Of 42 other claims: " in result.output


def test_other_claims_are_counted_once_on_two_machines(tmp_path: Path) -> None:
    path = tmp_path / "both.parquet"
    frame = paper_world("Example Xeon CPU", "Cortex-A73")
    save_archive(StudyResults("both", frame, {}), path)
    words = " ".join(run(path, store=tmp_path).output.split())
    assert "Of 42 other claims, in " in words
    assert " verdicts, machine by machine: " in words


def test_an_empty_study_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    save_archive(StudyResults("empty", paper_world("Example Xeon CPU").iloc[:0], {}), path)
    result = run(path, "--all", store=tmp_path)
    assert result.output == "empty: there are no stacks at all, so no claim can be tested.\n"


def test_all_of_them(study: Path, tmp_path: Path) -> None:
    result = run(study, "--all", store=tmp_path)
    assert "dlas.order.float16-cpu  holds" in result.output
    assert "dlis.macs-bad-proxy" in result.output
    assert "other claims" not in result.output


def test_one_of_them_with_its_numbers(study: Path, tmp_path: Path) -> None:
    result = run(study, "--only", "dlas.IV", store=tmp_path)
    assert "dlas.IV  holds" in result.output
    assert "dlas.V " not in result.output
    assert "Read as: " in result.output
    assert "· compression ratio: " in result.output


def test_a_stack_of_two_studies_keeps_its_own_samples(study: Path, tmp_path: Path) -> None:
    frame = paper_world("Example Xeon CPU")
    timed = frame[frame["latency_s"].notna()]
    own = zip(timed["key"], timed["latency_s"], strict=True)
    samples = {
        "first": {key: np.full(40, latency) for key, latency in own},
        "again": {key: np.linspace(1, 100, 40) for key in timed["key"]},
    }
    paths = []
    for name, taken in samples.items():
        blocks = dict.fromkeys(taken, [4] * 10)
        paths.append(tmp_path / f"{name}.parquet")
        save_archive(StudyResults(name, frame, taken, blocks), paths[-1])
    alone, both = (
        json.loads(run(*many, "--all", "--json", store=tmp_path).output)
        for many in (paths[:1], paths)
    )
    assert both["studies"] == ["first", "again"]
    assert both["verdicts"] == alone["verdicts"]


def test_as_json(study: Path, tmp_path: Path) -> None:
    result = run(study, "--only", "dlas.order", "--json", store=tmp_path)
    found = json.loads(result.output)
    assert found["studies"] == ["made-up"]
    assert all(one["id"].startswith("dlas.order.") for one in found["verdicts"])
    first = next(one for one in found["verdicts"] if one["verdict"] == "holds")
    assert first["numbers"][0]["keys"]
    assert first["rows"]


def test_the_users_own(study: Path, tmp_path: Path) -> None:
    result = run(study, "--claims", EXAMPLE, store=tmp_path)
    assert result.exit_code == 0
    assert "ours.spatial-pack  holds" in result.output


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--only", "dlas.VIIII"], "no claim has this name; did you mean 'dlas.VIII'?"),
        (["--claims", "absent.toml"], "absent.toml: No such file"),
        (["absent-study"], "no study 'absent-study' in this store"),
        ([], "no study was run with this store yet"),
    ],
)
def test_bad_input_is_a_sentence(
    words: list[str], sentence: str, study: Path, tmp_path: Path
) -> None:
    studies = [] if words in ([], ["absent-study"]) else [study]
    result = run(*studies, *words, store=tmp_path)
    assert isinstance(result.exception, DlasError)
    assert sentence in str(result.exception)
