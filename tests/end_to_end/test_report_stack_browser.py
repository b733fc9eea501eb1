"""One stack, and two side by side, in a real browser: the filter, the marks, the runs, the layers,
the difference; all of it by keyboard."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import numpy as np
import pandas as pd
import pytest
from browser import NEEDS_BROWSER, Page

from dlas.analysis.pareto import front_of
from dlas.report.info import LayerBar, ReportInfo
from dlas.testing.results import made_up_info, made_up_results

pytest.importorskip("selenium", reason="selenium is not installed: pip install 'dlas[dev]'")
from selenium.webdriver.common.keys import Keys

pytestmark = NEEDS_BROWSER

RUNS = 150


def timed(frame: pd.DataFrame) -> dict[str, float]:
    known = frame[frame["latency_s"].notna()]
    return dict(zip(known["key"], known["latency_s"].astype(float), strict=True))


def samples_of(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """150 runs each; those of every other stack fall into two groups."""
    random = np.random.default_rng(0)
    found = {}
    for i, (key, latency) in enumerate(timed(frame).items()):
        slower = np.where((np.arange(RUNS) % 3 == 0) & (i % 2 == 1), 1.3, 1.0)
        found[key] = latency * slower * random.lognormal(0, 0.01, RUNS)
    return found


def info_of(frame: pd.DataFrame, layers: int = 3) -> ReportInfo:
    """Layer i is promised and takes a share of i + 1; a change of layout takes a tenth."""
    whole = layers * (layers + 1) / 2
    bars = {
        key: (
            *(
                LayerBar(f"conv{i}", "conv2d", (i + 1) / whole, 0.9 * latency * (i + 1) / whole)
                for i in range(layers)
            ),
            LayerBar("reorder", "layout", None, 0.1 * latency),
        )
        for key, latency in timed(frame).items()
    }
    warmups = {key: (3 * latency, 2 * latency) for key, latency in timed(frame).items()}
    return msgspec.structs.replace(made_up_info(), layers=bars, warmups_s=warmups)


def opened(page: Page, frame: pd.DataFrame, fragment: str = "") -> Page:
    return page.open(frame, info_of(frame), samples_of(frame), fragment)


def rows(page: Page) -> list[int]:
    script = "return [...document.querySelectorAll('#table tbody tr')].map((r) => +r.dataset.row)"
    return sorted(page.driver.execute_script(script))


def state(page: Page) -> list[tuple[str, str]]:
    """What the address holds after the section."""
    return parse_qsl(urlsplit(page.driver.current_url).fragment.partition("?")[2])


def active(page: Page) -> Any:
    return page.driver.switch_to.active_element


def choose(page: Page, field: str, value: str) -> None:
    """By keyboard: open the choice, go to the value, take it, close."""
    page.focus(f"[data-field='{field}'] summary")
    page.press(Keys.ENTER)
    page.press(Keys.TAB)
    while active(page).get_attribute("value") != value:
        page.press(Keys.ARROW_DOWN)
    page.press(Keys.SPACE)
    page.press(Keys.ESCAPE)


# -- the filter ----------------------------------------------------------------------------------


def test_the_filter_acts_on_table_charts_and_combinations(page: Page) -> None:
    frame = made_up_results()
    opened(page, frame)
    choose(page, "software", "tvm")
    choose(page, "compression", "none")
    choose(page, "compression", "float16")
    kept = (frame["software"] == "tvm") & frame["compression"].isin(["none", "float16"])
    assert rows(page) == list(frame.index[kept])
    ok = kept & (frame["status"] == "ok")
    assert len(page.all("#latency-plot .mark")) == ok.sum()
    optimized = (frame["optimizations"] != "none") & frame["measured_speedup"].notna()
    assert len(page.all("#promise-plot .mark")) == (ok & optimized).sum()
    assert len(page.all("#matrix td[data-row]")) == kept.sum()
    assert f"{(~kept).sum()} are left out by the filter" in page.one("#latency-plot .caption").text
    assert page.one("#passing").text == f"{kept.sum()} of {len(frame)} stacks"
    assert page.one("[data-field='compression'] summary").text.startswith("Compression: 2 of ")
    assert page.complaints() == []
    page.focus("#clear")
    page.press(Keys.ENTER)
    assert len(rows(page)) == len(frame)


def test_counts_say_what_a_value_would_show(page: Page) -> None:
    frame = made_up_results()
    opened(page, frame)
    choose(page, "software", "tvm")
    page.one("#find").send_keys("vgg")
    vgg = frame[frame["model"].str.startswith("vgg")]
    for field, own in (("software", vgg), ("primitive", vgg[vgg["software"] == "tvm"])):
        for label in page.all(f"[data-field='{field}'] .panel label"):
            value = label.find_element("css selector", "input").get_attribute("value")
            tally = label.find_element("css selector", ".tally").get_attribute("textContent")
            assert tally == str((own[field] == value).sum())


def test_the_front_is_of_the_stacks_left_in(page: Page) -> None:
    frame = made_up_results()
    opened(page, frame)
    script = "return frontOf(shownRows().filter((r) => texts.status[r] === 'ok'), arguments[0])"
    for cost in ("latency_s", "size_bytes"):
        for find, kept in (("", frame), ("tvm", frame[frame["software"] == "tvm"])):
            page.driver.execute_script(f"byId('find').value = '{find}'; sift()")
            ok = kept[(kept["status"] == "ok") & kept["latency_s"].notna()]
            expected = front_of(ok, [cost], ["accuracy"])
            assert set(page.driver.execute_script(script, cost)) == set(expected.index)


def test_a_combination_left_out_is_not_called_missing(page: Page) -> None:
    opened(page, made_up_results())
    choose(page, "status", "refused")
    page.focus("#matrix td.missing:not([data-row])")
    assert page.tip() == "This combination is left out by the filter."


def test_nothing_left_is_said(page: Page) -> None:
    opened(page, made_up_results())
    page.one("#find").send_keys("nothing of this name")
    assert rows(page) == []
    for place in ("#latency-plot .canvas", "#promise-plot .canvas", "#matrix"):
        assert page.one(place).text == "The filter leaves out every stack of this task."
    assert page.complaints() == []


def test_the_task_follows_the_filter(page: Page) -> None:
    frame = made_up_results()
    other = frame.assign(dataset="cifar10", key=frame["key"] + "x")
    opened(page, pd.concat([frame, other]))
    choose(page, "dataset", "cifar10")
    marks = page.all("#latency-plot .mark")
    assert {int(mark.get_attribute("data-row")) >= len(frame) for mark in marks} == {True}


def test_the_address_keeps_filter_and_marks(page: Page) -> None:
    frame = made_up_results()
    opened(page, frame)
    choose(page, "network", "vgg(0.25)")
    page.one("#find").send_keys("int8")
    page.focus("#latency-plot .mark[tabindex='0']")
    page.press(Keys.SPACE)
    kept = rows(page)
    marked = page.one("[data-marked='A']").get_attribute("data-row")
    fragment = "#" + urlsplit(page.driver.current_url).fragment
    assert state(page)[:2] == [("network", "vgg(0.25)"), ("find", "int8")]
    page.one("nav a[href='#stacks']").click()
    assert urlsplit(page.driver.current_url).fragment.startswith("stacks?network=")
    opened(page, frame, fragment)
    assert rows(page) == kept
    assert page.one("[data-marked='A']").get_attribute("data-row") == marked
    opened(page, frame, "#stacks?network=no%20such&a=zz&b=&else=1")
    assert len(rows(page)) == len(frame)
    assert page.all("[data-marked]") == []
    assert page.complaints() == []


def test_choices_that_tell_nothing_apart_are_left_out(page: Page) -> None:
    frame = made_up_results()
    opened(page, frame)
    fields = [facet.get_attribute("data-field") for facet in page.all(".facet")]
    assert fields == ["network", "compression", "optimizations", "primitive", "tuning", "software",
                      "status"]  # fmt: skip
    opened(page, frame.assign(network="", threads=[1, 2, 4] * 35))
    fields = [facet.get_attribute("data-field") for facet in page.all(".facet")]
    assert "network" not in fields
    assert {"model", "threads"} <= set(fields)


# -- one stack -----------------------------------------------------------------------------------


def test_by_keyboard_from_the_filter_to_the_difference(page: Page) -> None:
    frame = made_up_results()
    opened(page, frame)
    choose(page, "software", "onnxruntime")
    page.focus("#latency-plot .mark[tabindex='0']")
    page.press(Keys.SPACE)
    assert page.one("#dock").text.startswith("A")
    page.press(Keys.ARROW_RIGHT)
    page.press(Keys.ENTER)
    assert active(page).get_attribute("id") == "stack-title"
    own = frame[(frame["software"] == "onnxruntime") & (frame["status"] == "ok")]
    first, second = own.sort_values("latency_s").index[:2]
    marked = {m.get_attribute("data-marked"): int(m.get_attribute("data-row"))
              for m in page.all("#latency-plot [data-marked]")}  # fmt: skip
    assert marked == {"A": first, "B": second}
    assert page.all("#histogram .runs-a")
    assert page.all("#histogram .runs-b")
    assert page.texts("#layers thead button")[-1].startswith("B − A")
    page.press(Keys.TAB)
    assert active(page).text == "Back to where it was marked"
    page.press(Keys.ENTER)
    assert int(active(page).get_attribute("data-row")) == second
    assert page.complaints() == []


@pytest.mark.parametrize("place", ["#matrix td[data-row='1']", "#table tr[data-row='1'] .marker"])
def test_a_stack_is_marked_where_it_stands(page: Page, place: str) -> None:
    opened(page, made_up_results())
    page.focus(place)
    for pressed, letters in ((Keys.SPACE, {"A"}), (Keys.SPACE, set())):
        page.press(pressed)
        for other in ("#latency-plot .mark", "#matrix td", "#table tr"):
            found = page.one(f"{other}[data-row='1']").get_attribute("data-marked")
            assert {found} - {None} == letters
    page.one(place).click()
    assert page.one("#table tr[data-row='1'] .marker").text == "A"
    assert page.one("#latency-plot .mark[data-row='1']").get_attribute("aria-pressed") == "true"


def test_a_third_mark_takes_the_place_of_the_second(page: Page) -> None:
    opened(page, made_up_results())
    for row in (0, 1, 2):
        page.focus(f"#matrix td[data-row='{row}']")
        page.press(Keys.SPACE)
    assert page.texts("#table [data-marked] .marker") in (["A", "B"], ["B", "A"])
    assert page.one("#table tr[data-row='2'] .marker").text == "B"
    page.focus("#matrix td[data-row='0']")
    page.press(Keys.SPACE)  # without A, what was B is
    assert page.one("#table tr[data-row='2'] .marker").text == "A"


def test_the_histogram_holds_every_run(page: Page) -> None:
    frame = made_up_results()
    opened(page, frame, f"#?a={frame['key'][1]}")
    values = page.driver.execute_script("return samplesOf(1).values")
    assert values == pytest.approx(list(samples_of(frame)[frame["key"][1]]), rel=1e-3)
    script = """const one = { letter: "A", ...samplesOf(1) };
      return binned(one, binEnds([one], one.low, one.high, false))"""
    shares = page.driver.execute_script(script)
    assert 8 <= len(shares) <= 32
    assert sum(shares) == pytest.approx(1)
    caption = page.one("#histogram .caption").text
    assert caption.startswith(f"{frame['runs'][1]:.0f} runs, median ")
    assert "The runs fall into 2 groups, which the median alone hides: 67 % around" in caption
    assert "the first run took" in caption.lower()
    assert "2 warm-ups of" in caption
    label = page.one("#histogram svg").get_attribute("aria-label")
    assert label.replace("\xa0", " ") == f"A: {caption}"
    opened(page, frame, f"#?a={frame['key'][0]}")
    assert "groups" not in page.one("#histogram .caption").text


def test_the_layers_of_a_stack_are_sorted_and_summed_up(page: Page) -> None:
    frame = made_up_results()
    page.open(frame, info_of(frame, layers=20), None, f"#?a={frame['key'][1]}")
    names = page.texts("#layers tbody td:nth-child(2)")
    assert names[:2] == ["conv19", "reorder"] if names[1] == "reorder" else ["conv19", "conv18"]
    assert len(names) == 13
    assert names[-1] == "9 more"
    shares = [float(text.rstrip("%\xa0")) for text in page.texts("#layers tbody td:nth-child(5)")]
    assert sum(shares) == pytest.approx(100, abs=1)
    page.focus("#layers-more")
    page.press(Keys.ENTER)
    assert len(page.all("#layers tbody tr")) == 21
    page.focus("#layers thead th:first-child button")
    page.press(Keys.ENTER)
    assert page.texts("#layers tbody td:nth-child(2)")[:2] == ["conv0", "conv1"]
    assert "10.0 % goes to parts that multiply nothing" in page.one("#profile").text.replace(
        "\xa0", " "
    )
    assert "The runs themselves are not in this page." in page.one("#histogram .caption").text


# -- two stacks ----------------------------------------------------------------------------------


def two(page: Page, frame: pd.DataFrame, a: int, b: int) -> str:
    opened(page, frame, f"#stack?a={frame['key'][a]}&b={frame['key'][b]}")
    assert page.complaints() == []
    return page.one("#stack-said").text


def test_only_what_differs_is_emphasised(page: Page) -> None:
    frame = made_up_results()
    said = two(page, frame, 2, 3)
    assert "They differ in algorithm alone, so it makes the difference." in said
    assert page.texts("#stack-choices .differs th") == ["Algorithm"]
    assert set(page.texts("#stack-choices .same td:last-child")) == {"same"}
    assert page.texts("#stack-choices .differs td") == ["direct", "gemm", "differs"]


def test_clear_differences_and_noise_are_told_apart(page: Page) -> None:
    frame = made_up_results()
    said = two(page, frame, 1, 0)
    ratio = frame["latency_s"][0] / frame["latency_s"][1]
    assert f"A is {ratio:.2f}× (" in said
    assert "the 95 % intervals do not overlap" in said
    close = frame.copy()
    for column in ("latency_s", "latency_low_s", "latency_high_s"):
        close.loc[0, column] = close.loc[1, column] * 1.0001
    assert "They cannot be told apart: A is 1.00×" in two(page, close, 1, 0)
    close.loc[0, ["latency_low_s", "latency_high_s"]] = np.nan
    assert "an interval is unknown, so this may be noise" in two(page, close, 1, 0)


def test_what_was_not_measured_or_not_alike_is_said(page: Page) -> None:
    frame = made_up_results()
    refused = frame.index[frame["status"] == "refused"][0]
    said = two(page, frame, 0, refused)
    assert "There are not two latencies to compare." in said
    assert f"B: refused: {frame['message'][refused]}" in said
    apart = frame.copy()
    apart.loc[1, ["machine", "batch", "dataset"]] = ["Another CPU", 8, "cifar10"]
    said = two(page, apart, 0, 1)
    assert "timed on different machines" in said
    assert "per image" in said
    assert "their accuracies cannot be compared" in said


def test_layers_make_the_difference(page: Page) -> None:
    frame = made_up_results()
    two(page, frame, 2, 3)
    latency = frame["latency_s"]
    change = 1e3 * (latency[3] - latency[2])
    assert page.texts("#layers tbody td:first-child") == ["conv2", "conv1", "conv0", "reorder"]
    shown = [float(text.replace("−", "-")) for text in page.texts("#layers tbody td:last-child")]
    parts = [0.9 * 3 / 6, 0.9 * 2 / 6, 0.9 / 6, 0.1]
    assert shown == pytest.approx([change * part for part in parts], rel=0.02)
    assert "Most of it: conv2 (" in page.one("#profile-said").text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_shows_it_too(page: Page, scheme: str) -> None:
    frame = made_up_results()
    page.resize(400, 900, scheme)
    two(page, frame, 0, 1)
    page.one("[data-field='status'] summary").click()
    places = "[...document.querySelectorAll('#filter, #stack, .facet[open] .panel')]"
    script = f"return {places}.map((place) => place.getBoundingClientRect().right)"
    assert max(page.driver.execute_script(script)) <= 400


def test_two_thousand_stacks_are_filtered_and_marked(page: Page) -> None:
    models = [(f"net({i})", 1e6 * (i + 1), 50_000, 0.9 + i / 1000) for i in range(57)]
    frame = made_up_results(models=models)
    opened(page, frame)
    assert page.complaints() == []
    choose(page, "network", "net(3)")
    assert len(rows(page)) == (frame["network"] == "net(3)").sum()
    page.focus("#clear")
    page.press(Keys.ENTER)
    page.focus("#table .marker[tabindex='0']")
    page.press(Keys.END)
    assert len(rows(page)) == len(frame)
    page.press(Keys.HOME)
    page.press(Keys.ENTER)
    assert page.all("#histogram .runs-a")
    assert page.complaints() == []
