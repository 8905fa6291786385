"""Stage 3, first half: out-of-fold probabilities of a run's validation recordings, one set per view."""

import logging
from pathlib import Path

from birdclef.config import PredictConfig
from cache.artefact import Recipe, artefact_key, find_artefact, materialise

logger = logging.getLogger(__name__)

VERSION = 1
"""Raised by hand when the same run and settings give other probabilities."""


def predict(config: PredictConfig, run: Path, workspace: Path) -> Path:
    """Returns the predictions of a run on the recordings of its validation fold.

    The directory holds `probabilities.npy` (views, recordings, classes), `recordings.csv` and `views.csv`.
    """
    recipe = Recipe("predictions", config.identity(), {"run": artefact_key(run)}, VERSION)
    return materialise(workspace, recipe, lambda staging: _write(config, run, workspace, staging))


def _write(config: PredictConfig, run: Path, workspace: Path, staging: Path) -> None:
    # Imported here so that predictions found in the workspace do not pay for torch.
    import time

    import numpy as np
    import pandas as pd
    import torch

    from birdclef.fold import read_fold
    from birdclef.inference import aggregate_windows, plan_windows, predict_view
    from birdclef.residency import load_strips
    from birdclef.weights import load_run
    from cache.store import StripStore

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = load_run(run, device)
    fold = read_fold(find_artefact(workspace, "splits", trained.split), trained.fold, workspace)
    strips = load_strips(StripStore(fold.store), fold.validation["sha256"].tolist(), device, "auto")
    frames = fold.clip_frames(trained.clip_seconds)
    rows, firsts = plan_windows(strips.lengths, frames, fold.clip_frames(config.stride_seconds))
    probabilities, views = [], []
    for shift_seconds in config.shift_seconds:
        shift = round(shift_seconds * fold.features.frames_per_second)
        for gain_db in config.gain_db:
            started = time.perf_counter()
            logits = predict_view(
                trained.model, strips, (rows, firsts + shift), frames, gain_db, config.batch_windows
            )  # (windows, classes)
            probabilities.append(aggregate_windows(logits, rows, len(strips), config.aggregation).numpy())
            seconds = round(time.perf_counter() - started, 3)
            view = f"shift {shift_seconds:+g} s, gain {gain_db:+g} dB"
            views.append({"view": view, "shift_seconds": shift_seconds, "gain_db": gain_db, "seconds": seconds})
    np.save(staging / "probabilities.npy", np.stack(probabilities).astype(np.float32))
    fold.validation[["recording_id", "label"]].to_csv(staging / "recordings.csv", index=False)
    pd.DataFrame(views).to_csv(staging / "views.csv", index=False)
    logger.info("predict: %d recordings, %d windows, %d views", len(strips), len(rows), len(views))
