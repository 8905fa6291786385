"""Draws the pictures of a report, and leaves out those that mean nothing at small counts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.calibration import BINS
from birdclef.metrics.classification import confusion_matrix
from birdclef.metrics.predictions import Predictions
from birdclef.report import plots
from birdclef.report.embedding_map import FEWEST_RECORDINGS, FEWEST_SPECIES, FoldMap, map_embeddings, shows_species
from birdclef.scores.report_scores import Scored
from cache.workspace.provenance import read_provenance

PICTURE_TITLES = {
    "f1_against_count": "F1 of each species against its number of recordings",
    "learning_curves": "Learning curves",
    "confusion": "Confusions, as shares of the true species",
    "reliability": "Accuracy against confidence",
    "embeddings": "Map of the embeddings",
}
_FEWEST_BINS, _FEWEST_IN_A_BIN = 3, 10
"""Fewest bins of the reliability plot that must hold so many recordings. The accuracy of ten is off by 0.16 or more."""
_WIDEST_ALIKE = 3.0
"""Species are too alike for a trend if the commonest has less than so many times the recordings of the rarest."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of a report.

    Attributes:
        drawn: PNG of each picture by its name.
        left_out: Reason for each picture that is left out, by its name.
    """

    drawn: dict[str, bytes]
    left_out: dict[str, str]


def draw_pictures(scored: Scored, config: EvaluateConfig, names: Mapping[str, str]) -> Pictures:
    """Returns the pictures of a report.

    Args:
        scored: Numbers of the report.
        config: Number of recordings on the maps, and their seed.
        names: Name of each species by its label.
    """
    labels = scored.species["label"].map(names)
    predictions = Predictions(scored.probabilities, None, scored.ignored)
    matrix = confusion_matrix(predictions, scored.recordings["label_index"].to_numpy())
    involved = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    per_species = pd.DataFrame(scored.report["per_species"])
    calibration = scored.report["calibration"]
    drawn = {
        "confusion": plots.plot_confusion(matrix[np.ix_(involved, involved)], labels[involved].tolist()),
        "learning_curves": plots.plot_learning_curves(scored.members),
    }
    left_out = {}
    if reason := why_no_trend(per_species):
        left_out["f1_against_count"] = reason
    else:
        drawn["f1_against_count"] = plots.plot_f1_against_count(per_species)
    if reason := why_no_reliability(calibration):
        left_out["reliability"] = reason
    else:
        drawn["reliability"] = plots.plot_reliability(calibration)
    if maps := _map_first_member(scored, config, names):
        drawn["embeddings"] = plots.plot_embeddings(maps)
    else:
        left_out["embeddings"] = why_no_map(scored.recordings, config.map_recordings)
    return Pictures(drawn, left_out)


def why_no_trend(per_species: pd.DataFrame) -> str | None:
    """Returns why F1 against the number of recordings means nothing; None if it means something.

    Args:
        per_species: recordings and scored of each species.
    """
    counts = per_species.loc[per_species["scored"] > 0, "recordings"]
    low, high = int(counts.min()), int(counts.max())
    if high >= _WIDEST_ALIKE * low:
        return None
    return f"the scored species have {low} to {high} recordings each, which is too alike for a trend"


def why_no_reliability(calibration: Mapping[str, Any]) -> str | None:
    """Returns why accuracy against confidence means nothing; None if it means something.

    Args:
        calibration: The entry `calibration` of `report.json`.
    """
    full = [
        one for one in (calibration["after"] or calibration["before"])["bins"] if one["recordings"] >= _FEWEST_IN_A_BIN
    ]
    if len(full) >= _FEWEST_BINS:
        return None
    return (
        f"of {BINS} ranges of confidence, only {len(full)} hold {_FEWEST_IN_A_BIN} recordings or more, and the "
        "accuracy of fewer is mostly chance"
    )


def why_no_map(recordings: pd.DataFrame, most: int) -> str:
    """Returns why no fold has a map of its embeddings.

    Args:
        recordings: fold and label of each scored recording.
        most: Most recordings on the maps together.
    """
    if not most:
        return "evaluate.map_recordings=0"
    too_few = f"no fold has {FEWEST_SPECIES} species with {FEWEST_RECORDINGS} recordings"
    if any(shows_species(labels) for _, labels in recordings.groupby("fold")["label"]):
        return f"among the evaluate.map_recordings={most} recordings that are drawn at random, {too_few}: raise it"
    return f"{too_few}, so no species can lie together"


def _map_first_member(scored: Scored, config: EvaluateConfig, names: Mapping[str, str]) -> list[FoldMap]:
    """Returns the maps of the first member's folds, with the species named."""
    first = next(iter(scored.predictions))
    folds = [int(read_provenance(run)["config"]["fold"]) for run in scored.members[first]]
    maps = map_embeddings(scored.predictions[first], folds, config.map_recordings, config.seed)
    return [replace(one, labels=[names[label] for label in one.labels]) for one in maps]
