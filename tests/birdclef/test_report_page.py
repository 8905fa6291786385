"""The report's page in headless Chromium; skipped where no Chromium and ChromeDriver are installed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from birdclef.config.evaluate import EvaluateConfig
from birdclef.report.page import write_report
from birdclef.scores.report_scores import score_members
from cache.workspace.workspace import Workspace

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
CONFIG = EvaluateConfig(bootstrap_samples=20, permutations=2, worst_errors=2)
OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium and its driver: apt install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def browser(
    evaluation_members: dict[str, list[Path]],
    evaluation_baseline: Path,
    evaluation_workspace: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[webdriver.Chrome]:
    directory = tmp_path_factory.mktemp("page")
    scored = score_members(CONFIG, evaluation_members, evaluation_baseline, Workspace(evaluation_workspace))
    write_report(scored, CONFIG, {"data": {"root": "/nowhere"}}, "0" * 16, Workspace(directory), directory)
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.get((directory / "report.html").as_uri())
    yield driver
    driver.quit()


def rows(browser: webdriver.Chrome) -> list[WebElement]:
    return [row for row in browser.find_elements(By.CSS_SELECTOR, "#species tbody tr") if row.is_displayed()]


def column(browser: webdriver.Chrome, index: int) -> list[str]:
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[index].text for row in rows(browser)]


def header(browser: webdriver.Chrome, name: str) -> WebElement:
    headers = browser.find_elements(By.CSS_SELECTOR, "#species thead th")
    return next(one for one in headers if one.text.split(" ↑")[0].split(" ↓")[0] == name)


def test_console_is_silent_and_no_script_of_the_data_runs(browser: webdriver.Chrome) -> None:
    assert browser.get_log("browser") == []
    assert not browser.find_elements(By.CSS_SELECTOR, "main script, main b, main i")


def test_species_sort_by_number_and_by_name(browser: webdriver.Chrome) -> None:
    button = header(browser, "recordings").find_element(By.TAG_NAME, "button")
    button.click()
    assert header(browser, "recordings").get_attribute("aria-sort") == "ascending"
    assert column(browser, 1) == ["9", "10", "14", "104"]
    button.click()
    assert header(browser, "recordings").get_attribute("aria-sort") == "descending"
    assert column(browser, 1) == ["104", "14", "10", "9"]
    header(browser, "species").find_element(By.TAG_NAME, "button").click()
    names = ["<script>alert(1)</script> barwre", "Abbey Owl abbowl", "Columba | cauta cdove", "D | Finch d|<i>finch"]
    assert column(browser, 0) == names
    assert header(browser, "recordings").get_attribute("aria-sort") == "none"


def test_species_sort_with_the_keyboard(browser: webdriver.Chrome) -> None:
    button = header(browser, "scored").find_element(By.TAG_NAME, "button")
    browser.execute_script("arguments[0].focus()", button)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert column(browser, 2) == ["9", "10", "14", "104"]


def test_search_finds_codes_and_names(browser: webdriver.Chrome) -> None:
    field = browser.find_element(By.ID, "search")
    field.send_keys("CAUTA")  # Columba | cauta
    assert column(browser, 0) == ["Columba | cauta cdove"]
    assert browser.find_element(By.ID, "shown").text == "1 of 4 species shown"
    field.send_keys(Keys.BACKSPACE * 5)
    assert len(rows(browser)) == 4


@pytest.mark.parametrize("width", [360, 1400])
def test_page_fits_narrow_and_wide_screens(browser: webdriver.Chrome, width: int) -> None:
    # A headless window is 500 pixels wide at least, so the screen is emulated.
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        assert browser.execute_script("return window.innerWidth") == width
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        main = browser.find_element(By.TAG_NAME, "main").rect
        assert main["x"] >= 0
        assert main["x"] + main["width"] <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_tables_fit_a_laptop_and_captions_a_phone(browser: webdriver.Chrome) -> None:
    def measure(width: int, script: str) -> list[list[float]]:
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        measured: list[list[float]] = browser.execute_script(script)
        return measured

    tables = "return [...document.querySelectorAll('main > .scroll')].map(one => [one.scrollWidth, one.clientWidth])"
    captions = (
        "return [...document.querySelectorAll('caption')].map(one => [one.getBoundingClientRect().left, "
        "one.getBoundingClientRect().right])"
    )
    try:
        assert all(needed <= there for needed, there in measure(1280, tables))
        assert all(left >= 0 and right <= 390 for left, right in measure(390, captions))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_has_a_name(browser: webdriver.Chrome) -> None:
    for control in browser.find_elements(By.CSS_SELECTOR, "button, input, summary, a, audio"):
        assert control.accessible_name
