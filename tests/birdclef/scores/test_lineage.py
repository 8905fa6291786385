"""Expected directories are those that the fixtures of tests/conftest.py returned."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from birdclef.config.train import TrainConfig
from birdclef.scores.lineage import describe, list_differences, list_embedding_stores, trace
from cache.config.features import EmbeddingConfig, LogMelConfig
from cache.config.split import SplitConfig
from cache.split import build_split
from cache.workspace.workspace import Workspace


def read_record(directory: Path) -> dict:
    return json.loads((directory / "provenance.json").read_text())


def test_predictions_are_traced_to_runs_split_catalogue_and_features(
    evaluation_members: dict[str, list[Path]],
    evaluation_split: Path,
    evaluation_catalogue: Path,
    evaluation_baseline: Path,
    evaluation_workspace: Path,
) -> None:
    predictions = evaluation_members["scratch"]
    lineage = trace(predictions, evaluation_baseline, Workspace(evaluation_workspace))
    (features,) = (evaluation_workspace / "features").iterdir()
    assert lineage.split == evaluation_split
    assert lineage.catalogue == evaluation_catalogue
    assert lineage.features.path == features
    assert [run.name for run in lineage.runs] == [read_record(path)["inputs"]["run"] for path in predictions]
    assert [read_record(run)["config"]["fold"] for run in lineage.runs] == [0, 1, 2]


def test_predictions_from_two_splits_are_refused(
    evaluation_members: dict[str, list[Path]],
    evaluation_catalogue: Path,
    evaluation_baseline: Path,
    evaluation_split: Path,
    evaluation_workspace: Path,
    write_member: Callable[..., list[Path]],
) -> None:
    other = build_split(SplitConfig(folds=3, seed=9), evaluation_catalogue, Workspace(evaluation_workspace))
    stranger = write_member(TrainConfig(folds=(0,)), skill=1.0, split=other)
    keys = sorted([other.name, evaluation_split.name])
    with pytest.raises(ValueError, match=rf"come from 2 different splits \({keys[0]}, {keys[1]}\)"):
        trace([*evaluation_members["scratch"], *stranger], evaluation_baseline, Workspace(evaluation_workspace))
    with pytest.raises(ValueError, match=r"come from 2 different splits .*recordings in another fold \("):
        trace(stranger, evaluation_baseline, Workspace(evaluation_workspace))


def test_description_holds_keys_and_settings_of_everything(
    evaluation_members: dict[str, list[Path]],
    evaluation_split: Path,
    evaluation_catalogue: Path,
    evaluation_baseline: Path,
    evaluation_workspace: Path,
) -> None:
    predictions = [path for paths in evaluation_members.values() for path in paths]
    lineage = trace(predictions, evaluation_baseline, Workspace(evaluation_workspace))
    described = describe(lineage, predictions, Workspace(evaluation_workspace))
    assert described["features"]["key"] == lineage.features.key
    assert described["features"]["config"]["n_mels"] == 16
    assert described["catalogue"]["key"] == evaluation_catalogue.name
    assert described["catalogue"]["config"]["min_seconds"] == 0.5
    assert described["catalogue"]["table"] == read_record(evaluation_catalogue)["inputs"]["table"]
    assert described["split"] == {"key": evaluation_split.name, "config": SplitConfig(folds=3).identity()}
    assert described["predictions"] == [path.name for path in predictions]
    assert [run["config"]["fold"] for run in described["runs"]] == [0, 1, 2, 0, 1, 2]
    assert [run["config"]["seed"] for run in described["runs"]] == [1, 1, 1, 2, 2, 2]
    assert [run["key"] for run in described["runs"]] == [run.name for run in lineage.runs]
    assert [run["seconds"] for run in described["runs"]] == [read_record(run)["seconds"] for run in lineage.runs]
    assert described["packages"]["numpy"] == read_record(lineage.runs[0])["packages"]["numpy"]
    assert described["hardware"]["cores"] >= 1
    json.dumps(described, allow_nan=False)


def test_differences_between_splits_are_counted_and_named() -> None:
    first = pd.DataFrame({"recording_id": list("abcdefgh"), "label": "owl", "fold": [0, 1] * 4})
    other = first.assign(fold=[1, 0, 1, 0, 1, 0, 0, 1])[1:]
    other.loc[7, "label"] = "tit"
    assert list_differences(first, other) == (
        "1 species in only one (tit); 1 recordings in only one (a); 1 recordings under another species (h); "
        "5 recordings in another fold (b, c, d, e, f)"
    )
    many = other.assign(recording_id=[f"x{index}" for index in range(7)], label="owl")
    assert list_differences(first, many).endswith("15 recordings in only one (a, b, c, d, e, ...)")
    assert list_differences(first, first) == ""


@pytest.mark.parametrize("log_mel", [LogMelConfig().identity(), LogMelConfig().model_dump(mode="json")])
def test_embeddings_are_told_from_log_mel_whether_or_not_its_settings_name_the_kind(
    log_mel: dict[str, Any], tiny_model: Path
) -> None:
    embedding = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model)}).identity()
    features, other = {"key": "a", "config": log_mel}, {"key": "b", "config": embedding}
    assert list_embedding_stores({"features": features, "member_features": []}) == []
    assert list_embedding_stores({"features": features, "member_features": [other]}) == [other]
    assert list_embedding_stores({"features": other, "member_features": [features]}) == [other]
