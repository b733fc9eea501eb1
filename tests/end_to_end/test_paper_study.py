"""The paper's study as committed: verdicts, tables and report of it, without running anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from browser import NEEDS_BROWSER, Page

from dlas import api
from dlas.report.tables import fill
from dlas.store.store import open_store

ROOT = Path(__file__).parents[2]
STUDIES = [p.with_suffix(".toml") for p in sorted(ROOT.glob("studies/paper-*.parquet"))]
CIFAR10 = ROOT / "studies" / "paper-cifar10.toml"
OBSERVATIONS = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII"]


def dlas(*arguments: object, store: Path) -> str:
    command = [sys.executable, "-m", "dlas.cli.main", *map(str, arguments), "--store", str(store)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_thirteen_verdicts_without_a_run(tmp_path: Path) -> None:
    said = dlas("claims", "studies/paper-cifar10.toml", store=tmp_path)
    words = "holds|contradicted|undecided|not testable here"
    verdicts = dict(re.findall(rf"^dlas\.([IVX]+)  ({words})  ", said, re.M))
    assert list(verdicts) == OBSERVATIONS
    assert len(set(verdicts.values())) >= 3


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_results_are_of_the_study(study: Path, tmp_path: Path) -> None:
    """Every stack of the study has a row that ended, and every number its samples."""
    found = api.study_results(study, tmp_path)
    asked = api.Study.open(study)
    labels = [tuple(asked.labels(stack).values()) for stack in asked.stacks]
    columns = ["dataset", "model", "optimizations", "algorithm", "system", "hardware"]
    assert [tuple(row) for row in found.frame[columns].to_numpy()] == labels
    assert not (found.frame["status"] == "pending").any()
    assert (found.frame.loc[found.frame["status"] != "ok", "message"] != "").all()
    timed = found.frame[found.frame["status"] == "ok"]
    assert timed["machine"].nunique() == 1
    assert set(timed["key"]) == set(found.samples)
    for key, low, high in timed[["key", "latency_low_s", "latency_high_s"]].dropna().to_numpy():
        assert low <= sorted(found.samples[key])[len(found.samples[key]) // 2] <= high


def test_the_page_of_the_reproduction_is_what_the_results_say(tmp_path: Path) -> None:
    page, store = ROOT / "docs" / "reproduction.md", open_store(tmp_path)
    text = page.read_text()
    assert text.count("<!-- dlas:") > 10

    def results(name: str) -> Any:
        return api.study_results(page.parent / name, store)

    assert fill(text, results, str(page)) == text, "write it anew: dlas tables docs/reproduction.md"


@pytest.mark.usefixtures("driver")
class TestReport:
    pytestmark = NEEDS_BROWSER

    def test_it_shows_what_was_understood(self, page: Page, tmp_path: Path) -> None:
        found = api.study_results(CIFAR10, tmp_path)
        info = api.study_info(found, open_store(tmp_path))
        page.open(found.frame, info, found.samples)
        assert "paper's study" in page.one("h1").text
        assert len(page.all("#stacks tbody tr")) > 0
        for section in ("interactions", "flips", "verdicts"):
            assert page.one(f"#{section}").is_displayed()
        shown = [article.get_attribute("id") for article in page.all(".verdict")]
        assert {f"claim-dlas-{number}" for number in OBSERVATIONS} <= set(shown)
        assert page.complaints() == []
