"""The page in a real browser: headless Chromium, driven by selenium, without a network."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900")
BOARD = "digits-c-table"


def absent(reason: str) -> None:
    """Skip; where CI has installed a browser, as root, its absence is a failure."""
    if os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    """One browser for all tests of this file, without a network."""
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        absent("selenium is not installed (extra: browser)")
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = os.environ.get("HARNESS_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    control = shutil.which("chromedriver")
    if not browser or not control:
        absent("no Chromium with its chromedriver on the path (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser or ""
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser_driver = webdriver.Chrome(options=options, service=Service(control))
    browser_driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser_driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield browser_driver
    browser_driver.quit()


class View:
    """A page in the browser. js: runs JavaScript, and gives what it returns."""

    def __init__(self, driver: Any, file: Path) -> None:
        self.driver = driver
        self.file = file
        self.js: Callable[..., Any] = driver.execute_script

    def open(self, fragment: str = "", file: Path | None = None) -> None:
        self.driver.get("about:blank")
        self.driver.get((file or self.file).as_uri() + fragment)

    def cdp(self, command: str, **settings: Any) -> None:
        self.driver.execute_cdp_cmd(command, settings)

    def press(self, key: str) -> None:
        self.driver.switch_to.active_element.send_keys(key)

    def column(self, place: int) -> list[str]:
        """Texts of a column of the leaderboard, of rows that are not filtered out."""
        rows = f"#{BOARD} tbody tr:not([hidden])"
        return list(self.js(f"return [...document.querySelectorAll('{rows}')].map(r => r.cells[{place}].innerText)"))

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self) -> set[str]:
        """Addresses that the browser asked for since the last call."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return {url.partition("#")[0] for url in sent}


@pytest.fixture
def view(driver: Any, file: Path) -> Iterator[View]:
    """The page of a few shipped records, open, in a window of usual size."""
    opened = View(driver, file)
    opened.open()
    yield opened
    opened.cdp("Emulation.clearDeviceMetricsOverride")
    opened.cdp("Emulation.setEmulatedMedia", features=[])
    opened.cdp("Emulation.setScriptExecutionDisabled", value=False)


def until(condition: Callable[[], Any]) -> Any:
    """The first true value that a condition takes within two seconds."""
    end = time.monotonic() + 2
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return value


def header(place: int) -> str:
    return f"document.querySelectorAll('#{BOARD} thead th')[{place}]"


def test_the_page_loads_without_an_error_or_a_request(view: View) -> None:
    view.requests()
    view.open()
    assert view.driver.title == "Robustness report"
    assert view.errors() == []
    assert {url for url in view.requests() if not url.startswith(("about:", "data:"))} == {view.file.as_uri()}


def test_enter_on_a_header_sorts_and_says_so(view: View) -> None:
    before = view.column(3)
    view.js(f"{header(3)}.querySelector('button').focus()")
    view.press("\ue007")
    assert view.js(f"return {header(3)}.getAttribute('aria-sort')") == "descending"
    down = [float(text.partition(" ")[0]) for text in view.column(3)]
    assert down == sorted(down, reverse=True)
    view.press("\ue007")
    assert view.js(f"return {header(3)}.getAttribute('aria-sort')") == "ascending"
    assert [float(text.partition(" ")[0]) for text in view.column(3)] == sorted(down)
    view.press("\ue007")
    assert view.column(3) == before
    assert view.js(f"return document.querySelectorAll('#{BOARD} [aria-sort]').length") == 0


def test_the_filter_hides_rows_and_counts_the_others(view: View) -> None:
    total = len(view.column(0))
    view.js(f"document.querySelector('#{BOARD} input').focus()")
    view.press("VIT de")
    assert 0 < len(view.column(0)) < total
    assert all("vit" in name for name in view.column(0))
    count = view.js(f"return document.querySelector('#{BOARD} output').textContent")
    assert count == f"{len(view.column(0))} of {total} rows"


