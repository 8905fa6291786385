"""Recordings on a plane, such that those which a model finds alike lie together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.manifold import TSNE

from birdclef.metrics.classification import Floats
from birdclef.scores.prediction_files import open_features, read_recordings

_PERPLEXITY = 30.0
_FEWEST = 5
"""Fewer recordings of a fold make no map."""


@dataclass(frozen=True)
class FoldMap:
    """Validation recordings of one fold, as the fold's own model sees them.

    Attributes:
        fold: Number of the fold.
        labels: Species of each recording.
        places: (recordings, 2).
    """

    fold: int
    labels: list[str]
    places: Floats


def map_embeddings(predictions: Sequence[Path], folds: Sequence[int], most: int, seed: int) -> list[FoldMap]:
    """Returns a map of each fold by t-SNE (van der Maaten and Hinton 2008) of its pooled backbone features.

    Each fold has a model of its own, so distances between folds mean nothing.

    Args:
        predictions: Prediction directories of one member.
        folds: Fold of each.
        most: Recordings over all folds; more are thinned out at random.
        seed: Of thinning and of t-SNE.
    """
    features_of = [open_features(path) for path in predictions]
    share = min(1.0, most / max(1, sum(map(len, features_of))))
    generator = np.random.default_rng(seed)
    maps = []
    for path, fold, features in zip(predictions, folds, features_of, strict=True):
        chosen = np.sort(generator.permutation(len(features))[: int(len(features) * share)])
        if len(chosen) < _FEWEST:
            continue
        labels = read_recordings(path)["label"].iloc[chosen].tolist()
        perplexity = min(_PERPLEXITY, (len(chosen) - 1) / 3)
        projection = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed)
        places = projection.fit_transform(features[chosen].astype(np.float32))  # (recordings, 2)
        maps.append(FoldMap(fold, labels, places.astype(np.float64)))
    return maps
