"""Reports written by hand, put side by side."""

import csv
import json
from pathlib import Path

import pytest

from birdclef.sweep import compare_settings
from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace

SETTINGS = [
    {"train.*.seed": seed, "features.n_mels": 64, "evaluate.ensemble": how} for seed, how in ((1, "a|b"), (2, "c"))
]


@pytest.fixture
def reports(tmp_path: Path) -> list[Path]:
    """Two reports, the second the better one; each of two runs of 1.26 and 2 s."""

    def write(score: float) -> Path:
        metrics = {"macro_f1": {"value": score, "low": score - 0.1, "high": score + 0.1}}
        metrics |= {name: {"value": score / 2} for name in ("accuracy", "macro_roc_auc", "padded_cmap")}
        report = {"metrics": metrics, "lineage": {"runs": [{"seconds": 1.26}, {"seconds": 2.0}]}}
        recipe = Recipe("reports", {"score": score}, {}, 1)
        return Workspace(tmp_path).materialise(
            recipe, lambda staging: (staging / "report.json").write_text(json.dumps(report)) and None
        )

    return [write(0.5), write(0.75)]


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
