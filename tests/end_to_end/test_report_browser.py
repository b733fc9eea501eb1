"""The report in a real browser: headless Chromium, from a file, without a network."""

from __future__ import annotations

import pandas as pd
import pytest
from browser import NEEDS_BROWSER, Page

from dlas.report.info import ReportInfo
from dlas.testing.results import made_up_results

pytest.importorskip("selenium", reason="selenium is not installed: pip install 'dlas[dev]'")
from selenium.webdriver.common.by import By  # after the skip
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = NEEDS_BROWSER

# The luminance contrast of WCAG 2 for every element that shows text of its own.
CONTRASTS = """
const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
function rgba(colour) {
  context.clearRect(0, 0, 1, 1);
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}
function luminance([r, g, b]) {
  const [x, y, z] = [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
}
function background(node) {
  for (; node instanceof Element; node = node.parentNode) {
    const colour = rgba(getComputedStyle(node).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return rgba("white");
}
const poor = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim());
  if (!own || !node.getClientRects().length || node.closest(".skip")) continue;
  const style = getComputedStyle(node);
  const text = luminance(rgba(node instanceof SVGElement ? style.fill : style.color));
  const behind = luminance(background(node));
  const ratio = (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
  if (ratio < 4.5) poor.push(`${node.tagName}.${node.className} ${ratio.toFixed(2)}`);
}
return [...new Set(poor)];
"""


def test_it_opens_without_errors_or_requests(page: Page) -> None:
    page.open(made_up_results())
    assert page.complaints() == []
    assert page.one("h1").text == "Small networks on handwritten digits"


def test_every_measured_stack_is_a_point(page: Page) -> None:
    frame = made_up_results()
    page.open(frame)
    ok = (frame["status"] == "ok").sum()
    assert len(page.all("#latency-plot svg .mark")) == ok
    assert len(page.all("#cost-plot svg .mark")) == ok
    for cost in ("peak_bytes", "effective_macs"):
        Select(page.one("#cost")).select_by_value(cost)
        assert len(page.all("#cost-plot svg .mark")) == ok
    speedups = ok - (frame["optimizations"] == "none").sum() + 1  # one baseline timed out …
    assert len(page.all("#promise-plot svg .mark")) == speedups - 6  # … and its six were left alone


def test_the_keyboard_reaches_every_point_and_shows_its_stack(page: Page) -> None:
    frame = made_up_results()
    page.open(frame)
    page.focus("#latency-plot .mark[tabindex='0']")
    fastest = frame.loc[frame["latency_s"].idxmin()]
    assert fastest["model"] in page.tip()
    assert fastest["optimizations"] in page.tip()
    page.driver.execute_script(
        "window.seen = [+tip.dataset.row];"
        "addEventListener('focusin', () => seen.push(+tip.dataset.row))"
    )
    ok = frame.index[frame["status"] == "ok"]
    page.press(Keys.ARROW_RIGHT * (len(ok) - 1))
    assert sorted(page.driver.execute_script("return seen")) == list(ok)
    assert page.driver.switch_to.active_element.get_attribute("aria-label").count(" · ") >= 2
    page.press(Keys.ESCAPE)
    assert page.tip() == ""


def test_a_tooltip_lights_the_same_stack_elsewhere(page: Page) -> None:
    page.open(made_up_results())
    page.focus("#latency-plot .mark[tabindex='0']")
    row = page.one("#tip").get_attribute("data-row")
    for place in ("#latency-plot .mark", "#cost-plot .mark", "#matrix td", "#table tr"):
        assert page.one(f"{place}[data-row='{row}']").get_attribute("class").endswith("linked")


def test_the_legend_hides_and_shows(page: Page) -> None:
    frame = made_up_results()
    page.open(frame)
    everything = len(page.all("#latency-plot svg .mark"))
    entry = next(b for b in page.all("#legend button") if b.text == "onnxruntime")
    entry.click()
    assert entry.get_attribute("aria-pressed") == "false"
    hidden = ((frame["system"] == "onnxruntime") & (frame["status"] == "ok")).sum()
    assert len(page.all("#latency-plot svg .mark")) == everything - hidden
    assert f"{hidden} are hidden by the legend." in page.one("#latency-plot .caption").text
    entry.click()
    assert len(page.all("#latency-plot svg .mark")) == everything


