"""What is understood, in a real browser: the map, links to evidence, verdicts, charts as files."""

from __future__ import annotations

from urllib.parse import unquote
from xml.etree import ElementTree

import pandas as pd
import pytest
from browser import NEEDS_BROWSER, Page

from dlas.testing.results import made_up_results

pytest.importorskip("selenium", reason="selenium is not installed: pip install 'dlas[dev]'")
from selenium.webdriver.common.keys import Keys  # after the skip
from selenium.webdriver.support.select import Select

pytestmark = NEEDS_BROWSER

SVG = "{http://www.w3.org/2000/svg}"


def flipped() -> pd.DataFrame:
    """int8 makes gemm the fastest algorithm of tvm, by far."""
    frame = made_up_results()
    one = (frame["optimizations"] == "int8") & (frame["algorithm"] == "gemm")
    for column in ("latency_s", "latency_low_s", "latency_high_s"):
        frame.loc[one, column] *= 0.25
    return frame


def rows_of(page: Page, selector: str) -> set[int]:
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => +e.dataset.row)"
    return set(page.driver.execute_script(script, selector))


def test_the_map_is_drawn_told_and_walked(page: Page) -> None:
    page.open(flipped())
    maps = page.driver.execute_script("return data.maps")
    for index, one in enumerate(maps):
        Select(page.one("#map-choice")).select_by_value(str(index))
        many = len(one["factors"])
        assert len(page.all("#interaction-map .square")) == many * (many + 1) // 2
        assert [e.get_attribute("data-map") for e in page.all("[data-map]:not([hidden])")] == [
            str(index)
        ]
    Select(page.one("#map-choice")).select_by_value("0")
    page.focus("#interaction-map .square[tabindex='0']")
    first = page.tip()
    page.press(Keys.ARROW_DOWN)
    assert page.tip() not in ("", first)
    assert "of the variance" in page.tip()
    assert page.driver.switch_to.active_element.get_attribute("aria-label") == page.tip()
    page.press(Keys.ARROW_UP)
    assert page.tip() == first
    assert page.complaints() == []


def test_a_flip_leads_to_its_stacks_and_back(page: Page) -> None:
    page.open(flipped())
    everything = len(page.all("#table tbody tr"))
    link = page.one("#flip-1 a[data-rows]")
    rows = set(page.driver.execute_script("return rowsOf(arguments[0].dataset.rows)", link))
    page.driver.execute_script("arguments[0].focus()", link)
    page.press(Keys.ENTER)
    assert page.driver.current_url.endswith("#stacks")
    assert rows_of(page, "#table tbody tr") == rows
    assert rows_of(page, "#latency-plot .mark.evidence") == rows
    assert page.one("#flip-1 .said").text in page.one("#evidence").text
    assert len(page.all("#latency-plot .mark .ring")) == len(rows)
    page.one("#evidence a").click()
    assert page.driver.current_url.endswith("#flip-1")
    page.one("#evidence button").click()
    assert not page.one("#evidence").is_displayed()
    assert len(page.all("#table tbody tr")) == everything
    assert page.all("#latency-plot .mark.evidence") == []
    assert page.complaints() == []


def test_evidence_of_another_machine_shows_its_charts(page: Page) -> None:
    frame = flipped()
    other = frame.assign(
        machine="Other CPU", key="b" + frame["key"], baseline="b" + frame["baseline"]
    )
    page.open(pd.concat([frame, other], ignore_index=True))
    link = page.all(".flip a[data-rows]")[-1]
    page.driver.execute_script("arguments[0].click()", link)
    shown = rows_of(page, "#latency-plot .mark.evidence")
    assert shown
    assert min(shown) >= len(frame)
    assert Select(page.one("#task")).first_selected_option.text == "digits on Other CPU"
    assert page.complaints() == []


def test_verdicts_are_filtered_by_their_words(page: Page) -> None:
    page.open(flipped())
    counts = page.driver.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('#verdicts button[data-verdict]')]"
        ".map((b) => [b.dataset.verdict, +b.querySelector('b').textContent]))"
    )
    assert sum(counts.values()) == len(page.all(".verdict"))
    for word, many in counts.items():
        button = page.one(f"#verdicts button[data-verdict='{word}']")
        page.driver.execute_script("arguments[0].focus()", button)
        page.press(Keys.ENTER)
        shown = [verdict for verdict in page.all(".verdict") if verdict.is_displayed()]
        assert {verdict.get_attribute("data-verdict") for verdict in shown} == {word}
        assert len(shown) == many
        assert page.one("#verdicts-shown").text == f"Shown: {many} of {sum(counts.values())}."
        page.press(Keys.ENTER)
    assert len(page.all(".verdict[hidden]")) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_download_as_standalone_svg(page: Page, scheme: str) -> None:
    page.resize(1280, 900, scheme)
    page.open(flipped())
    page.driver.execute_script(
        "addEventListener('click', (e) => e.target.matches('a.svg') && e.preventDefault())"
    )
    links = [link for link in page.all("figure.plot a.svg") if link.is_displayed()]
    assert len(links) >= 4  # two trade-offs, the promise, the map
    for link in links:
        page.driver.execute_script("arguments[0].click()", link)
        kind, _, content = link.get_attribute("href").partition(",")
        assert kind == "data:image/svg+xml;charset=utf-8"
        root = ElementTree.fromstring(unquote(content))
        assert root.tag == f"{SVG}svg"
        assert float(root.get("width", 0)) > 200
        drawn = list(root.iter())
        assert len([e for e in drawn if e.tag in (f"{SVG}path", f"{SVG}rect")]) > 5
        assert [e.text for e in drawn if e.tag == f"{SVG}text" and e.text]
        paints = {e.get(name) for e in drawn for name in ("fill", "stroke")} - {None, "none"}
        assert all(paint.startswith("#") for paint in paints if paint)
        assert root.find(f"{SVG}rect").get("fill") == "#ffffff"  # type: ignore[union-attr]
        if "latency-plot" in (link.get_attribute("download") or ""):
            said = {e.text for e in drawn if e.tag == f"{SVG}text"}
            assert {"onnxruntime", "resnet(8)"} <= said  # its legend comes along
        assert not any(e.get("class") or e.get("style") for e in drawn)
        texts = {e.get("fill") for e in drawn if e.tag == f"{SVG}text"}
        assert "#e8eaec" not in texts  # the dark scheme's ink would vanish on white
    assert page.complaints() == []
