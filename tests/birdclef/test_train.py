"""Training and prediction as stages, from a generated corpus to predictions, one of them killed for real."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import timm
import torch
from safetensors.torch import load_file, save_file
from scipy.special import softmax

from birdclef.config.augment import AugmentConfig
from birdclef.config.predict import PredictConfig
from birdclef.config.train import TrainConfig
from birdclef.model.trained_run import load_run, save_run
from birdclef.predict import predict
from birdclef.scores.prediction_files import read_recordings
from birdclef.serving.classifier import assemble_classifier
from birdclef.strips.crops import gather_windows
from birdclef.strips.fold import read_fold
from birdclef.strips.residency import load_strips
from birdclef.train import run_recipe, train
from cache.audio.decoded_length import Heard
from cache.background import build_background
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig, read_features
from cache.config.split import SplitConfig
from cache.features import build_features
from cache.folds.split_table import read_split, split_catalogue
from cache.recordings.catalogue_tables import read_catalogue
from cache.split import build_split
from cache.store.strip_store import StripStore
from cache.synth import CorpusPlan, synthesize_corpus
from cache.workspace.file_format import DamagedArtefactError, OtherFormatError
from cache.workspace.keys import Recipe, file_key
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace

BesideTraining = Callable[[Callable[[], Path]], Path]

TRAIN = TrainConfig.model_validate(
    {
        "model": {"backbone": "test_resnet", "projection_hidden": 32, "projection_dim": 16},
        "clip_seconds": 1.0,
        "species_per_batch": 8,
        "recordings_per_species": 2,
        "epochs": 2,
        "steps_per_epoch": 2,
        "accelerator": "cpu",
    }
)
PREDICT = PredictConfig(stride_seconds=0.5)

KILLED_TRAINING = """
import sys
from pathlib import Path
from birdclef.config.train import TrainConfig
from birdclef.train import train
from cache.workspace.workspace import Workspace

train(TrainConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2]), 0, Workspace(Path(sys.argv[3])))
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = CorpusPlan(species=20, recordings=60, min_seconds=1.0, max_seconds=3.0)
    return synthesize_corpus(tmp_path_factory.mktemp("data") / "corpus", plan)


@pytest.fixture(scope="module")
def split(corpus: Path, workspace: Path) -> Path:
    features = LogMelConfig(hop_length=1024, n_mels=32, workers=1)
    catalogue = build_features(DataConfig(root=str(corpus)), features, Workspace(workspace))
    return build_split(SplitConfig(folds=2), catalogue, Workspace(workspace))


@pytest.fixture(scope="module")
def run(split: Path, workspace: Path) -> Path:
    return train(TRAIN, split, 0, Workspace(workspace))


@pytest.fixture(scope="module")
def predictions(run: Path, workspace: Path) -> Path:
    return predict(PREDICT, run, Workspace(workspace))


