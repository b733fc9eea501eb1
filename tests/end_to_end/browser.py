"""A report's page in headless Chromium, opened from a file: what the browser tests share. The
fixtures ``driver`` and ``page`` reach them by conftest.py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dlas.report.info import ReportInfo
from dlas.report.page import write_report
from dlas.testing.results import made_up_info

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
DRIVER = shutil.which("chromedriver")

NEEDS_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium here: apt-get install chromium"),
    pytest.mark.skipif(not DRIVER, reason="no chromedriver here: apt-get install chromium-driver"),
]

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
--disable-background-networking --disable-component-update --disable-dev-shm-usage"""


class Page:
    """A report, open in the browser."""

    def __init__(self, driver: Any, folder: Path) -> None:
        self.driver = driver
        self.folder = folder

    def open(
        self,
        frame: pd.DataFrame,
        info: ReportInfo | None = None,
        samples: Mapping[str, Any] | None = None,
        fragment: str = "",
    ) -> Page:
        path = write_report(frame, info or made_up_info(), self.folder / "report.html", samples)
        for log in ("browser", "performance"):
            self.driver.get_log(log)  # what an earlier page left
        self.driver.get("about:blank")  # the same file with another fragment is no new page
        self.driver.get(path.as_uri() + fragment)
        return self

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return self.driver.execute_script(script, selector)

    def press(self, key: str) -> None:
        self.driver.switch_to.active_element.send_keys(key)

    def focus(self, selector: str) -> None:
        self.driver.execute_script("document.querySelector(arguments[0]).focus()", selector)

    def tip(self) -> str:
        """The tooltip's text, "" while it is hidden."""
        return self.one("#tip").text

    def complaints(self) -> list[str]:
        """What the console said, and what the page asked of any network."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                if not url.startswith(("file:", "data:")):
                    said.append(url)
        return said

    def resize(self, width: int, height: int, scheme: str = "light") -> None:
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},  # no smooth scrolling
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed: pip install 'dlas[dev]'"
    )
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield found
    found.quit()


@pytest.fixture
def page(driver: Any, tmp_path: Path) -> Page:
    opened = Page(driver, tmp_path)
    opened.resize(1280, 900)
    return opened
