"""Reports written by hand, put side by side."""

import csv
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from written_reports import write_split

from birdclef.sweep import compare_settings
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace

SETTINGS = [
    {"train.*.seed": seed, "features.n_mels": 64, "evaluate.ensemble": how} for seed, how in ((1, "a|b"), (2, "c"))
]


@pytest.fixture
def reports(tmp_path: Path) -> list[Path]:
    """Two reports, the second the better one; each of two runs of 1.26 and 2 s."""
    return [write(Workspace(tmp_path), 0.5), write(Workspace(tmp_path), 0.75)]


def write(
    workspace: Workspace, score: float, leak: float = 0.0, select: str = "last", name: str = "", scored: str = "xy"
) -> Path:
    """Returns a report of two runs of 1.26 and 2 s; folds that leak are grouped by recording, and part a recordist."""
    metrics = {"macro_f1": {"value": score, "low": score - 0.1, "high": score + 0.1}}
    metrics |= {metric: {"value": score / 2} for metric in ("accuracy", "macro_roc_auc", "padded_cmap")}
    folds = [0, 1] if leak else [0, 0]
    recordings = pd.DataFrame(
        {"recording_id": ["x", "y"], "sha256": ["x", "y"], "label": "a", "recordist": "r", "fold": folds, "group": 0}
    )
    key = artefact_key(write_split(workspace, recordings))
    report = {
        "format": 1,
        "metrics": metrics,
        "members": [{"training_seconds": 1.26 + 2.0}],
        "per_species": [{"label": "a"}],
        "split": {"leak": {"leaking_share": leak}},
        "coverage": {"recordings_scored": len(scored)},
        "lineage": {
            "split": {"key": key, "config": {"group_by": "recording" if leak else "recordist"}},
            "runs": [{"config": {"select": select}}],
        },
    }

    def fill(staging: Path) -> None:
        (staging / "report.json").write_text(json.dumps(report))
        recordings[recordings["recording_id"].isin(list(scored))].to_csv(staging / "recordings.csv", index=False)

    return workspace.materialise(Recipe("reports", {"score": score, "leak": leak, "of": select + name}, {}, 1), fill)


def test_table_has_what_varies_and_each_report_in_the_order_given(reports: list[Path], tmp_path: Path) -> None:
    directory = compare_settings(SETTINGS, reports, Workspace(tmp_path))
    with (directory / "sweep.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[:3] == ["train.*.seed", "evaluate.ensemble", "macro_f1"]
    assert [row["report"] for row in rows] == [report.name for report in reports]
    assert [(float(row["macro_f1"]), float(row["accuracy"])) for row in rows] == [(0.5, 0.25), (0.75, 0.375)]
    assert {row["training_seconds"] for row in rows} == {"3.3"}
    assert (directory / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_page_shows_the_best_first_and_keeps_a_bar_in_its_cell(reports: list[Path], tmp_path: Path) -> None:
    lines = (compare_settings(SETTINGS, reports, Workspace(tmp_path)) / "sweep.md").read_text().splitlines()
    assert lines[2].startswith("| 2 | c | 0.750 [0.650, 0.850] |")
    assert lines[3].startswith("| 1 | a\\|b | 0.500 [0.400, 0.600] |")


def test_settings_that_never_vary_are_shown_if_there_are_no_others(reports: list[Path], tmp_path: Path) -> None:
    directory = compare_settings([{"split.folds": 3}] * 2, reports, Workspace(tmp_path))
    assert (directory / "sweep.csv").read_text().startswith("split.folds,macro_f1")


def test_leaky_and_selected_settings_are_never_best_and_say_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grid = [
        {"split.group_by": by, "train.*.select": how} for by in ("recordist", "recording") for how in ("last", "best")
    ]
    workspace = Workspace(tmp_path)
    reports = [write(workspace, 0.3 + 0.1 * row, 0.4 * (row > 1), grid[row]["train.*.select"]) for row in range(4)]
    with caplog.at_level("INFO"):
        page = (compare_settings(grid, reports, workspace) / "sweep.md").read_text()
    assert (
        "best macro-F1 0.300 [0.200, 0.400] with split.group_by=recordist, train.*.select=last; settings left out, "
        "because their scores do not compare: 3"
    ) in caplog.text
    rows = [line for line in page.splitlines() if line.startswith("| rec")]
    assert rows[0].startswith("| recordist | last |")
    assert re.search(r" \| 0\.0 % \| [0-9a-f]{16} \| last \| yes \| ", rows[0])
    leaky = next(line for line in rows if line.startswith("| recording | last |"))
    assert re.search(r" \| 40\.0 % \| [0-9a-f]{16} \| last \| no: its folds have split\.group_by=recording", leaky)
    assert sum("was chosen on the validation fold" in line for line in rows) == 2


def test_ties_name_all_and_a_setting_that_no_stage_reads_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Workspace(tmp_path)
    tied = [write(workspace, 0.5), write(workspace, 0.5, name="other"), write(workspace, 0.4)]
    with caplog.at_level("INFO"):
        compare_settings([{"train.*.seed": seed} for seed in (1, 2, 3)], tied, workspace)
        assert "best macro-F1 0.500 [0.400, 0.600] with train.*.seed=1 and with train.*.seed=2" in caplog.text
        assert "changes no report" not in caplog.text
        compare_settings([{"promote.margin": margin} for margin in (0.1, 0.2)], tied[:1] * 2, workspace)
    assert "the settings do not differ: macro-F1 0.500" in caplog.text
    assert "promote.margin changes no report here, so this sweep tells nothing about it." in caplog.text


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_settings_that_scored_fewer_recordings_are_never_best_in_any_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, order: tuple[int, int]
) -> None:
    workspace = Workspace(tmp_path)
    reports = [write(workspace, 0.9, scored="x"), write(workspace, 0.4)]
    grid = [{"train.*.folds": folds} for folds in ("[0]", "[0, 1]")]
    with caplog.at_level("INFO"):
        compare_settings([grid[row] for row in order], [reports[row] for row in order], workspace)
    assert "best macro-F1 0.400 [0.300, 0.500] with train.*.folds=[0, 1]; settings left out" in caplog.text


def test_settings_are_held_to_the_one_that_scored_most_among_folds_that_leak_alike(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Workspace(tmp_path)
    reports = [write(workspace, 0.9, leak=0.4, scored="x"), write(workspace, 0.4, leak=0.405)]
    with caplog.at_level("INFO"):
        compare_settings([{"train.*.folds": folds} for folds in ("[0]", "[0, 1]")], reports, workspace)
    assert "best macro-F1 0.400 [0.300, 0.500] with train.*.folds=[0, 1]; settings left out" in caplog.text