def test_the_address_keeps_the_view(view: View) -> None:
    view.js(f"{header(3)}.querySelector('button').click()")
    view.js(
        f"const i = document.querySelector('#{BOARD} input'); i.value = 'resnet'; i.dispatchEvent(new Event('input'))"
    )
    view.js("document.querySelector('nav .act').click(); document.querySelector('#digits-c-provenance--d').open = true")
    assert until(lambda: "open" in view.js("return location.hash"))
    rows, fragment = view.column(0), view.js("return location.hash")
    view.open(f"#digits-c{fragment.replace('#', '&')}")
    assert until(lambda: view.column(0) == rows)
    assert view.js(f"return {header(3)}.getAttribute('aria-sort')") == "descending"
    assert view.js("return document.querySelector('#digits-c-provenance--d').open")
    assert view.js("return document.documentElement.dataset.theme") == "dark"
    assert until(
        lambda: view.js("return Math.abs(document.querySelector('#digits-c').getBoundingClientRect().top) < 99")
    )
    view.js("document.querySelector('nav a[href=\"#published\"]').click()")
    assert until(lambda: view.js("return location.hash").startswith("#published&"))
    assert view.column(0) == rows


def test_damaged_addresses_do_no_harm(view: View) -> None:
    view.open(f"#%E0%A4%A&{BOARD}.sort=99d&{BOARD}.filter=%zz&theme=<script>&open=nothing&=&__proto__=1")
    assert view.errors() == []
    view.open(f"#{BOARD}.sort=x")
    assert len(view.column(0)) == 8


def test_dark_follows_the_system_and_the_button(view: View) -> None:
    def background() -> str:
        return str(view.js("return getComputedStyle(document.body).backgroundColor"))

    light = background()
    view.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = background()
    assert dark != light
    view.js("const b = document.querySelector('nav .act'); b.click(); b.click()")
    assert background() == light


def picture(view: View, file: Path) -> np.ndarray:
    """The screen, saved as a PNG for the reader of a failure, as grey levels (height, width)."""
    assert view.driver.save_screenshot(str(file))
    with Image.open(file) as opened:
        return np.asarray(opened.convert("L"), dtype=np.float64)


