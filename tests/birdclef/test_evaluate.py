"""Reports on the workspace of tests/conftest.py."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.train import TrainConfig
from birdclef.evaluate import evaluate
from birdclef.scores.lineage import report_predictions
from cache.workspace.workspace import Workspace

CONFIG = EvaluateConfig(bootstrap_samples=20, permutations=3, worst_errors=0)
EXPERIMENT = {"data": {"root": "/nowhere"}, "evaluate": CONFIG.model_dump(mode="json")}

Members = dict[str, list[Path]]


@pytest.fixture(scope="module")
def report(evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path) -> Path:
    return evaluate(CONFIG, evaluation_members, evaluation_baseline, EXPERIMENT, Workspace(evaluation_workspace))


def list_reports(workspace: Path) -> set[str]:
    return {path.name for path in (workspace / "reports").iterdir()}


def test_report_lies_under_its_key(report: Path, evaluation_workspace: Path) -> None:
    assert report.parent == evaluation_workspace / "reports"
    assert json.loads((report / "report.json").read_text())["key"] == report.name
    assert f"birdclef report {report.name}" in (report / "report.html").read_text()
    assert {"report.md", "per_species.csv", "errors.csv", "oof.npz"} <= {path.name for path in report.iterdir()}


def test_log_says_the_coverage_with_the_figure(
    evaluation_members: Members,
    evaluation_baseline: Path,
    evaluation_workspace: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO"):
        made = evaluate(
            CONFIG.model_copy(update={"seed": 11}),
            {"scratch": evaluation_members["scratch"]},
            evaluation_baseline,
            EXPERIMENT,
            Workspace(evaluation_workspace),
        )
    value = json.loads((made / "report.json").read_text())["metrics"]["macro_f1"]["value"]
    (line,) = [one.getMessage() for one in caplog.records if "evaluate: macro-F1" in one.getMessage()]
    assert line.startswith(f"evaluate: macro-F1 {value:.3f} [")
    assert line.endswith("; 4 of 6 species, 137 of 140 usable recordings scored")  # as tests/conftest.py counts them


def test_provenance_names_settings_and_predictions(
    report: Path, evaluation_members: Members, evaluation_baseline: Path
) -> None:
    record = json.loads((report / "provenance.json").read_text())
    assert record["kind"] == "reports"
    assert record["config"] == CONFIG.model_dump(mode="json")
    first, second = evaluation_members
    assert record["inputs"] == {
        **{f"{first}/{fold}": evaluation_members[first][fold].name for fold in range(3)},
        **{f"{second}/{fold}": evaluation_members[second][fold].name for fold in range(3)},
        "baseline": evaluation_baseline.name,
    }


def test_second_call_finds_the_report_and_writes_nothing(
    report: Path, evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in report.rglob("*")}
    assert (
        evaluate(CONFIG, evaluation_members, evaluation_baseline, EXPERIMENT, Workspace(evaluation_workspace)) == report
    )
    assert {path: path.stat().st_mtime_ns for path in report.rglob("*")} == before


def test_another_setting_gives_another_report(
    report: Path, evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path
) -> None:
    other = evaluate(
        CONFIG.model_copy(update={"ensemble": "geometric"}),
        evaluation_members,
        evaluation_baseline,
        EXPERIMENT,
        Workspace(evaluation_workspace),
    )
    assert other != report
    metrics, other_metrics = (json.loads((one / "report.json").read_text())["metrics"] for one in (report, other))
    assert metrics != other_metrics


def test_classes_of_the_competition_without_recordings_are_in_the_report(
    report: Path, evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    alone = {"scratch": evaluation_members["scratch"]}
    (tmp_path / "sample_submission.csv").write_text("row_id,abbowl,wren,lostlark\n")
    here = {**EXPERIMENT, "data": {"root": str(tmp_path)}}
    made = evaluate(CONFIG, alone, evaluation_baseline, here, Workspace(evaluation_workspace))
    assert json.loads((made / "report.json").read_text())["species_without_recordings"] == ["lostlark", "wren"]
    assert json.loads((report / "report.json").read_text())["species_without_recordings"] == []
    assert list(report_predictions(made, Workspace(evaluation_workspace))) == ["scratch"]
    again = evaluate(CONFIG, alone, evaluation_baseline, EXPERIMENT, Workspace(evaluation_workspace))
    assert again != made


def test_fewer_members_give_another_report(
    report: Path, evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path
) -> None:
    alone = {"scratch": evaluation_members["scratch"]}
    assert evaluate(CONFIG, alone, evaluation_baseline, EXPERIMENT, Workspace(evaluation_workspace)) != report


def test_log_begins_with_a_warning_if_training_did_not_pay(
    write_member: Callable[..., list[Path]],
    evaluation_baseline: Path,
    evaluation_workspace: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = CONFIG.model_copy(update={"bootstrap_samples": 200, "permutations": 20})
    guesses = {"guesses": write_member(TrainConfig(seed=41), skill=0.0)}
    with caplog.at_level(logging.INFO, "birdclef.evaluate"):
        report = evaluate(config, guesses, evaluation_baseline, EXPERIMENT, Workspace(evaluation_workspace))
    first, second = [record for record in caplog.records if record.name == "birdclef.evaluate"]
    verdict = json.loads((report / "report.json").read_text())["verdict"]
    assert (first.levelname, first.getMessage()) == (
        "WARNING",
        f"evaluate: {verdict['sentence']} {verdict['advice']}",
    )
    assert first.getMessage().startswith("evaluate: Training did not pay here: ")
    assert "is not shown to be better than chance" in first.getMessage()
    assert second.getMessage().startswith("evaluate: macro-F1 ")


def test_members_on_different_recordings_are_refused_and_leave_no_report(
    report: Path, evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path
) -> None:
    before = list_reports(evaluation_workspace)
    assert report.name in before
    first, second = evaluation_members
    members = {first: evaluation_members[first], second: evaluation_members[second][1:]}
    with pytest.raises(ValueError, match=r"cannot be combined: .*, and only one of them predicts "):
        evaluate(CONFIG, members, evaluation_baseline, EXPERIMENT, Workspace(evaluation_workspace))
    assert list_reports(evaluation_workspace) == before


def test_unfinished_predictions_are_refused(
    evaluation_members: Members, evaluation_baseline: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="holds no finished artefact"):
        evaluate(CONFIG, {"one": [tmp_path]}, evaluation_baseline, EXPERIMENT, Workspace(evaluation_workspace))
