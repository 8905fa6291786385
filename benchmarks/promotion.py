"""How often the rule of promotion accepts a candidate, by its true difference and by the number of recordings.

Run: python -m benchmarks promotion [--candidates N] [--margin M]

Species are equally frequent, a recordist has five recordings, and the errors of champion and candidate are independent.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from threadpoolctl import threadpool_limits

from benchmarks.page import Page, format_table, publish
from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.bootstrap import resample_groups
from birdclef.metrics.predictions import Labels, Predictions
from birdclef.scores.scorer import Scorer

SPECIES = 20
RECORDINGS_PER_RECORDIST = 5
CHAMPION = 0.8
"""Share of the recordings that the champion has right; macro-F1 is the same where species are alike."""
DIFFERENCES = (0.0, -0.02, -0.03)
"""True differences of the candidates to the champion."""
SIZES = (300, 3000, 15000)


@dataclass(frozen=True)
class Accepted:
    """What became of the candidates of one kind.

    Attributes:
        share: Share that was promoted.
        width: Mean width of the interval of the difference.
    """

    share: float
    width: float


def main(
    context: typer.Context,
    candidates: Annotated[int, typer.Option(help="Candidates of each kind.", min=10)] = 200,
    margin: Annotated[float, typer.Option(help="Margin of the rule.", min=0)] = 0.02,
    page: Page = None,
) -> None:
    """Print the share of candidates that are promoted."""
    with threadpool_limits(1):  # matrices are small
        found = {size: [judge(size, difference, candidates, margin) for difference in DIFFERENCES] for size in SIZES}
    rows = [
        [f"{difference:g}", *(f"{100 * found[size][index].share:.0f} %" for size in SIZES)]
        for index, difference in enumerate(DIFFERENCES)
    ]
    rows.append(["mean width of the interval", *(f"{found[size][0].width:.3f}" for size in SIZES)])
    header = ["true difference", *(f"{size:,} recordings" for size in SIZES)]
    publish(context, "promotion", format_table(header, rows), page)


def judge(recordings: int, difference: float, candidates: int, margin: float) -> Accepted:
    """Returns how many candidates with a true difference are promoted."""
    generator = np.random.default_rng(0)
    config = EvaluateConfig()
    labels = np.arange(recordings) % SPECIES
    groups = generator.permutation(np.arange(recordings) // RECORDINGS_PER_RECORDIST)
    resamples = resample_groups(groups, config.bootstrap_samples, generator)
    scorer = Scorer(labels, np.zeros_like(labels), resamples, config.confidence)
    promoted, widths = 0, []
    for _ in range(candidates):
        pair = [predict(labels, CHAMPION + change, generator) for change in (difference, 0.0)]
        found = scorer.macro_f1_difference(pair[0], pair[1])
        promoted += found["low"] >= -margin
        widths.append(found["high"] - found["low"])
    return Accepted(promoted / candidates, float(np.mean(widths)))


def predict(labels: Labels, share: float, generator: np.random.Generator) -> Predictions:
    """Returns predictions of which a share is right and the others are any other species."""
    wrong = (labels + generator.integers(1, SPECIES, len(labels))) % SPECIES
    chosen = np.where(generator.random(len(labels)) < share, labels, wrong)
    return Predictions(np.eye(SPECIES)[chosen])
