"""What a run shows of its artefacts, on a real server."""

import base64
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import PREFECT_API_URL, temporary_settings

from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace
from flows.prefect_ui.artifacts import (
    find_ancestors,
    page_key,
    show_lineage,
    show_page,
    show_quarantine,
    show_report,
    show_table,
)

PNG = b"\x89PNG of a plot"


@pytest.fixture(autouse=True)
def _server(prefect_server: str) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    def write(staging: Path) -> None:
        (staging / "quarantine.csv").write_text("recording_id,sha256,reason\na.ogg,e3b0,empty\n")

    return Workspace(tmp_path).materialise(
        Recipe("catalogues", {"name": str(tmp_path)}, {"features": "0" * 16}, 1), write
    )


@pytest.fixture
def split(tmp_path: Path, catalogue: Path) -> Path:
    return Workspace(tmp_path).materialise(Recipe("splits", {}, {"catalogue": catalogue.name}, 1), lambda staging: None)


@pytest.fixture
def report(tmp_path: Path, split: Path) -> Path:
    def write(staging: Path) -> None:
        (staging / "plots").mkdir()
        (staging / "plots" / "confusion.png").write_bytes(PNG)
        (staging / "plots" / "huge.png").write_bytes(b"0" * 1_000_001)
        (staging / "report.md").write_text("# macro-F1\n\n![C](plots/confusion.png)\n\n![H](plots/huge.png)\n")
        with (staging / "per_species.csv").open("w", newline="") as stream:
            columns = ["label", "common_name", "recordings", "scored", "precision", "recall", "f1", "average_precision"]
            csv.writer(stream).writerows([columns, ["007", "<b>Wren</b>", 4, 3, "", 0.25, 0.123456, 1]])

    run = Workspace(tmp_path).materialise(Recipe("runs", {}, {"split": split.name}, 1), lambda staging: None)
    predictions = Workspace(tmp_path).materialise(Recipe("predictions", {}, {"run": run.name}, 1), lambda staging: None)
    inputs = {"cnn/0": predictions.name, "baseline": predictions.name}
    return Workspace(tmp_path).materialise(Recipe("reports", {}, inputs, 1), write)


def test_ancestors_of_a_report_are_in_stage_order(report: Path, tmp_path: Path) -> None:
    kinds = [path.parent.name for path in find_ancestors(report, Workspace(tmp_path))]
    assert kinds == ["catalogues", "splits", "runs", "predictions"]


def test_report_holds_its_pictures_and_links_to_its_parts(report: Path, split: Path, tmp_path: Path) -> None:
    flow(show_report)(report, Workspace(tmp_path))
    shown = Artifact.get("report")
    assert shown is not None
    assert shown.flow_run_id is not None
    assert f"![C](data:image/png;base64,{base64.b64encode(PNG).decode()})" in str(shown.data)
    assert "H: `plots/huge.png`, too large for this page." in str(shown.data)
    assert f"[splits/{split.name}](../key/{page_key(split)})" in str(shown.data)


def test_what_has_not_changed_is_not_shown_again() -> None:
    @flow
    def show(*contents: str) -> None:
        for content in contents:
            show_page(content, key="page-of-a-test")
            show_table([{"score": None, "name": content}], key="table-of-a-test", description="-")

    show("a", "a")
    show("a", "b")
    with get_client(sync_client=True) as client:
        for key in ("page-of-a-test", "table-of-a-test"):
            found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
            assert len(found) == 2, found


def test_species_are_a_table(report: Path, tmp_path: Path) -> None:
    flow(show_report)(report, Workspace(tmp_path))
    table = Artifact.get("species")
    assert table is not None
    assert '"label": "007"' in str(table.data)
    assert '"precision": null' in str(table.data)
    assert '"f1": 0.123' in str(table.data)


def test_quarantine_is_a_table(catalogue: Path) -> None:
    flow(show_quarantine)(catalogue)
    table = Artifact.get("quarantine")
    assert table is not None
    assert table.description == f"1 recordings in quarantine in catalogues/{catalogue.name}"
    assert json.loads(str(table.data)) == [{"recording_id": "a.ogg", "reason": "empty"}]


def test_page_of_an_artefact_belongs_to_the_run_that_made_it(split: Path, catalogue: Path, tmp_path: Path) -> None:
    flow(show_lineage)(split, Workspace(tmp_path))
    made = Artifact.get(page_key(split))
    flow(show_lineage)(split, Workspace(tmp_path))
    assert made is not None
    assert f"(../key/{page_key(catalogue)})" in str(made.data)
    assert Artifact.get(page_key(split)) == made
