"""What looks after a workspace, called as the command line does, on stores of one recording."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
import yaml

from cache.computing.part import Source, compute_part
from cache.features import open_feature_directory
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace
from flows.command_line.upkeep import verify
from flows.experiment import load_config

FEATURES = {"sample_rate": 8000, "fmax": 4000.0, "n_fft": 512, "hop_length": 256, "n_mels": 8}


def test_verify_checks_the_features_of_every_member_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio = tmp_path / "data" / "train_audio" / "a.wav"
    audio.parent.mkdir(parents=True)
    soundfile.write(audio, np.random.default_rng(0).normal(0, 0.1, 8000), 8000)
    (tmp_path / "data" / "train_metadata.csv").write_text("primary_label,filename\nbird,a.wav\n")
    experiment = {
        "data": {"root": str(tmp_path / "data")},
        "features": FEATURES,
        "member_features": {"fine": {**FEATURES, "n_mels": 16}, "same": {**FEATURES, "workers": 1}},
        "train": {"cnn": {}, "fine": {}, "same": {}},
    }
    path, workspace = tmp_path / "three.yaml", tmp_path / "workspace"
    path.write_text(yaml.safe_dump(experiment))
    loaded = load_config(path)
    stores = []
    for member in ("cnn", "fine"):
        stores.append(open_feature_directory(loaded.features_of(member), Workspace(workspace)).path)
        source = Source(hashlib.sha256(audio.read_bytes()).hexdigest(), str(audio), 1)
        list(compute_part([source], loaded.features_of(member), FeatureDirectory(stores[-1]), {}))

    verify(path, workspace=str(workspace), share=1.0, repair=False)
    assert capsys.readouterr().out.splitlines() == [f"{store} is sound." for store in stores]

    chunk = next(stores[1].glob("parts/*/c/0/0"))
    content = chunk.read_bytes()
    chunk.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(typer.Exit):
        verify(path, workspace=str(workspace), share=1.0, repair=False)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{stores[0]} is sound."
    assert "1 of 1 strips differ from their digest" in told[1]
    assert told[2].startswith(f"{stores[1]} is damaged.")
