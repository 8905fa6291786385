"""Prefect's UI in headless Chromium, and a page of another site that calls the server.

Skipped where no Chromium and ChromeDriver are.
"""

import asyncio
import csv
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
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


HOSTILE_PAGE = """<!doctype html><title>trying</title><iframe name="hidden"></iframe><script>
const url = "URL", body = JSON.stringify({job_variables: {command: "false"}});
const post = options => fetch(url, {method: "POST", ...options}).then(answer => answer.type, error => "refused");
const listen = new Promise(tell => {
  const socket = new WebSocket("SOCKET");
  socket.onopen = () => tell("open");
  socket.onerror = () => tell("refused");
});
const form = Object.assign(document.createElement("form"), {
  method: "POST", action: url, enctype: "text/plain", target: "hidden"});
form.append(Object.assign(document.createElement("input"), {name: '{"name": "', value: '"}'}));
document.body.append(form);
form.submit();
navigator.sendBeacon(url, new Blob([body]));
Promise.all([
  post({headers: {"Content-Type": "application/json"}, body}),
  post({mode: "no-cors", body: new Blob([body])}),  // without a type, which Prefect takes for JSON
  post({mode: "no-cors", body}),
  listen,
]).then(answers => document.title = JSON.stringify(answers));
</script>"""


def test_page_of_another_site_starts_no_run_and_hears_nothing(browser: webdriver.Chrome, prefect_server: str) -> None:
    deployment = asyncio.run(deploy(prefect_server))
    url = f"{prefect_server}/deployments/{deployment}/create_flow_run"
    socket = f"ws{prefect_server.removeprefix('http')}/events/out"
    page = HOSTILE_PAGE.replace("URL", url).replace("SOCKET", socket).encode()

    class Hostile(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *arguments: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Hostile) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.get(f"http://localhost:{server.server_port}/")
        WebDriverWait(browser, 30).until(lambda driver: driver.title.startswith("["))
        server.shutdown()
    # a page cannot read the answer to a request of mode no-cors, even to a refused one
    assert json.loads(browser.title) == ["refused", "opaque", "opaque", "refused"]
    assert asyncio.run(count_runs(prefect_server, deployment)) == 0


async def deploy(url: str) -> UUID:
    with temporary_settings({PREFECT_API_URL: url}):
        async with get_client() as client:
            return await client.create_deployment(await client.create_flow_from_name("attacked"), "attacked")


async def count_runs(url: str, deployment: UUID) -> int:
    with temporary_settings({PREFECT_API_URL: url}):
        async with get_client() as client:
            chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
            return len(await client.read_flow_runs(deployment_filter=chosen))