@pytest.mark.parametrize("field", ["model", "optimizations", "engine"])
def test_colour_and_shape_follow_the_chosen_layer(page: Page, field: str) -> None:
    page.open(made_up_results())
    Select(page.one("#colour")).select_by_value(field)
    Select(page.one("#shape")).select_by_value(field)
    script = """return [...document.querySelectorAll("#latency-plot svg .mark")].map((mark) =>
      [texts[arguments[0]][mark.dataset.row], mark.style.getPropertyValue("--fill"),
       mark.querySelector("path").getAttribute("d")])"""
    found = {tuple(mark) for mark in page.driver.execute_script(script, field)}
    choices = {value for value, _, _ in found}
    assert len(found) == len({fill for _, fill, _ in found}) == len(choices) > 1
    assert len({shape for _, _, shape in found}) == len(choices)
    assert len(page.all("#legend button")) == len(choices)


def test_the_table_sorts_by_latency(page: Page) -> None:
    frame = made_up_results()
    page.open(frame)
    known = frame["latency_s"].notna()
    head = page.one("#table th[data-column='latency_s']")
    for direction, ascending in (("ascending", True), ("descending", False)):
        assert head.get_attribute("aria-sort") == direction
        script = (
            "return [...document.querySelectorAll('#table tbody tr')].map((r) => +r.dataset.row)"
        )
        rows = page.driver.execute_script(script)
        assert len(rows) == len(frame)
        expected = frame[known].sort_values("latency_s", ascending=ascending).index
        assert rows[: known.sum()] == list(expected)
        head.find_element(By.TAG_NAME, "button").click()


def test_every_missing_cell_has_its_sentence(page: Page) -> None:
    frame = made_up_results().drop(index=[3])  # and one combination that the study never had
    page.open(frame)
    absent = frame.reset_index(drop=True)
    absent = absent[absent["status"] != "ok"]
    assert len(page.all("#matrix td.missing")) == len(absent) + 1
    for row, message in absent["message"].items():
        page.focus(f"#matrix td[data-row='{row}']")
        assert message in page.tip()
    page.focus("#matrix td.missing:not([data-row])")
    assert page.tip() == "This combination is not part of the study."
    listed = page.one("#cells .absences").text
    assert all(message in listed for message in absent["message"].unique())


def test_arrow_keys_move_through_the_matrix(page: Page) -> None:
    page.open(made_up_results())
    page.focus("#matrix td[tabindex='0']")
    assert page.one("#tip").get_attribute("data-row") == "0"
    for key, row in ((Keys.ARROW_RIGHT, 1), (Keys.ARROW_DOWN, 6), (Keys.ARROW_LEFT, 5)):
        page.press(key)
        assert page.one("#tip").get_attribute("data-row") == str(row)


def test_the_csv_holds_the_stacks_shown(page: Page) -> None:
    frame = made_up_results()
    page.open(frame)
    page.one("#find").send_keys("resnet int8")
    place = {"behavior": "allow", "downloadPath": str(page.folder)}
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", place)
    page.one("#download").click()
    path = page.folder / "made-up.csv"
    WebDriverWait(page.driver, 20).until(lambda _: path.exists())
    found = pd.read_csv(path)
    assert list(found.columns) == list(frame.columns)
    expected = frame[(frame["model"] == "resnet(8)") & (frame["optimizations"] == "int8")]
    assert set(found["key"]) == set(expected["key"])
    merged = found.set_index("key")["latency_s"].dropna()
    assert merged.to_dict() == pytest.approx(
        expected.set_index("key")["latency_s"].dropna().to_dict(), rel=1e-5
    )


