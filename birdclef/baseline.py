"""Stage 3: out-of-fold predictions of simple classifiers, on the folds of the members and once per split."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birdclef.config.train import TrainConfig
from birdclef.model.weights_identity import identify_weights
from cache.config.features import read_features
from cache.folds.split_table import split_catalogue
from cache.recordings.catalogue_tables import feature_directory
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key, read_provenance
from cache.workspace.workspace import Workspace

FeaturesOf = Callable[[FeatureDirectory, list[str]], NDArray[np.float32]]

logger = logging.getLogger(__name__)

VERSION = 4
"""Raise this number by hand when the code gives other probabilities for the same split."""

BASELINE = "logistic regression on log-mel statistics"
EMBEDDING_BASELINE = "logistic regression on mean embeddings"
FROZEN_BASELINE = "logistic regression on frozen pretrained features"
_BATCH_WINDOWS = 64


def predict_baseline(split: Path, workspace: Workspace, *, held_out_by: Sequence[int] = ()) -> Path:
    """Returns the directory with logistic regression's predictions of each fold's validation recordings.

    The directory holds the same files as a run's predictions.

    Args:
        split: Split directory.
        workspace: Workspace that holds the artefacts.
        held_out_by: Folds whose regressions predict the held-out recordings instead, by their mean.
    """
    catalogue = split_catalogue(split, workspace)
    features = read_features(read_provenance(feature_directory(catalogue, workspace).path)["config"])
    name, of_strips = (BASELINE, _log_mel_statistics) if features.kind == "log_mel" else (EMBEDDING_BASELINE, _means)
    part = {"part": "held_out", "folds": sorted(held_out_by)} if held_out_by else {}
    recipe = Recipe("predictions", {"baseline": name, **part}, {"split": artefact_key(split)}, VERSION)
    write = partial(_write, name, of_strips, split, workspace, held_out_by=held_out_by)
    return workspace.materialise(recipe, write)


def baseline_name(predictions: Path) -> str:
    """Returns the name of the classifier that made a baseline's predictions."""
    return str(read_provenance(predictions)["config"]["baseline"])


def predict_frozen_baseline(config: TrainConfig, split: Path, workspace: Workspace) -> Path:
    """Returns the directory with the predictions of logistic regression on a member's pretrained backbone features.

    If other work uses the GPU, this waits for it.

    Args:
        config: Settings of the member; its backbone must have pretrained weights.
        split: Split directory.
        workspace: Workspace that holds the artefacts.

    Raises:
        ValueError: If the member's backbone has no pretrained weights.
    """
    model = config.model
    if model.weights == "none":
        raise ValueError(
            f"{model.backbone} has no pretrained weights (model.weights=none), so its features carry no information. "
            "Set model.weights to hub or to the path of a weight file."
        )
    weights, inputs = identify_weights(model.weights)
    identity = {
        "baseline": FROZEN_BASELINE,
        "backbone": model.backbone,
        "weights": weights,
        "normalisation": model.normalisation,
        "clip_seconds": config.clip_seconds,
    }
    recipe = Recipe("predictions", identity, {**inputs, "split": artefact_key(split)}, VERSION)

    def features(store: FeatureDirectory, sha256s: list[str]) -> NDArray[np.float32]:
        return _frozen_features(config, store, sha256s)

    return workspace.materialise(recipe, partial(_write, FROZEN_BASELINE, features, split, workspace, held_out_by=()))


def _means(store: FeatureDirectory, sha256s: list[str]) -> NDArray[np.float32]:
    """Returns the mean embedding of each recording, (recordings, channels)."""
    strips = StripStore(store)
    return np.stack([strips.read(sha256).mean(axis=0, dtype=np.float32) for sha256 in sha256s])


def _log_mel_statistics(store: FeatureDirectory, sha256s: list[str]) -> NDArray[np.float32]:
    from birdclef.baselines.logistic import strip_statistics

    strips = StripStore(store)
    return np.stack([strip_statistics(strips.read(sha256)) for sha256 in sha256s])


def _frozen_features(config: TrainConfig, store: FeatureDirectory, sha256s: list[str]) -> NDArray[np.float32]:
    import torch

    from birdclef.devices.gpu_lock import alone_on, gpus_in_use
    from birdclef.inference.frozen_features import pool_features
    from birdclef.model.network import build_model
    from birdclef.strips.input_statistics import input_statistics
    from birdclef.strips.residency import load_strips

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    features = read_features(read_provenance(store.path)["config"])
    frames = features.count_frames(config.clip_seconds)
    with alone_on(gpus_in_use("auto", 1)):
        strips = load_strips(StripStore(store), sha256s, device, config.residency)
        model = build_model(config.model, 1, strips.channels).to(device).eval()
        model.set_input_statistics(*input_statistics(strips, config.model.normalisation))
        return pool_features(model, strips, frames, _BATCH_WINDOWS)


def _write(
    name: str, features_of: FeaturesOf, split: Path, workspace: Workspace, staging: Path, *, held_out_by: Sequence[int]
) -> None:
    # These imports are here because they are slow, and predictions that exist already do not need them.
    import time

    from birdclef.baselines.logistic import predict_held_out, predict_out_of_fold
    from birdclef.metrics.secondary_species import mark_secondary
    from birdclef.scores.prediction_files import write_unviewed_predictions
    from birdclef.strips.fold import read_labelled_recordings
    from cache.folds.groups import is_held_out, is_validated
    from cache.recordings.catalogue_tables import read_species

    started = time.perf_counter()
    catalogue = split_catalogue(split, workspace)
    recordings = read_labelled_recordings(split, catalogue)
    features = features_of(feature_directory(catalogue, workspace), recordings["sha256"].tolist())
    species = read_species(catalogue)["label"].tolist()
    ignored = mark_secondary(recordings, species)
    if held_out_by:
        predicted = is_held_out(recordings["fold"]).to_numpy()
        probabilities = predict_held_out(features, recordings, held_out_by, len(species), ignored)
    else:
        predicted = is_validated(recordings["fold"]).to_numpy()
        probabilities = predict_out_of_fold(features, recordings, len(species), ignored)[predicted]
    seconds = round(time.perf_counter() - started, 3)
    write_unviewed_predictions(staging, recordings[predicted], probabilities, seconds)
    logger.info("baseline: %s, recordings %d, %.1f s", name, int(predicted.sum()), seconds)
