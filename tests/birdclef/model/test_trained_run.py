"""Runs from elsewhere: what their description may not state, however right the digests are."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from birdclef.config.model import ModelConfig
from birdclef.model.trained_run import load_run
from cache.config.features import LogMelConfig
from cache.workspace.file_format import DamagedArtefactError, OtherFormatError
from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace

FEATURES = LogMelConfig().identity()
DESCRIPTION = {
    "format": 1,
    "species": ["wren", "robin"],
    "features": FEATURES,
    "store": "0123456789abcdef",
    "clip_seconds": 5.0,
    "model": ModelConfig().model_dump(mode="json"),
}


def write_run(folder: Path, description: str) -> Path:
    """Returns a run without weights, with digests that fit."""

    def write(staging: Path) -> None:
        (staging / "model.json").write_text(description)
        (staging / "weights.safetensors").touch()

    return Workspace(folder).materialise(Recipe("runs", {"fold": 0}, {"split": "0"}, 1), write)


def load(folder: Path, description: str) -> None:
    load_run(write_run(folder, description), Workspace(folder), torch.device("cpu"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"clip_seconds": -5}, "clip_seconds=-5 is wrong"),
        ({"clip_seconds": 1e-9}, "clip_seconds=1e-09 is wrong"),
        ({"clip_seconds": []}, r"clip_seconds=\[\] is wrong"),
        ({"clip_seconds": "5"}, "clip_seconds='5' is wrong"),
        ({"clip_seconds": True}, "clip_seconds=True is wrong"),
        ({"clip_seconds": float("nan")}, "it is no JSON .NaN is no JSON value"),
        ({"species": None}, "species=None is wrong"),
        ({"species": []}, r"species=\[\] is wrong"),
        ({"species": ["wren", 1]}, r"species\.1=1 is wrong"),
        ({"store": 0}, "store=0 is wrong"),
        ({"features": True}, "features=True is wrong"),
        ({"features": {**FEATURES, "n_mels": 1_000_000}}, "n_mels=1000000 is wrong"),
        ({"features": {**FEATURES, "n_mels": 200_000}}, "n_mels=200000 is wrong"),
        ({"features": {**FEATURES, "n_fft": 2**40}}, "n_fft=1099511627776 is wrong"),
        ({"features": {**FEATURES, "sample_rate": 10**12}}, "sample_rate=1000000000000 is wrong"),
        ({"model": {"projection_dim": 10**9}}, "projection_dim=1000000000 is wrong"),
    ],
    ids=str,
)
def test_description_that_would_hang_or_end_in_a_traceback_is_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(DamagedArtefactError, match=rf"model\.json is damaged, because .*{told}.*\. Bring the folder"):
        load(tmp_path, json.dumps({**DESCRIPTION, **changes}))


def test_window_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    # 3600 s of 32,000 / 1 frames/s, of 1024 values each: 472 GB in float32
    features = {**FEATURES, "hop_length": 1, "n_mels": 1024}
    with pytest.raises(ValueError, match=r"clip_seconds=3600 makes windows of 115200000 frames .* set clip_seconds=5"):
        load(tmp_path, json.dumps({**DESCRIPTION, "clip_seconds": 3600, "features": features}))


def test_settings_of_another_version_are_told_in_one_sentence(tmp_path: Path) -> None:
    description = json.dumps({**DESCRIPTION, "model": {"heads": 2}})
    with pytest.raises(
        OtherFormatError, match=r"not those of now, because heads=2 is wrong: .* not permitted\. Train "
    ):
        load(tmp_path, description)


def test_nested_brackets_without_end_are_told(tmp_path: Path) -> None:
    with pytest.raises(DamagedArtefactError, match=r"model\.json is damaged, because it is no JSON"):
        load(tmp_path, '{"a":' * 100_000)