@pytest.fixture(scope="module")
def background(split: Path, workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a background of two sounds."""
    folder = tmp_path_factory.mktemp("noise")
    for seed, name in enumerate(("wind.wav", "rain.wav")):
        soundfile.write(folder / name, np.random.default_rng(seed).normal(0, 0.1, 64_000), 32_000)
    catalogue = read_provenance(split)["inputs"]["catalogue"]
    store = read_provenance(workspace / "catalogues" / catalogue)["inputs"]["features"]
    features = read_features(read_provenance(workspace / "features" / store)["config"])
    root = folder / "data"
    (root / "train_audio").mkdir(parents=True)
    soundfile.write(root / "train_audio" / "a.wav", np.zeros(100), 32_000)
    (root / "train_metadata.csv").write_text("primary_label,filename\na,a.wav\n")
    return build_background(DataConfig(root=str(root), background=str(folder)), features, Workspace(workspace))


def wait_for(path: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def test_background_is_part_of_the_runs_that_read_it_and_of_no_other(split: Path, background: Path) -> None:
    def recipe(background: Path | None, **augment: float) -> Recipe:
        config = TRAIN.model_copy(update={"augment": AugmentConfig.model_validate(augment)})
        return run_recipe(config, split, 0, background=background)

    plain = recipe(None)
    assert "background" not in plain.inputs
    assert "background_folder_share" not in plain.config["augment"]
    assert recipe(None, background_folder_share=0.1).key == plain.key
    assert recipe(background).inputs["background"] == background.name
    assert len({plain.key, recipe(background).key, recipe(background, background_folder_share=0.1).key}) == 3


@pytest.mark.parametrize("augment", [{"background_probability": 0.0}, {"background_folder_share": 0.0}])
def test_run_that_reads_no_background_is_the_run_without_one(
    split: Path, background: Path, workspace: Path, augment: dict[str, float]
) -> None:
    config = TRAIN.model_copy(update={"augment": AugmentConfig.model_validate(augment), "epochs": 1})
    config = config.model_copy(update={"steps_per_epoch": 1})
    runs = [train(config, split, 0, Workspace(workspace), background=each) for each in (None, background)]
    assert runs[0] == runs[1]


def test_training_with_a_background_gives_other_weights(
    run: Path, split: Path, background: Path, workspace: Path
) -> None:
    noisy = train(TRAIN, split, 0, Workspace(workspace), background=background)
    assert read_provenance(noisy)["inputs"]["background"] == background.name
    first, other = (load_file(path / "weights.safetensors") for path in (run, noisy))
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_run_holds_weights_model_and_logs(run: Path, workspace: Path) -> None:
    assert [path.name for path in (workspace / ".staging").iterdir() if path.is_dir()] == []  # no checkpoints
    assert {path.name for path in run.iterdir()} == {
        "logs",
        "model.json",
        "provenance.json",
        "summary.json",
        "weights.safetensors",
    }
    summary = json.loads((run / "summary.json").read_text())
    assert summary["weights"] == "none"
    assert summary["parameters"] == sum(
        value.numel() for value in load_run(run, Workspace.containing(run), torch.device("cpu")).model.parameters()
    )


def test_a_finished_run_is_found_again(run: Path, split: Path, workspace: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert train(TRAIN, split, 0, Workspace(workspace)) == run
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_what_only_says_where_to_train_does_not_change_the_run(split: Path) -> None:
    elsewhere = TRAIN.model_copy(update={"accelerator": "gpu", "residency": "host", "folds": (0,)})
    assert run_recipe(elsewhere, split, 0).key == run_recipe(TRAIN, split, 0).key
    faster = TRAIN.model_copy(update={"learning_rate": 1.0})
    assert run_recipe(faster, split, 0).key != run_recipe(TRAIN, split, 0).key
    assert run_recipe(TRAIN, split, 1).key != run_recipe(TRAIN, split, 0).key


@pytest.mark.soak
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(split: Path, workspace: Path) -> None:
    config = TRAIN.model_copy(update={"epochs": 12, "seed": 5})
    unbroken = train(config, split, 0, Workspace(workspace))
    elsewhere = workspace.with_name("killed")
    elsewhere.mkdir()
    for kind in ("features", "catalogues", "splits"):
        (elsewhere / kind).symlink_to(workspace / kind)
    arguments = [sys.executable, "-c", KILLED_TRAINING, config.model_dump_json(), str(split), str(elsewhere)]
    process = subprocess.Popen(arguments, start_new_session=True, stderr=subprocess.DEVNULL)
    staging = elsewhere / ".staging" / f"runs-{unbroken.name}"
    wait_for(staging / "checkpoints" / "last.ckpt", 120)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (elsewhere / "runs").exists()

    resumed = train(config, split, 0, Workspace(elsewhere))
    assert resumed.name == unbroken.name
    assert not staging.exists()
    assert (resumed / "weights.safetensors").read_bytes() == (unbroken / "weights.safetensors").read_bytes()


def test_a_local_weight_file_counts_by_content(split: Path, tmp_path: Path) -> None:
    backbone = timm.create_model("test_resnet", in_chans=3, num_classes=10)
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    state = {name: value.contiguous() for name, value in backbone.state_dict().items()}
    for path in paths[:2]:
        save_file(state, path)
    save_file({**state, "conv1.0.weight": state["conv1.0.weight"] + 1}, paths[2])
    keys = []
    for path in paths:
        model = TRAIN.model.model_copy(update={"weights": str(path)})
        keys.append(run_recipe(TRAIN.model_copy(update={"model": model}), split, 0).key)
    assert keys[0] == keys[1] != keys[2]


def test_training_starts_from_a_local_weight_file(split: Path, workspace: Path, tmp_path: Path) -> None:
    backbone = timm.create_model("test_resnet", in_chans=1, num_classes=0)
    save_file({name: value.contiguous() for name, value in backbone.state_dict().items()}, tmp_path / "w.safetensors")
    model = TRAIN.model.model_copy(update={"weights": str(tmp_path / "w.safetensors"), "frozen_stages": 1})
    run = train(TRAIN.model_copy(update={"model": model, "ema_decay": 0.0}), split, 0, Workspace(workspace))
    stem = load_file(run / "weights.safetensors")["backbone.conv1.0.weight"]
    assert torch.equal(stem, backbone.state_dict()["conv1.0.weight"])
    assert json.loads((run / "summary.json").read_text())["weights"] == "local"


def test_a_missing_weight_file_is_named_before_anything_is_trained(split: Path, workspace: Path) -> None:
    model = TRAIN.model.model_copy(update={"weights": "nowhere.safetensors"})
    with pytest.raises(FileNotFoundError, match=r"model\.weights=nowhere\.safetensors is no file"):
        train(TRAIN.model_copy(update={"model": model}), split, 0, Workspace(workspace))


def test_a_loaded_run_knows_species_features_and_fold(run: Path, split: Path, workspace: Path) -> None:
    trained = load_run(run, Workspace.containing(run), torch.device("cpu"))
    fold = read_fold(split, 0, Workspace(workspace))
    assert trained.species == fold.species == sorted(fold.species)
    assert trained.features == fold.features
    assert (trained.clip_seconds, trained.fold, trained.split) == (1.0, 0, split.name)
    assert not trained.model.training
    weights = load_file(run / "weights.safetensors")
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_weights_of_a_run_are_those_of_the_model_in_its_checkpoint(
    split: Path, workspace: Path, tmp_path: Path
) -> None:
    state = {"model.a.weight": torch.eye(3), "model.b": torch.arange(4.0), "objective.c": torch.ones(2)}
    torch.save({"state_dict": state, "global_step": 7}, tmp_path / "last.ckpt")
    save_run(tmp_path / "last.ckpt", read_fold(split, 0, Workspace(workspace)), TRAIN, tmp_path)
    weights = load_file(tmp_path / "weights.safetensors")
    assert {name: value.tolist() for name, value in weights.items()} == {
        "a.weight": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "b": [0, 1, 2, 3],
    }


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_damaged_run_is_not_loaded(run: Path, tmp_path: Path, name: str) -> None:
    torn = shutil.copytree(run, tmp_path / "runs" / run.name)
    (torn / name).write_bytes(bytes((torn / name).stat().st_size))
    with pytest.raises(DamagedArtefactError, match=f"{torn} is damaged: {name} is not what was published there"):
        load_run(torn, Workspace.containing(torn), torch.device("cpu"))


def test_a_run_of_an_older_version_is_refused_with_what_to_do(run: Path, tmp_path: Path) -> None:
    old = shutil.copytree(run, tmp_path / "runs" / run.name)
    description = json.loads((old / "model.json").read_text())
    assert description["format"] == 1
    del description["format"], description["store"]  # as last week's version wrote it
    (old / "model.json").write_text(json.dumps(description))
    provenance = read_provenance(old)
    provenance["files"]["model.json"] = file_key(old / "model.json")
    (old / "provenance.json").write_text(json.dumps(provenance))
    told = (
        f"An older version of birdclef wrote {old}/model.json: it has format 0, .*Train this model again in a new work"
    )
    with pytest.raises(OtherFormatError, match=told):
        load_run(old, Workspace.containing(old), torch.device("cpu"))


def test_predictions_cover_the_validation_fold_alone(predictions: Path, split: Path) -> None:
    recordings = pd.read_csv(predictions / "recordings.csv")
    folds = read_split(split)
    assert recordings["recording_id"].tolist() == folds.loc[folds["fold"] == 0, "recording_id"].tolist()
    probabilities = np.load(predictions / "probabilities.npy")
    assert probabilities.shape == (1, len(recordings), 20)
    assert probabilities.sum(axis=2) == pytest.approx(1.0, abs=1e-5)


def test_prediction_waits_for_the_gpu(run: Path, workspace: Path, beside_training: BesideTraining) -> None:
    predictions = beside_training(
        lambda: predict(PREDICT.model_copy(update={"stride_seconds": 0.8}), run, Workspace(workspace))
    )
    assert (predictions / "probabilities.npy").is_file()


def test_predictions_are_the_mean_of_window_logits(predictions: Path, run: Path, split: Path, workspace: Path) -> None:
    trained = load_run(run, Workspace.containing(run), torch.device("cpu"))
    fold = read_fold(split, 0, Workspace(workspace))
    strips = load_strips(StripStore(fold.store), fold.validation["sha256"].tolist(), torch.device("cpu"), "host")
    frames, stride = 31, 15.625  # 1 s and 0.5 s at 31.25 frames per second
    probabilities = np.load(predictions / "probabilities.npy")[0]
    for row, length in enumerate(strips.lengths.tolist()):
        last = max(length - frames, 0)
        starts = [round(number * stride) for number in range(99)]
        firsts = torch.tensor([*(first for first in starts if first < last), last])
        windows = gather_windows(strips, torch.full_like(firsts, row), firsts, frames)
        with torch.inference_mode():
            expected = trained.model(windows).mean(dim=0).softmax(dim=0)
        assert probabilities[row] == pytest.approx(expected.numpy(), abs=1e-5)


def test_gain_that_changes_nothing_costs_no_pass(run: Path, workspace: Path) -> None:
    with pytest.raises(ValueError, match=r"predict\.gain_db=\[0\.0, 6\.0\] changes nothing, because .*band_median"):
        predict(PREDICT.model_copy(update={"gain_db": (0.0, 6.0)}), run, Workspace(workspace))


def test_each_shift_in_time_and_bands_is_a_view(run: Path, workspace: Path, predictions: Path) -> None:
    config = PREDICT.model_copy(update={"shift_seconds": (0.0, 0.25), "shift_bands": (0, 1)})
    directory = predict(config, run, Workspace(workspace))
    views = pd.read_csv(directory / "views.csv")
    assert views[["shift_seconds", "shift_bands"]].to_numpy().tolist() == [[0, 0], [0, 1], [0.25, 0], [0.25, 1]]
    probabilities = np.load(directory / "probabilities.npy")
    assert np.array_equal(probabilities[0], np.load(predictions / "probabilities.npy")[0])
    assert not np.allclose(probabilities[0], probabilities[2])


def test_the_batch_size_changes_neither_key_nor_prediction(run: Path, workspace: Path, predictions: Path) -> None:
    alone = PREDICT.model_copy(update={"batch_windows": 1})
    assert predict(alone, run, Workspace(workspace)) == predictions
    assert predict(PREDICT.model_copy(update={"stride_seconds": 1.0}), run, Workspace(workspace)) != predictions
    assert read_provenance(predictions)["inputs"] == {"run": run.name}


@pytest.mark.parametrize(("shift_seconds", "shift_bands"), [(0.0, 0), (0.3, 1), (-0.3, 0)])
def test_new_recordings_are_predicted_as_cached_ones(
    corpus: Path, run: Path, split: Path, workspace: Path, shift_seconds: float, shift_bands: int
) -> None:
    opened = Workspace(workspace)
    settings = PredictConfig(stride_seconds=1.0, shift_seconds=(shift_seconds,), shift_bands=(shift_bands,))
    cached = predict(settings, run, opened)
    trained = load_run(run, opened, torch.device("cpu"))
    classifier = assemble_classifier({"run": [trained]}, settings, "mean", np.ones(1), 1.0, np.full(20, 0.5))
    frames = read_catalogue(split_catalogue(split, opened)).set_index("recording_id")["frames"]
    compared = 0
    for name, found in zip(
        read_recordings(cached)["recording_id"], np.load(cached / "probabilities.npy")[0], strict=True
    ):
        rest = (frames[name] - 31) % 31.25
        if 0 < rest < 4:  # a new recording has no window for so short a rest
            continue
        windows = np.stack([window for _, window in classifier.classify(corpus / "train_audio" / name, Heard())])
        together = softmax(np.log(windows).mean(axis=0))  # the mean of logits is that of log probabilities
        assert found == pytest.approx(together, abs=2e-3)  # cached strips are float16
        compared += 1
    assert compared > 10


def test_held_out_recordings_are_predicted_by_every_model(corpus: Path, split: Path, workspace: Path) -> None:
    opened = Workspace(workspace)
    held_out = build_split(SplitConfig(folds=2, test_share=0.25), split_catalogue(split, opened), opened)
    quick = TRAIN.model_copy(update={"epochs": 1, "steps_per_epoch": 1})
    found = [predict(PREDICT, train(quick, held_out, fold, opened), opened, held_out=True) for fold in (0, 1)]
    table = read_split(held_out)
    for predictions in found:
        names = read_recordings(predictions)["recording_id"].tolist()
        assert names == sorted(table.loc[table["fold"] == -2, "recording_id"])
        assert len(names) > 5
    first, second = (np.load(predictions / "probabilities.npy") for predictions in found)
    assert not np.allclose(first, second)
