"""Stage 3, beside the members: predicts recordings by the own labels of an embedding model, without any training."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from birdclef.scores.prediction_files import read_own_labels, write_own_labels, write_unviewed_predictions
from cache.config.features import read_features
from cache.folds.split_table import split_catalogue
from cache.recordings.catalogue_tables import feature_directory
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key, read_provenance
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

VERSION = 2
"""Raised by hand when the same split and features give other probabilities."""


def predict_zero_shot(split: Path, workspace: Workspace, catalogue: Path | None = None) -> Path | None:
    """Returns the predictions of an embedding model's own labels, or None if the features have no such model.

    The directory holds `probabilities.npy`, `recordings.csv` and `views.csv`, as a run's predictions do, and
    `labels.csv`: for each species the model's own label that `match_labels` finds, or an empty one. The probability of
    a recording is the mean of its windows' scores, scaled to a sum of 1; it is 0 for a species without own label.

    Args:
        split: Split directory.
        workspace: Where artefacts lie.
        catalogue: Catalogue of the embeddings; None: the catalogue that the split was made from.
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
    """Returns a name for the predictions: the model, and the number of species that its own labels cover."""
    own_labels = read_own_labels(predictions)["own_label"]
    model = read_provenance(predictions)["config"]["zero_shot"]
    return f"own labels of {model}, {(own_labels != '').sum()} of {len(own_labels)} species"


def match_labels(species: Iterable[Mapping[Any, str]], own_labels: Sequence[str]) -> list[int]:
    """Returns for each species the place of its own label in the list, or -1 if there is none.

    A species with a scientific name is matched by that name alone. Common names are not tried for it, because a common
    name may move to another species when a species is split. For a species without a scientific name, the label and
    the common name are compared with both names of the own labels.

    Args:
        species: label, scientific_name and common_name of each species.
        own_labels: Own labels of the model, each a scientific name, `_`, and a common name.
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
    # Imported here so that predictions that the workspace holds already cost no import of these.
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
