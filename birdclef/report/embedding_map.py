"""Recordings on a plane, such that those which a model finds alike lie together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE

from birdclef.metrics.classification import Floats

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
    sizes = [len(np.load(path / "features.npy", mmap_mode="r")) for path in predictions]
    share = min(1.0, most / max(1, sum(sizes)))
    generator = np.random.default_rng(seed)
    maps = []
    for path, fold, size in zip(predictions, folds, sizes, strict=True):
        chosen = np.sort(generator.permutation(size)[: int(size * share)])
        if len(chosen) < _FEWEST:
            continue
        features = np.load(path / "features.npy")[chosen].astype(np.float32)
        labels = pd.read_csv(path / "recordings.csv", dtype=str, keep_default_na=False)["label"]
        perplexity = min(_PERPLEXITY, (len(chosen) - 1) / 3)
        projection = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed)
        maps.append(FoldMap(fold, labels.iloc[chosen].tolist(), projection.fit_transform(features).astype(np.float64)))
    return maps