def test_the_screen_is_drawn_light_dark_and_on_a_phone(view: View, tmp_path: Path) -> None:
    view.open("#digits-c&theme=light")
    light = picture(view, tmp_path / "light.png")
    view.open("#digits-c&theme=dark")
    dark = picture(view, tmp_path / "dark.png")
    view.cdp("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    view.open("#digits-c&theme=light")
    phone = picture(view, tmp_path / "phone.png")
    assert phone.shape == (1688, 780)
    assert all(screen.std() > 10 for screen in (light, dark, phone))  # text and marks, not one colour
    assert np.median(dark) < 80 < 200 < min(np.median(light), np.median(phone))


@pytest.mark.parametrize("page", ["file", "hostile_file"])
def test_a_phone_scrolls_downwards_alone(view: View, page: str, request: pytest.FixtureRequest) -> None:
    view.cdp("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    view.open(file=request.getfixturevalue(page))
    assert view.js("return document.documentElement.scrollWidth") <= 390
    view.js("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert view.js("return document.documentElement.scrollWidth") <= 390
    if page == "file":
        region = f"document.querySelector('#{BOARD} .scroll')"
        assert view.js(
            f"const r = {region}; r.focus(); return r.scrollWidth > r.clientWidth && document.activeElement === r"
        )
        names = f"document.querySelector('#{BOARD} tbody th').getBoundingClientRect()"
        assert view.js(f"return {names}.width") <= 160
        assert view.js(f"{region}.scrollLeft = 200; return {names}.left") >= 0


def test_focus_and_hover_show_a_tooltip(view: View) -> None:
    tip = "document.querySelector('#tip')"
    mark = "document.querySelector('.plot [data-tip]')"
    view.js(f"{mark}.scrollIntoView({{block: 'center'}})")
    time.sleep(0.1)
    view.js(f"{mark}.focus()")
    assert until(lambda: view.js(f"return !{tip}.hidden"))
    assert view.js(f"return {tip}.textContent === {mark}.dataset.tip")
    box = view.js(f"return JSON.parse(JSON.stringify({tip}.getBoundingClientRect()))")
    assert box["left"] >= 0 and box["right"] <= 1280 and box["top"] >= 0
    view.press("\ue015")
    assert view.js(
        f"return document.activeElement === document.querySelectorAll('.plot [data-tip]')[1] && !{tip}.hidden"
    )
    view.press("\ue00c")
    assert view.js(f"return {tip}.hidden")


def test_tables_and_charts_are_copied_as_csv(view: View) -> None:
    view.js("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
    view.js(f"document.querySelector('#{BOARD} .act').click()")
    lines = view.js("return window.copied").splitlines()
    assert lines[0].startswith("model,method,rank,mean accuracy (%),mean accuracy (%) low,mean accuracy (%) high")
    assert len(lines) == 9
    low, high = (float(number) for number in lines[1].split(",")[4:6])
    assert 1 < low < high < 100  # in the unit of the header
    view.js("document.querySelector('.data').open = true; document.querySelector('.data .act').click()")
    assert len(view.js("return window.copied").splitlines()) >= 3


def test_copies_hold_no_formula(view: View) -> None:
    view.js("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
    formula = '=HYPERLINK("http://a.example","b")'
    view.js(f"document.querySelectorAll('#{BOARD} tbody th').forEach(c => c.textContent = arguments[0])", formula)
    view.js(f"document.querySelectorAll('#{BOARD} tbody td').forEach(c => c.textContent = '-1.5')")
    view.js(f"document.querySelector('#{BOARD} .act').click()")
    rows = list(csv.reader(io.StringIO(view.js("return window.copied"), newline="")))
    assert rows[1][0] == f"'{formula}" and "-1.5" in rows[1] and "'-1.5" not in rows[1]


def test_two_chosen_score_panels_stand_beside_each_other(view: View) -> None:
    named = "[...document.querySelectorAll('.pair svg')].map(drawing => drawing.getAttribute('aria-label'))"
    first, second = view.js(f"return {named}")
    assert first != second
    chosen = "document.querySelector('.pair select')"
    view.js(f"{chosen}.selectedIndex = 2; {chosen}.dispatchEvent(new Event('change'))")
    third = view.js(f"return {named}")
    assert third[1] == second and third[0] not in (first, second) and "vit" in third[0]
    tops = view.js("return [...document.querySelectorAll('.pair svg')].map(d => d.getBoundingClientRect().top)")
    assert tops[0] == tops[1]
    assert view.js("return document.querySelectorAll('.pair [id]').length") == 0


def test_the_page_is_readable_without_javascript(view: View) -> None:
    view.cdp("Emulation.setScriptExecutionDisabled", value=True)
    view.open()
    document = view.driver.find_element("css selector", f"#{BOARD}")
    assert "digits/resnet+augmix" in document.text
    assert len(view.driver.find_elements("css selector", ".plot svg")) >= 5
    assert view.driver.find_elements("css selector", "main button, main input") == []


def test_hostile_records_run_no_script(view: View, hostile_file: Path) -> None:
    view.errors(), view.requests()
    view.open(file=hostile_file)
    assert view.js("return window.hit") is None
    assert view.js("return document.title") == "Robustness report"
    assert view.errors() == []
    assert {url for url in view.requests() if url.startswith("http")} == set()
    planted = "main script, main iframe, img[onerror], svg[onload]"
    assert view.js(f"return document.querySelectorAll('{planted}').length") == 0


def test_every_section_is_reached_and_named_on_the_screen(view: View) -> None:
    assert view.js(
        "return [...document.querySelectorAll('nav a')].every(a => document.getElementById(a.hash.slice(1)))"
    )
    view.js("document.querySelector('nav a[href=\"#provenance\"]').click()")
    assert until(lambda: view.js("return document.querySelector('nav [aria-current]')?.hash") == "#provenance")
