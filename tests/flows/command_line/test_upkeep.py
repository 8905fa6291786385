"""What looks after a workspace, called as the command line does, on stores of one or two recordings."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
import yaml

from cache.background import build_background, list_copies
from cache.computing.part import Source, compute_part
from cache.features import build_features, feature_recipe, open_feature_directory
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace
from flows.command_line.upkeep import verify
from flows.experiment import load_config

FEATURES = {"sample_rate": 8000, "fmax": 4000.0, "n_fft": 512, "hop_length": 256, "n_mels": 8}


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache.plots.data_set.plot_catalogue", lambda *_: b"")  # takes most of the time of a build


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
    told = capsys.readouterr().out.splitlines()
    assert told[:-1] == [f"{store} is sound." for store in stores]
    assert told[-1] == f"All artefacts in {workspace} are sound."

    chunk = next(stores[1].glob("parts/*/c/0/0"))
    content = chunk.read_bytes()
    chunk.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(typer.Exit):
        verify(path, workspace=str(workspace), share=1.0, repair=False)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{stores[0]} is sound."
    assert "1 of 1 strips differ from their digest" in told[1]
    assert told[2].startswith(f"{stores[1]} is damaged.")


@dataclass(frozen=True)
class Noisy:
    """A built experiment with noise, and the fragments of the stores that `birdclef verify` checks."""

    experiment: Path
    workspace: Path
    fragments: dict[str, list[Path]]

    def tear(self, store: str) -> Path:
        """Cut the first index fragment of a store off; returns its path."""
        fragment = self.fragments[store][0]
        fragment.write_text(fragment.read_text()[:40])
        return fragment

    def read(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for paths in self.fragments.values() for path in paths}

    def verify(self, *, repair: bool) -> None:
        verify(self.experiment, workspace=str(self.workspace), share=1.0, repair=repair)


@pytest.fixture
def noisy(tmp_path: Path, tiny_model: Path) -> Noisy:
    """Embeddings of two recordings and of one file of noise, and of a noisy copy of the recordings."""
    for number, name in enumerate(("data/train_audio/a.wav", "data/train_audio/b.wav", "noise/wind.wav")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, np.random.default_rng(number).normal(0, 0.1, 12_000), 8000)
    (tmp_path / "data" / "train_metadata.csv").write_text("primary_label,filename\nx,a.wav\ny,b.wav\n")
    experiment = {
        "data": {"root": str(tmp_path / "data"), "background": str(tmp_path / "noise")},
        "features": {"kind": "embedding", "model": str(tiny_model), "background_variants": 1, "workers": 1},
        "train": {
            "head": {"model": {"backbone": "mean_pool", "normalisation": "channel"}, "augment": {"noise_share": 0.2}}
        },
    }
    path, workspace = tmp_path / "noisy.yaml", Workspace(tmp_path / "workspace")
    path.write_text(yaml.safe_dump(experiment))
    loaded = load_config(path)
    build_features(loaded.data, loaded.features, workspace)
    build_background(loaded.data, loaded.features, workspace)
    (copy,) = list_copies(loaded.data, loaded.features, workspace)
    index = {
        name: workspace.feature_directory(feature_recipe(features).key).path / "index"
        for name, features in {"clean": loaded.features, "copy": copy}.items()
    }
    return Noisy(path, workspace.directory, {name: sorted(folder.iterdir()) for name, folder in index.items()})


def test_verify_repairs_torn_fragments_of_embeddings_and_of_their_noisy_copies(
    noisy: Noisy, capsys: pytest.CaptureFixture[str]
) -> None:
    before = noisy.read()
    torn = [noisy.tear(store) for store in ("clean", "copy")]
    with pytest.raises(typer.Exit):
        noisy.verify(repair=False)
    told = capsys.readouterr().out
    assert f"part {torn[0].stem}: the index fragment cannot be read" in told
    assert "noisy copies were not checked" in told
    noisy.verify(repair=True)
    told = capsys.readouterr().out
    assert all(f"part {fragment.stem}: the index fragment cannot be read" in told for fragment in torn)
    assert noisy.read() == before
    noisy.verify(repair=False)
    assert capsys.readouterr().out.count("is sound.") == 2


@dataclass(frozen=True)
class Shared:
    """An experiment with the recording a.wav, whose part also holds the strip of b.wav, of another data set."""

    experiment: Path
    workspace: Path
    store: Path

    def flip_bytes(self) -> None:
        """Change every value of both strips."""
        chunk = next(self.store.glob("parts/*/c/0/0"))
        chunk.write_bytes(bytes(byte ^ 1 for byte in chunk.read_bytes()))

    def verify(self, *, repair: bool) -> None:
        verify(self.experiment, workspace=str(self.workspace), share=1.0, repair=repair)


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    folder, sources = tmp_path / "data" / "train_audio", []
    folder.mkdir(parents=True)
    for number, path in enumerate((folder / "a.wav", tmp_path / "b.wav")):
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, 8000), 8000)
        sources.append(Source(hashlib.sha256(path.read_bytes()).hexdigest(), str(path), 1))
    (tmp_path / "data" / "train_metadata.csv").write_text("primary_label,filename\nbird,a.wav\n")
    experiment = {"data": {"root": str(tmp_path / "data")}, "features": FEATURES, "train": {"cnn": {}}}
    path, workspace = tmp_path / "one.yaml", tmp_path / "workspace"
    path.write_text(yaml.safe_dump(experiment))
    loaded = load_config(path)
    store = open_feature_directory(loaded.features, Workspace(workspace))
    list(compute_part(sources, loaded.features, store, {}))
    build_features(loaded.data, loaded.features, Workspace(workspace))  # remembers the hash of the audio
    return Shared(path, workspace, store.path)


def test_verify_fails_once_if_a_strip_of_another_data_set_is_lost(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    shared.flip_bytes()
    with pytest.raises(typer.Exit) as ended:
        shared.verify(repair=True)
    assert ended.value.exit_code == 1
    told = capsys.readouterr().out
    assert "2 of 2 strips differ from their digest" in told
    assert "1 strips of another data set were lost" in told
    shared.verify(repair=True)
    assert f"{shared.store} is sound.\n" in capsys.readouterr().out


def test_verify_calls_no_part_damaged_if_only_audio_has_changed(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = shared.experiment.parent / "data" / "train_audio" / "a.wav"
    made = audio.stat()
    soundfile.write(audio, np.random.default_rng(9).normal(0, 0.1, 8000), 8000)
    os.utime(audio, ns=(made.st_atime_ns, made.st_mtime_ns))
    with pytest.raises(typer.Exit):
        shared.verify(repair=False)
    told = capsys.readouterr().out
    assert "a.wav: the audio changed" in told
    assert "is not damaged" in told
    assert "parts" not in told.replace(str(shared.store), "")
    shared.verify(repair=True)
    told = capsys.readouterr().out
    assert "the changed audio files above were computed again" in told
    assert "parts" not in told.replace(str(shared.store), "")
