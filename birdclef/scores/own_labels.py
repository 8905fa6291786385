"""Scores the own labels of an embedding model beside the members, on the species that the labels cover."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from birdclef.metrics.classification import Resamples, accuracy, macro_f1
from birdclef.metrics.predictions import Predictions
from birdclef.metrics.secondary_species import of_rows
from birdclef.scores.prediction_files import read_out_of_fold, read_own_labels
from birdclef.scores.scorer import Scorer
from cache.workspace.provenance import read_provenance


def describe_own_labels(
    zero_shot: Path, recordings: pd.DataFrame, combined: Predictions, scorer: Scorer
) -> dict[str, Any]:
    """Returns the scores of the model's own labels and of the members, on the recordings of covered species.

    A species is covered if the model has an own label for it. The own labels choose among covered species only, the
    members among all species. `all_species` compares both on all scored recordings; there the own labels miss every
    recording of a species that they do not cover.

    Args:
        zero_shot: Directory of predictions by `predict_zero_shot`.
        recordings: recording_id of each scored recording.
        combined: Predictions of the ensemble for these recordings.
        scorer: Scorer of these recordings.
    """
    mapping = read_own_labels(zero_shot)
    covered = (mapping["own_label"] != "").to_numpy()
    own = read_out_of_fold([zero_shot]).of(recordings["recording_id"])
    inside = covered[scorer.labels]
    labels = scorer.labels[inside]
    resamples = Resamples(scorer.resamples.groups[inside], scorer.resamples.counts)
    described: dict[str, Any] = {
        "model": read_provenance(zero_shot)["config"]["zero_shot"],
        "species_covered": int(covered.sum()),
        "species": len(covered),
        "recordings": int(inside.sum()),
        "not_covered": mapping.loc[~covered, ["label", "scientific_name"]].to_dict(orient="records"),
    }
    if not inside.any():
        return described
    secondary = of_rows(scorer.ignored, inside)
    both = [Predictions(each[inside], None, secondary) for each in (own, np.asarray(combined.probabilities))]
    resampled = [macro_f1(each, labels, resamples, covered) for each in both]
    freedom = len(np.unique(resamples.groups)) - 1
    values = [float(macro_f1(each, labels, None, covered)[0]) for each in both]
    everywhere = scorer.predictions(np.where(covered, own, -1.0))  # so that no species without a label is ever chosen
    return {
        **described,
        "macro_f1": scorer.interval(values[0], resampled[0], freedom),
        "accuracy": float(accuracy(both[0], labels)[0]),
        "members_macro_f1": scorer.interval(values[1], resampled[1], freedom),
        "difference_macro_f1": scorer.difference(values[1] - values[0], resampled[1] - resampled[0], freedom),
        "all_species": {
            "macro_f1": scorer.macro_f1(everywhere),
            "difference_macro_f1": scorer.macro_f1_difference(combined, everywhere),
        },
    }
