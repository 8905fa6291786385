"""Stage 3, first half: predicts the validation recordings of a run, once for each view."""

import logging
from pathlib import Path
from typing import Any

from birdclef.config.predict import PredictConfig, ViewConfig
from cache.workspace.artefact import Recipe, artefact_key
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 3
"""Raised by hand when the same run and settings give other probabilities."""


def predict(config: PredictConfig, run: Path, workspace: Workspace) -> Path:
    """Returns the predictions of a run on the recordings of its validation fold.

    The directory holds `probabilities.npy` (views, recordings, classes), `recordings.csv`, `views.csv`, and
    `features.npy`: pooled backbone features of each recording in the first view, (recordings, width) float16.
    If another process uses the GPU, the prediction waits.

    Args:
        config: Views, stride, and how windows are combined.
        run: Directory of the run.
        workspace: Where artefacts lie.

    Raises:
        ValueError: If the views do not suit the kind of features.
    """
    recipe = Recipe("predictions", config.identity(), {"run": artefact_key(run)}, VERSION)
    return workspace.materialise(recipe, lambda staging: _write(config, run, workspace, staging))


def _write(config: PredictConfig, run: Path, workspace: Workspace, staging: Path) -> None:
    # Imported here so that predictions that the workspace holds already cost no import of torch.
    from birdclef.devices.gpu_lock import alone_on, gpus_in_use

    with alone_on(gpus_in_use("auto", 1)):
        _predict(config, run, workspace, staging)


def _predict(config: PredictConfig, run: Path, workspace: Workspace, staging: Path) -> None:
    import time

    import numpy as np
    import torch

    from birdclef.config.feature_kind import check_views
    from birdclef.inference.views import View, aggregate_windows, predict_view
    from birdclef.model.trained_run import load_run
    from birdclef.scores.prediction_files import write_features, write_predictions
    from birdclef.strips.fold import read_fold
    from birdclef.strips.residency import load_strips
    from birdclef.strips.windows import plan_windows
    from cache.store.strip_store import StripStore

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = load_run(run, workspace, device)
    check_views(config, trained.features)
    fold = read_fold(workspace.artefact("splits", trained.split), trained.fold, workspace, trained.store)
    strips = load_strips(StripStore(fold.store), fold.validation["sha256"].tolist(), device, "auto")
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
    write_predictions(staging, fold.validation, probabilities, views)
    logger.info("predict: %d recordings, %d windows, %d views", len(strips), len(windows[0]), len(views))


def _describe_view(view: ViewConfig) -> dict[str, Any]:
    bands = f", {view.shift_bands:+d} bands" if view.shift_bands else ""
    return {"view": f"shift {view.shift_seconds:+g} s, gain {view.gain_db:+g} dB{bands}", **view._asdict()}
