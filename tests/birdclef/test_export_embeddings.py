"""An exported head on embeddings, with its embedding model beside it, against the run that it was made from."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from birdclef.config.augment import EmbeddingAugmentConfig
from birdclef.config.model import ModelConfig
from birdclef.config.predict import PredictConfig
from birdclef.config.train import TrainConfig
from birdclef.export import export_onnx
from birdclef.model.network import build_model
from birdclef.model.trained_run import load_run
from birdclef.predict_recordings import predict_recordings
from birdclef.serving.classifier import load_classifier
from birdclef.serving.ensemble_classifier import EnsembleClassifier
from birdclef.serving.onnx_classifier import OnnxClassifier
from cache.audio.decoded_length import Heard
from cache.config.features import EmbeddingConfig
from cache.features import open_feature_directory
from cache.front_end import embedding
from cache.recordings.catalogue_tables import read_species
from cache.workspace.keys import Recipe, file_key
from cache.workspace.mirror import Mirror
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace


@pytest.fixture(scope="module", params=["mean_pool", "attention_pool"])
def run(
    request: pytest.FixtureRequest,
    tiny_model: Path,
    evaluation_split: Path,
    evaluation_catalogue: Path,
    evaluation_workspace: Path,
) -> Iterator[Path]:
    """An untrained run with opinions on two seconds: four windows of the tiny model."""
    features = EmbeddingConfig(kind="embedding", model=str(tiny_model))  # type: ignore[arg-type]
    store = open_feature_directory(features, Workspace(evaluation_workspace)).path
    model = ModelConfig(backbone=request.param, normalisation="channel", pool_hidden=16, projection_hidden=8)
    config = TrainConfig(model=model, augment=EmbeddingAugmentConfig(), clip_seconds=2.0)
    species = read_species(evaluation_catalogue)["label"].tolist()

    def write(staging: Path) -> None:
        torch.manual_seed(0)
        built = build_model(model, len(species), features.channels)
        torch.nn.init.normal_(built.classifier.weight, std=2.0)
        built.set_input_statistics(torch.full((4, 1), 0.2), torch.tensor([[0.1], [0.2], [0.3], [0.4]]))
        weights = {name: value.contiguous() for name, value in built.state_dict().items()}
        save_file(weights, staging / "weights.safetensors")
        description = {
            "species": species,
            "features": features.identity(),
            "store": store.name,
            "clip_seconds": 2.0,
            "model": model.model_dump(mode="json"),
        }
        (staging / "model.json").write_text(json.dumps(description))
        (staging / "logs").mkdir()
        (staging / "logs" / "metrics.csv").write_text("epoch,val_macro_f1,val_accuracy\n0,0.75,0.5\n")

    recipe = Recipe("runs", {**config.identity(), "fold": 1}, {"split": artefact_key(evaluation_split)}, 99)
    yield Workspace(evaluation_workspace).materialise(recipe, write)
    shutil.rmtree(store)  # the workspace is shared, and has one store


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "head.onnx"
    assert export_onnx(run, path) < 1e-4
    return path


def write_recording(folder: Path) -> Path:
    """Returns a file of seven seconds, each of another loudness."""
    loudness = np.repeat([0.1, 0.9, 0.4, 0.0, 0.6, 0.3, 0.8], 8000)
    sound = (loudness * np.random.default_rng(1).uniform(-1, 1, len(loudness))).astype(np.float32)
    soundfile.write(folder / "a.wav", sound, 8000)
    return folder / "a.wav"


def judge(source: Path, recording: Path) -> Sequence[tuple[float, list[float]]]:
    return [
        (window.start, probabilities.tolist())
        for window, probabilities in load_classifier(source).classify(recording, Heard())
    ]


def test_file_judges_recordings_as_its_run_does(run: Path, exported: Path, tmp_path: Path) -> None:
    onnx.checker.check_model(onnx.load(exported), full_check=True)
    assert isinstance(load_classifier(exported), OnnxClassifier)
    recording = write_recording(tmp_path)
    own, librarys = judge(exported, recording), judge(run, recording)
    # the last window of two seconds is moved inwards, so that it is whole
    assert [start for start, _ in own] == [start for start, _ in librarys] == pytest.approx([0.0, 2.0, 4.0, 5.0])
    for (_, ours), (_, theirs) in zip(own, librarys, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert np.ptp([probabilities for _, probabilities in own], axis=0).max() > 1e-2  # windows differ


def test_run_at_a_url_judges_alike_on_a_machine_that_did_not_build_its_store(
    run: Path, tmp_path: Path, bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = write_recording(tmp_path)
    here, store = judge(run, recording), load_run(run, Workspace.containing(run), torch.device("cpu")).store.path
    first = Mirror(run.parent.parent, bucket_url)
    for artefact in (run, store):
        first.send(artefact, artefact)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))
    second = Workspace.open(first.url)
    monkeypatch.setattr(embedding, "loaded", {})
    assert judge(second.artefact("runs", run.name), recording) == here
    assert (second.directory / "features" / store.name / "model.onnx").is_file()


def test_report_predicts_with_as_few_windows_at_once_as_its_experiment(run: Path) -> None:
    workspace = Workspace.containing(run)
    predictions = workspace.materialise(
        Recipe("predictions", PredictConfig().identity(), {"run": artefact_key(run)}, 99), lambda _: None
    )
    content = {
        "format": 1,
        "members": [{"name": "head"}],
        "ensemble": {"method": "mean", "weights": {"head": 1.0}},
        "calibration": {"temperature": 1.0},
        "per_species": [{"threshold": 0.5}] * 5,
    }

    def write(staging: Path) -> None:
        (staging / "report.json").write_text(json.dumps(content))
        (staging / "experiment.yaml").write_text("predict: {batch_windows: 3}\n")

    report = workspace.materialise(Recipe("reports", {}, {"head/0": artefact_key(predictions)}, 99), write)
    classifier = load_classifier(report)
    assert isinstance(classifier, EnsembleClassifier)
    assert classifier.batch_windows == 3
    for made in (report, predictions):  # the workspace is shared
        shutil.rmtree(made)


def test_run_whose_windows_end_between_two_embeddings_is_refused(run: Path, tmp_path: Path) -> None:
    odd = tmp_path / "runs" / run.name
    shutil.copytree(run, odd)
    description = json.loads((odd / "model.json").read_text())
    (odd / "model.json").write_text(json.dumps({**description, "clip_seconds": 1.25}))
    provenance = json.loads((odd / "provenance.json").read_text())
    provenance["files"]["model.json"] = file_key(odd / "model.json")
    (odd / "provenance.json").write_text(json.dumps(provenance))
    for use in (load_classifier, lambda run: export_onnx(run, tmp_path / "odd.onnx")):
        with pytest.raises(ValueError, match=r"clip_seconds=1\.25 is not a multiple of the stride\. Tiny"):
            use(odd)


def test_folder_is_predicted_whatever_one_recording_in_it_makes_of_the_model(run: Path, tmp_path: Path) -> None:
    good, loud = write_recording(tmp_path), tmp_path / "0.wav"
    soundfile.write(loud, 1e9 * soundfile.read(good)[0], 8000, subtype="FLOAT")
    outcome = predict_recordings(load_classifier(run), [loud, good], tmp_path / "rows.csv")
    assert (outcome.recordings, list(outcome.failures)) == (1, [loud])
    assert "Tiny gives values up to" in outcome.failures[loud]
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["row_id", "a_2", "a_4", "a_6", "a_8"]


def test_embedding_model_lies_beside_the_file_with_its_licence_in_the_card(
    run: Path, exported: Path, tiny_model: Path
) -> None:
    copied = exported.with_name("head.embedding") / "model.onnx"
    digest = file_key(tiny_model.with_name("tiny.onnx"))
    assert file_key(copied) == digest
    card = exported.with_name("head.onnx.md").read_text()
    assert card.startswith(f"# Model card: birdclef run {run.name}\n")
    assert "**Others made Tiny, and its weights have the licence CC0.**" in card
    assert f"`head.embedding`, with sha256 {digest}" in card
    assert "an embedding of 1 s every 0.5 s" in card
    assert "Input `embeddings` (batch, 4, 4)" in card
    assert "trained from scratch" not in card


def test_file_without_its_embedding_model_is_refused(exported: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "head.onnx"
    lonely.write_bytes(exported.read_bytes())
    with pytest.raises(FileNotFoundError, match=r"head\.embedding: no such folder\. .* needs the embedding model Tiny"):
        load_classifier(lonely)