def test_hostile_names_stay_names(page: Page) -> None:
    name = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"
    frame = made_up_results().assign(model=name, message=name, warnings=name)
    page.open(frame, ReportInfo(study=name, title=name))
    assert page.complaints() == []
    assert page.driver.title == f"{name} – dlas"
    assert page.one("h1").text == name
    assert page.all("img") == []
    page.focus("#latency-plot .mark[tabindex='0']")
    assert name in page.tip()


@pytest.mark.parametrize(
    "frame, sentence",
    [
        (made_up_results().iloc[:0], "This study has no stacks"),
        (made_up_results().iloc[:1], "is the only stack measured"),
        (made_up_results().assign(status="refused", latency_s=None), "105 refused"),
        (made_up_results().assign(accuracy=None), "No stack has both an accuracy and a latency"),
    ],
    ids=["empty", "one", "refused", "no accuracy"],
)
def test_poor_studies_render(page: Page, frame: pd.DataFrame, sentence: str) -> None:
    page.open(frame, ReportInfo(study="poor"))
    assert page.complaints() == []
    assert sentence in page.one("main").text
    assert len(page.all("#table tbody tr")) == len(frame)


def test_tasks_are_shown_one_at_a_time(page: Page) -> None:
    frame = made_up_results()
    page.open(pd.concat([frame, frame.assign(dataset="cifar10")]))
    ok = (frame["status"] == "ok").sum()
    first = {mark.get_attribute("data-row") for mark in page.all("#latency-plot svg .mark")}
    Select(page.one("#task")).select_by_value("cifar10 on local")
    second = {mark.get_attribute("data-row") for mark in page.all("#latency-plot svg .mark")}
    assert len(first) == len(second) == ok
    assert not first & second


def test_far_outliers_do_not_flatten_the_plot(page: Page) -> None:
    frame = made_up_results()
    frame.loc[frame["optimizations"] == "int8", "accuracy"] *= 0.1
    page.open(frame)
    ok = frame[frame["status"] == "ok"]
    assert len(page.all("#latency-plot svg .mark")) == len(ok)
    low = (ok["optimizations"] == "int8").sum()
    assert f"{low} lie far lower" in page.one("#latency-plot .caption").text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_reads_well_in_both_schemes_and_widths(page: Page, scheme: str, width: int) -> None:
    page.resize(width, 900, scheme)
    page.open(made_up_results())
    assert page.driver.execute_script(CONTRASTS) == []
    wide = page.driver.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width


def test_two_thousand_stacks_render(page: Page) -> None:
    models = [(f"net({i})", 1e6 * (i + 1), 50_000, 0.9 + i / 1000) for i in range(57)]
    frame = made_up_results(models=models)
    page.open(frame)
    assert page.complaints() == []
    assert len(page.all("#latency-plot svg .mark")) == (frame["status"] == "ok").sum()
    assert page.one("#shown").text.startswith(f"Shown: {len(frame):,} of {len(frame):,} stacks.")


def test_an_empty_study_says_so_in_every_chart(page: Page) -> None:
    page.open(made_up_results().iloc[:0])
    for place in ("#latency-plot", "#promise-plot", "#matrix"):
        assert "This study has no stacks." in page.one(place).text
    assert "The filter leaves out" not in page.one("main").text


def test_many_stacks_at_one_place_of_the_front_fold(page: Page) -> None:
    frame = made_up_results()
    page.open(frame[frame["status"] == "ok"].assign(accuracy=0.9, size_bytes=1e4))
    (item,) = page.all("#cost-plot .front > li")
    many = len(item.find_elements(By.CSS_SELECTOR, "[data-row]"))
    assert len(item.find_elements(By.CSS_SELECTOR, ":scope > [data-row]")) == 3
    assert item.find_element(By.TAG_NAME, "summary").text == f"and {many - 3} more"


def test_paper_holds_what_can_be_read_there(page: Page) -> None:
    page.open(made_up_results())
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        hidden = ("nav", "#filter", "#tools", "#stacks", "#stack", "#latency-plot .button")
        assert not any(page.one(place).is_displayed() for place in hidden)
        kept = ("#answer", "#latency-plot svg", "#legend", ".promises", "#matrix table", "#flips")
        assert all(page.one(place).is_displayed() for place in kept)
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
