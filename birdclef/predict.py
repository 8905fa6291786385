"""Stage 3, first half: predicts the validation or held-out recordings of a run, once for each view."""

import logging
from pathlib import Path
from typing import Any

from birdclef.config.predict import PredictConfig, ViewConfig
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 3
"""Raised by hand when the same run and settings give other probabilities."""


def predict(config: PredictConfig, run: Path, workspace: Workspace, *, held_out: bool = False) -> Path:
    """Returns the predictions of a run on the recordings of its validation fold, or on those that its split holds out.

    The directory holds `probabilities.npy` (views, recordings, classes), `recordings.csv`, `views.csv`, and
    `features.npy`: pooled backbone features of each recording in the first view, (recordings, width) float16.
    If another process uses the GPU, the prediction waits.

    Args:
        config: Views, stride, and how windows are combined.
        run: Directory of the run.
        workspace: Where artefacts lie.
        held_out: Whether the held-out recordings are predicted, and not those of the validation fold.

    Raises:
        ValueError: If the views do not suit the kind of features, or change nothing.
    """
    part = {"part": "held_out"} if held_out else {}
    recipe = Recipe("predictions", {**config.identity(), **part}, {"run": artefact_key(run)}, VERSION)
    return workspace.materialise(recipe, lambda staging: _write(config, run, workspace, staging, held_out=held_out))


def _write(config: PredictConfig, run: Path, workspace: Workspace, staging: Path, *, held_out: bool) -> None:
    # Imported here so that predictions that the workspace holds already cost no import of torch.
    from birdclef.devices.gpu_lock import alone_on, gpus_in_use

    with alone_on(gpus_in_use("auto", 1)):
        _predict(config, run, workspace, staging, held_out=held_out)


def _predict(config: PredictConfig, run: Path, workspace: Workspace, staging: Path, *, held_out: bool) -> None:
    import time

    import numpy as np
    import torch

    from birdclef.config.feature_kind import check_views
    from birdclef.inference.views import View, aggregate_windows, predict_view
    from birdclef.model.trained_run import load_run
    from birdclef.scores.prediction_files import write_features, write_predictions
    from birdclef.strips.fold import read_fold, read_held_out
    from birdclef.strips.residency import load_strips
    from birdclef.strips.windows import plan_windows
    from cache.folds.split_table import split_catalogue
    from cache.store.strip_store import StripStore

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = load_run(run, workspace, device)
    check_views(config, trained.features, trained.model.normalisation)
    split = workspace.artefact("splits", trained.split)
    fold = read_fold(split, trained.fold, workspace, trained.store)
    recordings = read_held_out(split, split_catalogue(split, workspace)) if held_out else fold.validation
    strips = load_strips(StripStore(fold.store), recordings["sha256"].tolist(), device, "auto")
    frames = fold.features.count_frames(trained.clip_seconds)
    windows = plan_windows(strips.lengths, frames, config.stride_seconds * fold.features.frames_per_second)
    probabilities: list[np.ndarray] = []
    views: list[dict[str, Any]] = []
    for view_config in config.views():
        started = time.perf_counter()
        view = View.planned(view_config, fold.features.frames_per_second)
        output = predict_view(trained.model, strips, windows, frames, view, config.batch_windows)
        probabilities.append(aggregate_windows(output.logits, windows[0], len(strips), config.aggregation).numpy())
        if not views:
            write_features(staging, output.features.numpy())
        cost = {"windows": len(output.logits), "seconds": round(time.perf_counter() - started, 3)}
        views.append({**_describe_view(view_config), **cost})
    write_predictions(staging, recordings, probabilities, views)
    logger.info("predict: recordings %d, windows %d, views %d", len(strips), len(windows[0]), len(views))


def _describe_view(view: ViewConfig) -> dict[str, Any]:
    bands = f", {view.shift_bands:+d} bands" if view.shift_bands else ""
    return {"view": f"shift {view.shift_seconds:+g} s, gain {view.gain_db:+g} dB{bands}", **view._asdict()}
