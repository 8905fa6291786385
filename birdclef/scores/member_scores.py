"""Scores each member and each of its views, and measures how alike members are."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdclef.config.evaluate import EnsembleMethod
from birdclef.config.train import TrainConfig
from birdclef.metrics.classification import macro_f1
from birdclef.metrics.predictions import Predictions
from birdclef.metrics.secondary_species import of_rows
from birdclef.scores.ensemble import combine_out_of_fold, fit_weights
from birdclef.scores.prediction_files import OutOfFold
from birdclef.scores.scorer import Scorer
from birdclef.training.flat_loss import loss_still_falls
from cache.workspace.provenance import read_provenance


def describe_ensemble(how: EnsembleMethod, members: Mapping[str, OutOfFold], scorer: Scorer) -> dict[str, Any]:
    """Returns the method, the members' weights for new recordings, macro-F1 of all methods, and how alike members are.

    Args:
        how: Method that the report uses.
        members: Out-of-fold predictions by name of the member.
        scorer: Scorer of the predicted recordings.
    """
    means = {name: member.mean for name, member in members.items()}
    weights = np.full(len(means), 1 / len(means))
    if how == "fitted":
        weights = fit_weights(list(means.values()), scorer.labels, scorer.ignored)
    methods = get_args(EnsembleMethod) if len(means) > 1 else (how,)
    return {
        "method": how,
        "weights": dict(zip(means, weights.tolist(), strict=True)),
        "methods": {method: scorer.macro_f1(_combine(list(means.values()), method, scorer)) for method in methods},
        "pairs": [
            {"first": first, "second": second, **_compare(means[first], means[second], scorer)}
            for first, second in combinations(means, 2)
        ],
    }


def score_each_member(
    members: Mapping[str, OutOfFold],
    runs: Mapping[str, Sequence[Path]],
    combined: Predictions,
    how: EnsembleMethod,
    scorer: Scorer,
    permutations: NDArray[np.int64],
) -> list[dict[str, Any]]:
    """Returns for each member its training, its scores, its views, and how much the ensemble gains from it.

    Args:
        members: Out-of-fold predictions by name of the member.
        runs: Run directories by name of the member.
        combined: Predictions of the ensemble of all members.
        how: Method that combined the members.
        scorer: Scorer of the predicted recordings.
        permutations: Shuffled recording indices for chance floors, (permutations, recordings).
    """
    entries = []
    for name, member in members.items():
        summaries = [json.loads((run / "summary.json").read_text()) for run in runs[name]]
        config = read_provenance(runs[name][0])["config"]
        others = [other.mean for key, other in members.items() if key != name]
        predictions = scorer.decide(member.mean)
        without = _combine(others, how, scorer) if others else None
        entries.append(
            {
                "name": name,
                "backbone": config["model"]["backbone"],
                "objective": config["objective"]["kind"],
                "weights": summaries[0]["weights"],
                "select": config["select"],
                "loss_falls": 2 * sum(map(_loss_falls, runs[name])) >= len(runs[name]),
                "parameters": summaries[0]["parameters"],
                "training_seconds": sum(summary["seconds"] for summary in summaries),
                "prediction_seconds": float(member.views["seconds"].sum()),
                "metrics": scorer.estimates(predictions, permutations),
                "macro_f1_per_fold": _score_each_fold(predictions, scorer),
                "views": _score_views(member, scorer),
                "gain_over_others_macro_f1": scorer.macro_f1_difference(combined, without) if without else None,
            }
        )
    return entries


def _loss_falls(run: Path) -> bool:
    """Returns whether the training loss of a run still fell at its end."""
    made = read_provenance(run)["config"]
    length = {name: made[name] for name in ("epochs", "max_epochs", "max_steps", "warmup_share") if name in made}
    log = pd.read_csv(run / "logs" / "metrics.csv")
    losses = log.loc[log["train_loss"].notna(), "train_loss"].tolist()
    steps_per_epoch = math.ceil((int(log["step"].max()) + 1) / len(losses))
    return loss_still_falls(losses, steps_per_epoch, TrainConfig.model_validate(length))


def _combine(members: Sequence[NDArray[np.floating]], how: EnsembleMethod, scorer: Scorer) -> Predictions:
    return scorer.predictions(combine_out_of_fold(members, how, scorer.labels, scorer.folds, scorer.ignored))


def _compare(first: NDArray[np.floating], second: NDArray[np.floating], scorer: Scorer) -> dict[str, float]:
    """Returns the share of recordings on which two members choose the same species, and how they correlate.

    The correlation is that of their probabilities of the true species.

    Args:
        first: Probabilities of one member, (recordings, classes).
        second: Probabilities of the other member, (recordings, classes).
        scorer: Scorer of the predicted recordings.
    """
    recordings = np.arange(len(scorer.labels))
    same = float((scorer.predictions(first).chosen == scorer.predictions(second).chosen).mean())
    at_truth = np.corrcoef(first[recordings, scorer.labels], second[recordings, scorer.labels])
    return {"same_species": same, "correlation": float(at_truth[0, 1])}


def _score_each_fold(predictions: Predictions, scorer: Scorer) -> dict[str, float]:
    scores = {}
    for fold in np.unique(scorer.folds).tolist():
        own = scorer.folds == fold
        of_fold = Predictions(predictions.probabilities[own], None, of_rows(scorer.ignored, own))
        scores[str(fold)] = float(macro_f1(of_fold, scorer.labels[own])[0])
    return scores


def _score_views(member: OutOfFold, scorer: Scorer) -> list[dict[str, Any]]:
    """Returns for each view macro-F1 alone, macro-F1 with all views before it, and what all views gain from it."""
    everything = range(len(member.views))
    together = scorer.predictions(member.mean)
    views = []
    for number, view in enumerate(member.views.to_dict(orient="records")):
        others = [other for other in everything if other != number]
        without = scorer.predictions(member.mean_of(others)) if others else None
        views.append(
            {
                **{str(key): value for key, value in view.items()},
                "macro_f1": scorer.macro_f1(scorer.predictions(member.probabilities[number])),
                "macro_f1_so_far": scorer.macro_f1(scorer.predictions(member.mean_of(everything[: number + 1]))),
                "gain_macro_f1": scorer.macro_f1_difference(together, without) if without else None,
            }
        )
    return views
