"""Reports on the recordings of tests/conftest.py, a quarter of them held out; expected numbers are scikit-learn's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import f1_score

from birdclef.baseline import predict_baseline
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.predict import PredictConfig
from birdclef.config.train import TrainConfig
from birdclef.evaluate import evaluate
from birdclef.held_out import find_parts, score_held_out_part
from birdclef.metrics.calibration import calibrate, fit_temperature
from birdclef.metrics.thresholds import fit_thresholds
from birdclef.report.rendering import render
from birdclef.scores.held_out_scores import score_held_out
from birdclef.scores.looks import describe_looks, read_looks
from cache.config.split import SplitConfig
from cache.folds.split_table import read_split
from cache.garbage import find_garbage
from cache.split import build_split
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key, read_provenance
from cache.workspace.workspace import Workspace

SPECIES = ["abbowl", "barwre", "cdove", "d|<i>finch", "eremit"]
CONFIG = EvaluateConfig(bootstrap_samples=50, permutations=3, worst_errors=0, map_recordings=0, ensemble="fitted")
EXPERIMENT = {"data": {"root": "/nowhere"}, "predict": {"stride_seconds": 9.0, "batch_windows": 8}}

WriteMember = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def workspace(evaluation_workspace: Path) -> Workspace:
    return Workspace(evaluation_workspace)


@pytest.fixture(scope="module")
def split(evaluation_catalogue: Path, workspace: Workspace) -> Path:
    return build_split(SplitConfig(folds=3, test_share=0.25), evaluation_catalogue, workspace)


@pytest.fixture(scope="module")
def held_out(split: Path) -> pd.DataFrame:
    table = read_split(split)
    return table[table["fold"] == -2].sort_values("recording_id", ignore_index=True)


def predict_held_out(predictions: Path, held_out: pd.DataFrame, skill: float, workspace: Workspace) -> Path:
    """Stands for `birdclef.predict.predict` with `held_out`, for a run without weights."""
    made = read_provenance(predictions)
    run = workspace.artefact("runs", made["inputs"]["run"])

    def write(staging: Path) -> None:
        labels = [SPECIES.index(label) for label in held_out["label"]]
        logits = np.random.default_rng(int(run.name[:8], 16)).normal(size=(1, len(labels), 5))
        logits[0, np.arange(len(labels)), labels] += skill
        np.save(staging / "probabilities.npy", softmax(logits, axis=2).astype(np.float32))
        held_out[["recording_id", "label"]].to_csv(staging / "recordings.csv", index=False)
        view = {"view": "plain", "weight": 1.0, "windows": 1, "seconds": 0.1}
        pd.DataFrame([view]).to_csv(staging / "views.csv", index=False)

    return workspace.materialise(
        Recipe("predictions", {**made["config"], "part": "held_out"}, {"run": artefact_key(run)}, 1), write
    )


Reported = tuple[Path, dict[str, list[Path]], Path]


@pytest.fixture(scope="module")
def make_report(
    split: Path, held_out: pd.DataFrame, workspace: Workspace, write_member: WriteMember
) -> Callable[[int], Reported]:
    """Returns a report of two members, their predictions of the held-out part, and those of the baseline."""

    def make(seed: int) -> Reported:
        members = {
            name: write_member(TrainConfig(seed=seed + place), skill=skill, split=split)
            for place, (name, skill) in enumerate((("good", 2.0), ("poor", 1.0)))
        }
        report = evaluate(CONFIG, members, predict_baseline(split, workspace), EXPERIMENT, workspace)
        parts = {
            name: [predict_held_out(path, held_out, skill, workspace) for path in members[name]]
            for name, skill in (("good", 2.0), ("poor", 1.0))
        }
        return report, parts, predict_baseline(split, workspace, held_out_by=[0, 1, 2])

    return make


@pytest.fixture(scope="module")
def reported(make_report: Callable[[int], Reported]) -> Reported:
    return make_report(50)


@pytest.fixture(scope="module")
def found(reported: Reported, workspace: Workspace) -> tuple[Path, str]:
    return score_held_out_part(*reported, workspace)


@pytest.fixture(scope="module")
def score(found: tuple[Path, str]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((found[0] / "held_out.json").read_text())
    return read


def macro(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0))


def test_models_of_all_folds_predict_together_with_the_weights_of_the_report(
    reported: Reported, held_out: pd.DataFrame, score: dict[str, Any]
) -> None:
    report, members, _ = reported
    stated = json.loads((report / "report.json").read_text())
    truth = np.array([SPECIES.index(label) for label in held_out["label"]])
    combined = np.zeros((len(truth), 5))
    for name, paths in members.items():
        for path in paths:
            combined += stated["ensemble"]["weights"][name] * np.load(path / "probabilities.npy")[0] / len(paths)
    assert len({round(weight, 3) for weight in stated["ensemble"]["weights"].values()}) == 2
    assert score["metrics"]["macro_f1"]["value"] == pytest.approx(macro(truth, combined.argmax(axis=1)))
    calibrated = softmax(np.log(combined) / stated["calibration"]["temperature"], axis=1)
    decisions = calibrated >= np.array([one["threshold"] for one in stated["per_species"]])
    expected = f1_score(np.eye(5)[truth], decisions, labels=np.unique(truth), average="macro", zero_division=0)
    assert score["metrics"]["macro_f1_by_thresholds"]["value"] == pytest.approx(expected)
    assert score["metrics"]["macro_f1"]["low"] < score["metrics"]["macro_f1"]["high"]
    assert score["out_of_fold"]["macro_f1"]["value"] == stated["metrics"]["macro_f1"]["value"]
    assert (score["models"], score["recordings"]) == (6, len(held_out))
    assert (score["folds"], score["folds_of_split"]) == ([0, 1, 2], 3)


def test_baseline_is_scored_on_the_same_recordings(
    reported: Reported, held_out: pd.DataFrame, score: dict[str, Any]
) -> None:
    baseline = reported[2]
    assert pd.read_csv(baseline / "recordings.csv")["recording_id"].tolist() == held_out["recording_id"].tolist()
    truth = np.array([SPECIES.index(label) for label in held_out["label"]])
    own = macro(truth, np.load(baseline / "probabilities.npy")[0].argmax(axis=1))
    assert score["baseline"]["metrics"]["macro_f1"]["value"] == pytest.approx(own)
    ahead = score["baseline"]["difference_macro_f1"]
    assert ahead["value"] == pytest.approx(score["metrics"]["macro_f1"]["value"] - own)
    assert ahead["low"] < ahead["value"] < ahead["high"]


def test_page_has_both_figures_side_by_side(found: tuple[Path, str], score: dict[str, Any]) -> None:
    for name in ("held_out.md", "held_out.html"):
        page = (found[0] / name).read_text()
        for value in (score["metrics"]["macro_f1"]["value"], score["out_of_fold"]["macro_f1"]["value"]):
            assert f"{value:.3f}" in page
        assert score["report"] in page
    assert read_provenance(found[0])["inputs"]["report"] == score["report"]


def test_report_of_some_folds_is_held_to_a_baseline_of_the_same_folds(
    split: Path,
    held_out: pd.DataFrame,
    reported: Reported,
    workspace: Workspace,
    write_member: WriteMember,
) -> None:
    members = {"few": write_member(TrainConfig(seed=70, folds=(0, 1)), skill=2.0, split=split)}
    report = evaluate(CONFIG, members, predict_baseline(split, workspace), EXPERIMENT, workspace)
    folds = find_parts(report, workspace).folds
    assert folds == [0, 1]
    baseline = predict_baseline(split, workspace, held_out_by=folds)
    assert baseline != reported[2]
    parts = {"few": [predict_held_out(path, held_out, 2.0, workspace) for path in members["few"]]}
    found = score_held_out(report, parts, baseline, workspace).score
    assert (found["models"], found["folds"], found["folds_of_split"]) == (2, [0, 1], 3)
    assert "by all models together (models: 2, of 2 of 3 folds)" in render("held_out_text.j2", {"score": found})
    assert "Intervals come from resampling recordists." in render("held_out_text.j2", {"score": found})
    column = {**found, "resampled": "groups of recordings with the same <img src=x>"}  # of the table's own column
    assert "with the same &lt;img src=x>" in render("held_out_text.j2", {"score": column})  # it stands in HTML too
    table = read_split(split).set_index("recording_id")
    fitted = pd.read_csv(predict_baseline(split, workspace) / "recordings.csv", dtype=str)["recording_id"]
    inside = table.loc[fitted, "fold"].isin(folds).to_numpy()
    probabilities = np.load(predict_baseline(split, workspace) / "probabilities.npy")[0][inside].astype(np.float64)
    labels = np.array([SPECIES.index(label) for label in table.loc[fitted[inside], "label"]])
    temperature = fit_temperature(probabilities, labels)
    thresholds = fit_thresholds(calibrate(probabilities, temperature), labels)
    decided = calibrate(np.load(baseline / "probabilities.npy")[0].astype(np.float64), temperature) >= thresholds
    truth = np.array([SPECIES.index(label) for label in held_out["label"]])
    expected = f1_score(np.eye(5)[truth], decided, labels=np.unique(truth), average="macro", zero_division=0)
    assert found["baseline"]["metrics"]["macro_f1_by_thresholds"]["value"] == pytest.approx(expected)


def test_each_further_report_is_a_further_look_and_is_told(
    found: tuple[Path, str],
    reported: Reported,
    make_report: Callable[[int], Reported],
    held_out: pd.DataFrame,
    workspace: Workspace,
) -> None:
    first, told = found
    assert told.startswith(f"This is the first look at these recordings ({len(held_out)})")
    assert score_held_out_part(*reported, workspace) == found  # the same report again is no further look
    assert len(read_looks(workspace)) == 1
    other = make_report(60)
    second, told = score_held_out_part(*other, workspace)
    assert second != first
    assert told.startswith(f"This is look 2 at these recordings: {reported[0].name} (")
    table = describe_looks(read_looks(workspace)).splitlines()
    assert [line.split(" | ")[2] for line in table[2:]] == [other[0].name, reported[0].name]
    assert table[2].startswith("| 2 |")


def test_scores_stay_with_their_reports_and_go_with_them(
    found: tuple[Path, str], reported: Reported, workspace: Workspace
) -> None:
    kept = {item.path for item in find_garbage(workspace)}
    needed = {found[0], reported[2], *(path for paths in reported[1].values() for path in paths)}
    assert not kept & needed
    dropped = {item.path for item in find_garbage(workspace, [reported[0].name])}
    assert {found[0], reported[0]} <= dropped


def test_parts_predict_as_the_report_did_with_as_few_windows_at_once(reported: Reported, workspace: Workspace) -> None:
    settings = [config for runs in find_parts(reported[0], workspace).members.values() for _, config in runs.values()]
    assert settings == [PredictConfig(batch_windows=8)] * 6  # tests/conftest.py predicts with the default stride


def test_report_without_held_out_part_is_refused_before_anything_is_computed(
    reported: Reported,
    evaluation_members: dict[str, list[Path]],
    evaluation_baseline: Path,
    workspace: Workspace,
) -> None:
    folds = {name: sorted(runs) for name, runs in find_parts(reported[0], workspace).members.items()}
    assert folds == {"good": [0, 1, 2], "poor": [0, 1, 2]}
    report = evaluate(CONFIG, evaluation_members, evaluation_baseline, EXPERIMENT, workspace)
    with pytest.raises(ValueError, match=r"holds no recordings out\. Set split\.test_share=0\.1"):
        find_parts(report, workspace)
    with pytest.raises(ValueError, match=r"holds runs\. Give 'champion', or the directory of a report"):
        find_parts(find_parts(reported[0], workspace).members["good"][0][0], workspace)
