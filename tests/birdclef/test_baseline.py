"""The baseline of the workspace of tests/conftest.py; expected rows are read from its split."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
from safetensors.torch import save_file

from birdclef.baseline import BASELINE, FROZEN_BASELINE, predict_baseline, predict_frozen_baseline
from birdclef.baselines.logistic import predict_out_of_fold, strip_statistics
from birdclef.config.model import ModelConfig
from birdclef.config.train import TrainConfig
from cache.config.split import SplitConfig
from cache.split import build_split
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace

BesideTraining = Callable[[Callable[[], Path]], Path]


@pytest.fixture
def validated(evaluation_split: Path) -> pd.DataFrame:
    table = pd.read_csv(evaluation_split / "split.csv", dtype=str, keep_default_na=False)
    return table[table["fold"] != "-1"].sort_values("recording_id")


def test_files_are_those_of_a_runs_predictions(evaluation_baseline: Path, validated: pd.DataFrame) -> None:
    assert {path.name for path in evaluation_baseline.iterdir()} == {
        "probabilities.npy",
        "provenance.json",
        "recordings.csv",
        "views.csv",
    }
    recordings = pd.read_csv(evaluation_baseline / "recordings.csv", dtype=str, keep_default_na=False)
    assert recordings["recording_id"].tolist() == validated["recording_id"].tolist()
    assert recordings["label"].tolist() == validated["label"].tolist()
    views = pd.read_csv(evaluation_baseline / "views.csv")
    assert views["view"].tolist() == ["whole recording"]
    assert views["seconds"].min() > 0


def test_each_validated_recording_has_probabilities(evaluation_baseline: Path) -> None:
    probabilities = np.load(evaluation_baseline / "probabilities.npy")
    assert probabilities.shape == (1, 137, 5)
    assert probabilities.dtype == np.float32
    assert probabilities.sum(axis=2) == pytest.approx(np.ones((1, 137)), abs=1e-5)


def test_probabilities_are_the_regressions_on_the_same_strips(
    evaluation_baseline: Path, evaluation_catalogue: Path, evaluation_split: Path, evaluation_workspace: Path
) -> None:
    catalogue = pd.read_csv(evaluation_catalogue / "recordings.csv", dtype=str, keep_default_na=False)
    split = pd.read_csv(evaluation_split / "split.csv", dtype=str, keep_default_na=False)
    table = catalogue.merge(split[["recording_id", "fold", "group"]], on="recording_id").sort_values("recording_id")
    species = ["abbowl", "barwre", "cdove", "d|<i>finch", "eremit"]
    table = table.assign(label_index=table["label"].map(species.index), fold=table["fold"].astype(int))
    (features,) = (evaluation_workspace / "features").iterdir()
    store = StripStore(FeatureDirectory(features))
    statistics = np.stack([strip_statistics(store.read(sha256)) for sha256 in table["sha256"]])
    expected = predict_out_of_fold(statistics, table.reset_index(drop=True), 5)[(table["fold"] != -1).to_numpy()]
    np.testing.assert_allclose(np.load(evaluation_baseline / "probabilities.npy")[0], expected, atol=1e-5)


def test_second_call_does_nothing(
    evaluation_baseline: Path, evaluation_split: Path, evaluation_workspace: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in evaluation_baseline.iterdir()}
    assert predict_baseline(evaluation_split, Workspace(evaluation_workspace)) == evaluation_baseline
    assert {path: path.stat().st_mtime_ns for path in evaluation_baseline.iterdir()} == before


def test_provenance_names_the_baseline_and_its_split(evaluation_baseline: Path, evaluation_split: Path) -> None:
    record = json.loads((evaluation_baseline / "provenance.json").read_text())
    assert record["kind"] == "predictions"
    assert record["config"] == {"baseline": BASELINE}
    assert record["inputs"] == {"split": evaluation_split.name}
    assert record["key"] == evaluation_baseline.name


def test_another_split_has_a_baseline_of_its_own(
    evaluation_baseline: Path, evaluation_catalogue: Path, evaluation_workspace: Path
) -> None:
    other = build_split(SplitConfig(folds=2, seed=3), evaluation_catalogue, Workspace(evaluation_workspace))
    assert predict_baseline(other, Workspace(evaluation_workspace)) != evaluation_baseline


def test_frozen_features_of_a_local_file_are_classified_on_the_same_folds(
    evaluation_split: Path,
    evaluation_workspace: Path,
    validated: pd.DataFrame,
    beside_training: BesideTraining,
    tmp_path: Path,
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet", in_chans=1, num_classes=0).state_dict(), weights)
    config = TrainConfig(model=ModelConfig(backbone="test_resnet", weights=str(weights)), clip_seconds=2)
    predictions = beside_training(
        lambda: predict_frozen_baseline(config, evaluation_split, Workspace(evaluation_workspace))
    )
    provenance = json.loads((predictions / "provenance.json").read_text())
    assert provenance["config"]["baseline"] == FROZEN_BASELINE
    assert provenance["inputs"]["weights"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    recordings = pd.read_csv(predictions / "recordings.csv", dtype=str, keep_default_na=False)
    assert recordings["recording_id"].tolist() == validated["recording_id"].tolist()
    np.testing.assert_allclose(np.load(predictions / "probabilities.npy").sum(axis=2), 1, atol=1e-4)
    other_path = weights.rename(tmp_path / "same.safetensors")
    moved = config.model_copy(update={"model": config.model.model_copy(update={"weights": str(other_path)})})
    assert predict_frozen_baseline(moved, evaluation_split, Workspace(evaluation_workspace)) == predictions


def test_features_of_a_random_backbone_are_refused(evaluation_split: Path, evaluation_workspace: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.weights=none"):
        predict_frozen_baseline(TrainConfig(), evaluation_split, Workspace(evaluation_workspace))
