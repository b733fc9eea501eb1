"""The page as text: whole, closed to what it was not meant to hold, small."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dlas.errors import StoreError
from dlas.report.info import ReportInfo
from dlas.report.page import render, write_report
from dlas.store.schema import RESULTS
from dlas.testing.results import made_up_info, made_up_results

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)>&amp;{{7*7}}"


class Elements(HTMLParser):
    """Counts elements and gathers attributes, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.fixture(scope="module")
def page() -> str:
    return render(made_up_results(), made_up_info())


def test_it_loads_nothing(page: str) -> None:
    elements = Elements(page)
    for tag, attributes in elements.found:
        for name in ("src", "href", "action", "data", "srcset"):
            link = attributes.get(name) or "#"
            assert link.startswith(("#", "data:,")), f"<{tag} {name}={link}>"
    assert "url(" not in page
    assert "@import" not in page


def test_the_policy_lets_only_the_page_s_own_script_run(page: str) -> None:
    policy = next(
        m["content"] for m in Elements(page).named("meta") if "content" in m and m.get("http-equiv")
    )
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")


def test_every_stack_is_embedded_once_with_every_column(page: str) -> None:
    data, frame = data_of(page), made_up_results()
    assert data["count"] == len(frame)
    assert data["columns"] == [column.name for column in RESULTS]
    for column in RESULTS:
        held = data["texts"].get(column.name) or data["numbers"][column.name]
        assert len(held["codes"] if isinstance(held, dict) else held) == len(frame)
    known = frame["latency_s"].notna()
    latencies = pd.Series(data["numbers"]["latency_s"], dtype=float)
    assert list(latencies.notna()) == list(known)
    assert ((latencies - frame["latency_s"]).abs()[known] < 1e-5 * frame["latency_s"][known]).all()


def test_what_users_name_stays_text() -> None:
    frame = made_up_results().assign(model=HOSTILE, message=HOSTILE, warnings=HOSTILE)
    info = ReportInfo(study=HOSTILE, title=HOSTILE, description=HOSTILE, command=HOSTILE)
    page = render(frame, info)
    elements = Elements(page)
    assert len(elements.named("script")) == 2
    assert not elements.named("img")
    assert "alert('x')</script>" not in page
    assert "{{7*7}}" in page  # not evaluated
    assert data_of(page)["texts"]["model"]["values"] == [HOSTILE]


@pytest.mark.parametrize(
    "frame, sentence",
    [
        (made_up_results().iloc[:0], "This study has no stacks, so there is nothing to compare."),
        (made_up_results().iloc[:1], "is the only stack measured"),
        (made_up_results().assign(status="refused"), "No stack was measured: 105 refused."),
        (made_up_results().assign(accuracy=None), "No accuracy was measured"),
        (made_up_results().assign(measured_speedup=None), "no stack"),
    ],
    ids=["empty", "one", "refused", "no accuracy", "no speedup"],
)
def test_a_study_without_results_still_has_a_page(frame: pd.DataFrame, sentence: str) -> None:
    assert sentence.lower() in render(frame, ReportInfo(study="bare")).lower()


def test_every_reason_stands_in_the_page(page: str) -> None:
    frame = made_up_results()
    for message in frame["message"].dropna().unique():
        assert message in page
    assert "21 combinations of the grid" in page
    assert "This machine has no energy counter that dlas may read." in page


def test_doubts_that_differ_in_numbers_alone_are_one() -> None:
    said = ["±1.5% after 9 runs", "±12% after 9 runs; 2 others ran", "±3.25% after 9 runs", ""]
    frame = made_up_results().iloc[:4].assign(warnings=said)
    page = " ".join(re.sub("<[^>]+>", " ", render(frame, ReportInfo(study="doubts"))).split())
    assert "3 stacks: ±1.5–12% after 9 runs Which" in page
    assert "1 stack: 2 others ran Which" in page
    assert "· pytorch: ±1.5% after 9 runs" in page


def test_two_data_sets_have_an_answer_each() -> None:
    frame = made_up_results()
    both = pd.concat([frame, frame.assign(dataset="cifar10")])
    data = data_of(page := render(both, made_up_info()))
    assert page.count('<p class="answer">') == 2
    assert data["texts"]["task"]["values"] == ["digits on local", "cifar10 on local"]


def on_two_machines() -> pd.DataFrame:
    """The same choices on two machines, of which the second is ten times as fast."""
    slow = made_up_results()
    fast = slow.assign(
        machine="Faster CPU, 8 cores", key="f" + slow["key"], baseline="f" + slow["baseline"]
    )
    for column in ("latency_s", "latency_low_s", "latency_high_s"):
        fast[column] /= 10
    return pd.concat([slow, fast], ignore_index=True)


def test_machines_are_named_at_the_top_and_never_mixed(page: str) -> None:
    both = render(on_two_machines(), made_up_info())
    top = both.partition("<main>")[0]
    data, alone = data_of(both), data_of(page)
    machines = data["texts"]["machine"]["values"]
    assert "measured on 2 machines" in top
    assert all(machine in top for machine in machines)
    assert data["texts"]["task"]["values"] == [f"digits on {machine}" for machine in machines]
    for number in ("to_front", "speedup_low", "measured_speedup"):
        assert data["numbers"][number] == alone["numbers"][number] * 2
    links = [link["data-rows"] for link in Elements(both).named("a") if "data-rows" in link]
    sides = [
        {int(row) < alone["count"] for row in re.findall(r"\d+", link or "")} for link in links
    ]
    assert links
    assert all(len(side) == 1 for side in sides)
    assert {one["machine"] for one in data["maps"]} == set(machines)


def test_a_large_study_stays_small() -> None:
    models = [(f"net({i})", 1e6 * (i + 1), 50_000, 0.9 + i / 1000) for i in range(57)]
    frame = made_up_results(models=models)
    assert len(frame) > 1990
    timed, random = frame.dropna(subset=["latency_s"]), np.random.default_rng(0)
    samples = {
        key: latency * random.lognormal(0, 0.01, 150)
        for key, latency in zip(timed["key"], timed["latency_s"], strict=True)
    }
    assert len(render(frame, made_up_info(), samples).encode()) < 5_000_000


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write_report(made_up_results(), made_up_info(), tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    with pytest.raises(StoreError, match=r"report.html: the report cannot be written: "):
        write_report(made_up_results(), made_up_info(), path / "report.html")
