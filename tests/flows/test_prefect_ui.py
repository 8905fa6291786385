"""Prefect's UI in headless Chromium, with what a run shows there; skipped where no Chromium and ChromeDriver are."""

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.settings import PREFECT_API_URL, temporary_settings
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace
from flows.prefect_ui.artifacts import show_lineage, show_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "report.png"
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FACES = ["/v2", ""]

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium and its driver: apt install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (*OPTIONS, "--window-size=1400,1600", f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def shown(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """The artifacts of a run that shows a report and the split that it was made from."""
    workspace = tmp_path_factory.mktemp("workspace")

    def write(staging: Path) -> None:
        (staging / "plots").mkdir()
        shutil.copy(PICTURE, staging / "plots" / "confusion.png")
        (staging / "report.md").write_text("# macro-F1 0.8\n\n![Confusions](plots/confusion.png)\n")
        with (staging / "per_species.csv").open("w", newline="") as stream:
            columns = ["label", "common_name", "recordings", "scored", "precision", "recall", "f1", "average_precision"]
            hostile = "<img src=x onerror=document.title='run'>"
            csv.writer(stream).writerows([columns, ["wren", hostile, 4, 3, 0.5, 0.25, 0.375, 1]])

    split = Workspace(workspace).materialise(Recipe("splits", {"name": "ui"}, {}, 1), lambda staging: None)
    report = Workspace(workspace).materialise(Recipe("reports", {"name": "ui"}, {"split": split.name}, 1), write)

    @flow(name="birdclef", flow_run_name="maker-of-all")
    def pipeline() -> dict[str, Artifact]:
        show_lineage(split, Workspace(workspace))
        show_report(report, Workspace(workspace))
        found = {name: Artifact.get(name) for name in ("report", "species")}
        return {name: artifact for name, artifact in found.items() if artifact}

    with temporary_settings({PREFECT_API_URL: prefect_server}):
        return pipeline()


def find(browser: webdriver.Chrome, chooses: Callable[[WebElement], bool], tag: str) -> WebElement:
    found: list[WebElement] = []

    def look(driver: webdriver.Chrome) -> bool:
        found[:] = [element for element in driver.find_elements(By.TAG_NAME, tag) if chooses(element)]
        return bool(found)

    WebDriverWait(browser, 60, ignored_exceptions=[Exception]).until(look)
    return found[0]


@pytest.mark.parametrize("face", FACES)
def test_report_shows_its_pictures_and_leads_to_the_run_that_made_its_split(
    browser: webdriver.Chrome, shown: dict[str, Artifact], prefect_server: str, face: str
) -> None:
    browser.get(f"{prefect_server.removesuffix('/api')}{face}/artifacts/artifact/{shown['report'].id}")
    picture = find(browser, lambda image: "data:image/png" in str(image.get_attribute("src")), "img")
    WebDriverWait(browser, 30).until(lambda driver: driver.execute_script("return arguments[0].naturalWidth", picture))
    find(browser, lambda link: link.text.startswith("splits/"), "a").click()
    browser.switch_to.window(browser.window_handles[-1])
    assert find(browser, lambda link: link.text == "maker-of-all", "a")


@pytest.mark.parametrize("face", FACES)
def test_table_of_species_is_shown_and_runs_nothing_that_a_name_holds(
    browser: webdriver.Chrome, shown: dict[str, Artifact], prefect_server: str, face: str
) -> None:
    browser.get(f"{prefect_server.removesuffix('/api')}{face}/artifacts/artifact/{shown['species'].id}")
    assert find(browser, lambda cell: cell.text == "0.375", "td")
    assert browser.title != "run"
