"""Stage 3, beside the members: out-of-fold predictions of a simple classifier on the same folds, once per split."""

import logging
from pathlib import Path

from cache.artefact import Recipe, artefact_key, find_artefact, materialise, read_provenance

logger = logging.getLogger(__name__)

VERSION = 1
"""Raised by hand when the same split gives other probabilities."""

BASELINE = "logistic regression on log-mel statistics"


def predict_baseline(split: Path, workspace: Path) -> Path:
    """Returns the predictions of logistic regression on each fold's validation recordings.

    The directory holds the same files as a run's predictions.

    Args:
        split: Split directory.
        workspace: Where artefacts lie.
    """
    recipe = Recipe("predictions", {"baseline": BASELINE}, {"split": artefact_key(split)}, VERSION)
    return materialise(workspace, recipe, lambda staging: _write(split, workspace, staging))


def _write(split: Path, workspace: Path, staging: Path) -> None:
    # Imported here so that predictions found in the workspace do not pay for scikit-learn.
    import time

    import numpy as np
    import pandas as pd

    from birdclef.fold import read_labelled_recordings
    from birdclef.logistic import predict_out_of_fold, strip_statistics
    from cache.catalogue import feature_directory, read_species
    from cache.grouping import is_validated
    from cache.store import StripStore

    started = time.perf_counter()
    catalogue = find_artefact(workspace, "catalogues", read_provenance(split)["inputs"]["catalogue"])
    recordings = read_labelled_recordings(split, catalogue)
    store = StripStore(feature_directory(catalogue, workspace))
    statistics = np.stack([strip_statistics(store.read(sha256)) for sha256 in recordings["sha256"]])
    probabilities = predict_out_of_fold(statistics, recordings, len(read_species(catalogue)))
    validated = is_validated(recordings["fold"]).to_numpy()
    np.save(staging / "probabilities.npy", probabilities[validated][np.newaxis])  # (1, recordings, classes)
    recordings.loc[validated, ["recording_id", "label"]].to_csv(staging / "recordings.csv", index=False)
    seconds = round(time.perf_counter() - started, 3)
    pd.DataFrame([{"view": "whole recording", "seconds": seconds}]).to_csv(staging / "views.csv", index=False)
    logger.info("baseline: %s, %d recordings, %.1f s", BASELINE, int(validated.sum()), seconds)
