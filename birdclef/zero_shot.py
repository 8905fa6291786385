"""Stage 3, beside the members: what an embedding model's own labels say of the recordings, without any training."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from birdclef.scores.prediction_files import read_own_labels, write_own_labels, write_unviewed_predictions
from cache.config.features import read_features
from cache.folds.table import split_catalogue
from cache.recordings.catalogue_tables import feature_directory
from cache.workspace.artefact import Recipe, artefact_key, read_provenance
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 2
"""Raised by hand when the same split and features give other probabilities."""


def predict_zero_shot(split: Path, workspace: Workspace, catalogue: Path | None = None) -> Path | None:
    """Returns the predictions of an embedding model's own labels; none, if the features have no such model.

    The directory holds the same files as a run's predictions, and `labels.csv`: for each species the model's own label
    of the same name (`match_labels`), empty if it has none. A recording's score is the mean over its windows; a species
    that the model does not know has none.

    Args:
        split: Split directory.
        workspace: Where artefacts lie.
        catalogue: Of the features, if they are others than those that the split was made from.
    """
    own = split_catalogue(split, workspace)
    store = feature_directory(catalogue or own, workspace)
    features = read_features(read_provenance(store.path)["config"])
    if features.kind != "embedding" or not features.score_columns:
        return None
    recipe = Recipe(
        "predictions",
        {"zero_shot": features.model.name},
        {"split": artefact_key(split), "features": artefact_key(store.path)},
        VERSION,
    )
    return workspace.materialise(recipe, lambda staging: _write(split, own, store, staging))


def zero_shot_name(predictions: Path) -> str:
    """Returns whose labels gave the predictions, and for how many species."""
    own_labels = read_own_labels(predictions)["own_label"]
    model = read_provenance(predictions)["config"]["zero_shot"]
    return f"own labels of {model}, {(own_labels != '').sum()} of {len(own_labels)} species"


def match_labels(species: Iterable[Mapping[Any, str]], own_labels: Sequence[str]) -> list[int]:
    """Returns for each species the place of the model's own label of it, or -1.

    Labels are matched by scientific name. For a species without one, its label and its common name are tried, as a
    scientific and as a common name: not with one, since the names of split species move.

    Args:
        species: label, scientific_name and common_name of each.
        own_labels: Scientific name, `_`, common name.
    """
    parts = [label.partition("_") for label in own_labels]
    scientific = {_plain(first): place for place, (first, _, _) in enumerate(parts)}
    common = {_plain(last): place for place, (_, _, last) in enumerate(parts)}
    either = {**common, **scientific}
    places = []
    for one in species:
        if name := _plain(one["scientific_name"]):
            places.append(scientific.get(name, -1))
        else:
            names = _plain(one["label"]), _plain(one["common_name"])
            places.append(next((either[name] for name in names if name in either and name), -1))
    return places


def _plain(name: str) -> str:
    return name.replace("_", " ").strip().lower()


def _write(split: Path, catalogue: Path, store: FeatureDirectory, staging: Path) -> None:
    # Imported here so that predictions found in the workspace do not pay for what they need.
    import time

    import numpy as np

    from birdclef.strips.fold import read_labelled_recordings
    from cache.folds.groups import is_validated
    from cache.front_end.embedding import labels_file
    from cache.models.description import read_labels
    from cache.recordings.catalogue_tables import read_species
    from cache.store.strip_store import StripStore

    started = time.perf_counter()
    recordings = read_labelled_recordings(split, catalogue)
    recordings = recordings[is_validated(recordings["fold"]).to_numpy()]
    own_labels = read_labels(labels_file(store))
    species = read_species(catalogue)
    places = match_labels(species.to_dict(orient="records"), own_labels)
    covered = np.array(places) >= 0
    strips = StripStore(store)
    scores = np.zeros((len(recordings), len(species)), np.float32)
    for row, sha256 in enumerate(recordings["sha256"]):
        mean = strips.read_scores(sha256).mean(axis=0, dtype=np.float32)  # (labels,)
        scores[row, covered] = mean[[place for place in places if place >= 0]]
    shares = scores / np.maximum(scores.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    write_unviewed_predictions(staging, recordings, shares, round(time.perf_counter() - started, 3))
    write_own_labels(staging, species, [own_labels[place] if place >= 0 else "" for place in places])
    logger.info("zero-shot: the model's own labels cover %d of %d species", covered.sum(), len(species))
