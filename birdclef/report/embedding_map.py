"""Maps recordings to a plane, so that recordings with similar features lie together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE

from birdclef.metrics.classification import Floats
from birdclef.scores.prediction_files import open_features, read_recordings

_PERPLEXITY = 30.0
FEWEST_SPECIES, FEWEST_RECORDINGS = 3, 3
"""Fewest species of a fold that must have at least so many recordings, so that a map can show species together."""


@dataclass(frozen=True)
class FoldMap:
    """Map of the validation recordings of one fold, by the features of the fold's own model.

    Attributes:
        fold: Number of the fold.
        labels: Label of each recording.
        places: Place of each recording on the map, (recordings, 2).
    """

    fold: int
    labels: list[str]
    places: Floats


def map_embeddings(predictions: Sequence[Path], folds: Sequence[int], most: int, seed: int) -> list[FoldMap]:
    """Returns a map of each fold in which enough species have several recordings.

    Maps are made by t-SNE (van der Maaten and Hinton 2008) from pooled backbone features. Each fold has its own
    model, so features of different folds cannot be compared.

    Args:
        predictions: Prediction directories of one member.
        folds: Fold of each directory.
        most: Most recordings over all folds; if there are more, a random part of each fold is shown.
        seed: Seed of the random choice and of t-SNE.
    """
    features_of = [open_features(path) for path in predictions]
    share = min(1.0, most / max(1, sum(map(len, features_of))))
    generator = np.random.default_rng(seed)
    maps = []
    for path, fold, features in zip(predictions, folds, features_of, strict=True):
        chosen = np.sort(generator.permutation(len(features))[: int(len(features) * share)])
        labels = read_recordings(path)["label"].iloc[chosen]
        if not shows_species(labels):
            continue
        perplexity = min(_PERPLEXITY, (len(chosen) - 1) / 3)
        projection = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed)
        places = projection.fit_transform(features[chosen].astype(np.float32))  # (recordings, 2)
        maps.append(FoldMap(fold, labels.tolist(), places.astype(np.float64)))
    return maps


def shows_species(labels: pd.Series) -> bool:
    """Returns whether enough species have several recordings, so that a map can show species together.

    Args:
        labels: Label of each recording of a fold.
    """
    return bool((labels.value_counts() >= FEWEST_RECORDINGS).sum() >= FEWEST_SPECIES)
