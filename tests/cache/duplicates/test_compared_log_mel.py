"""Log-mel computed from audio files for a store of embeddings, while files change."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cache.features
from cache.config.data import DataConfig
from cache.config.features import EmbeddingConfig
from cache.features import build_features
from cache.recordings.catalogue_tables import read_duplicates
from cache.workspace.workspace import Workspace

RATE = 8000


def test_file_that_changes_during_the_build_is_not_remembered_under_its_old_hash(
    tmp_path: Path,
    encode_audio: Callable[..., bytes],
    write_dataset: Callable[..., DataConfig],
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(1)
    time = np.arange(8 * RATE) / RATE
    pitch = 500 + 2500 * np.interp(time, np.arange(0, 8.2, 0.12), generator.random(69))
    song = 0.4 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + generator.normal(0, 0.01, len(time))
    audio = {"a/song.wav": encode_audio(song, RATE), "a/copy.wav": encode_audio(0.5 * song[3000:], RATE)}
    data = write_dataset(tmp_path / "data", [{"primary_label": "a", "filename": name} for name in audio], audio)
    features = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model), "workers": 1})
    copy, workspace = tmp_path / "data" / "train_audio" / "a/copy.wav", Workspace(tmp_path / "work")

    def change_and_build(*given: object) -> Path:
        copy.write_bytes(encode_audio(generator.normal(0, 0.1, 5 * RATE), RATE))
        return build_catalogue(*given)

    build_catalogue = cache.features.build_catalogue
    with monkeypatch.context() as patched:
        patched.setattr(cache.features, "build_catalogue", change_and_build)
        with pytest.raises(ValueError, match=r"a/copy\.wav changed .* Run the command again") as caught:
            build_features(data, features, workspace)
    assert hashlib.sha256(audio["a/copy.wav"]).hexdigest() in str(caught.value)
    assert not (workspace.directory / "similarities").exists()

    copy.write_bytes(audio["a/copy.wav"])  # the file that the strips are of
    pairs = read_duplicates(build_features(data, features, workspace))
    assert pairs["similarity"].tolist() == pytest.approx([1.0], abs=0.1)
    (memory,) = (workspace.directory / "similarities").iterdir()
    remembered = pd.read_csv(memory, skiprows=1)  # behind the line with its digest
    assert {*remembered["sha256"], *remembered["other_sha256"]} == {
        hashlib.sha256(content).hexdigest() for content in audio.values()
    }
