"""All headline metrics with intervals and chance floors, against scikit-learn called for each resample.

Run: python -m benchmarks scores METADATA [--samples N]

METADATA is a table in the BirdCLEF layout; its recordings get made-up predictions. scikit-learn is timed on some
resamples, macro-F1, macro ROC-AUC and padded average precision only, and its time for all of them is extrapolated.
"""

import ast
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from benchmarks.page import Page, format_table, publish
from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.headline import HEADLINE_METRICS
from birdclef.metrics.ranking import PADDING_ROWS
from birdclef.scores.scorer import Scorer, build_scorer, shuffle_recordings

SKLEARN_RESAMPLES = 3
FOLDS = 5
SKILL = 3.0


def main(
    context: typer.Context,
    metadata: Annotated[Path, typer.Argument(help="Table with primary_label and author.", exists=True, dir_okay=False)],
    samples: Annotated[int, typer.Option(help="Resamples of the recordists.")] = 1000,
    page: Page = None,
) -> None:
    """Print the time of each metric, and of scikit-learn for three of them."""
    config = EvaluateConfig(bootstrap_samples=samples)
    scorer, probabilities = make_predictions(pd.read_csv(metadata), config)
    started = time.perf_counter()
    predictions = scorer.decide(probabilities)
    decided = time.perf_counter()
    generator = np.random.default_rng(config.seed)
    scorer.estimates(predictions, shuffle_recordings(len(probabilities), config.permutations, generator))
    finished = time.perf_counter()
    recordings, species = probabilities.shape
    size = f"{recordings:,} recordings, {species} species, {samples:,} resamples, {config.permutations} permutations"
    per_resample = time_sklearn(scorer, probabilities)
    others = f"three of them by scikit-learn: {per_resample:.2f} s a resample, extrapolated to all"
    rows = [
        [f"temperatures and thresholds of {FOLDS} folds", f"{decided - started:.1f}"],
        [f"{len(HEADLINE_METRICS)} metrics with intervals and chance floors", f"{finished - decided:.1f}"],
        [others, f"{per_resample * samples:,.0f}"],
    ]
    publish(context, "scores", format_table([size, "seconds"], rows), page)


def make_predictions(table: pd.DataFrame, config: EvaluateConfig) -> tuple[Scorer, NDArray[np.float32]]:
    """Returns a scorer of the table's recordings, and probabilities that are often right, (recordings, classes)."""
    generator = np.random.default_rng(0)
    labels = pd.factorize(table["primary_label"])[0]
    logits = generator.normal(size=(len(labels), labels.max() + 1))
    logits[np.arange(len(labels)), labels] += SKILL
    odds = np.exp(logits)
    recordings = pd.DataFrame(
        {
            "label_index": labels,
            "group": table["author"].fillna(""),
            "fold": generator.integers(0, FOLDS, len(labels)),
            "secondary_labels": table["secondary_labels"].map(lambda text: " ".join(ast.literal_eval(text))),
        }
    )
    species = pd.factorize(table["primary_label"])[1].tolist()
    scorer = build_scorer(recordings, species, config, np.random.default_rng(config.seed))
    return scorer, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def time_sklearn(scorer: Scorer, probabilities: NDArray[np.float32]) -> float:
    """Returns seconds that scikit-learn takes for one resample."""
    padding = np.ones((PADDING_ROWS, probabilities.shape[1]))
    started = time.perf_counter()
    for resample in range(SKLEARN_RESAMPLES):
        counts = scorer.resamples.counts[scorer.resamples.groups, resample].astype(int)
        drawn = np.repeat(np.arange(len(counts)), counts)
        labels, scores = scorer.labels[drawn], probabilities[drawn]
        f1_score(labels, scores.argmax(axis=1), labels=np.unique(labels), average="macro", zero_division=0)
        present = np.eye(probabilities.shape[1], dtype=bool)[labels]
        supported = present.any(axis=0)
        roc_auc_score(present[:, supported], scores[:, supported], average="macro")
        average_precision_score(np.vstack([present, padding]), np.vstack([scores, padding]), average="macro")
    return (time.perf_counter() - started) / SKLEARN_RESAMPLES
