"""Made-up data sets for which the coverage of intervals is measured: species, recordists and two models."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from birdclef.metrics.predictions import Labels, Predictions

_SECOND_MODEL_BEHIND = 0.3
_SHARED_NOISE = 0.8
"""Share of the noise that both models have in common; the variance of the noise is 1."""


@dataclass(frozen=True)
class Design:
    """How data sets of one kind are drawn.

    Attributes:
        species: Number of species.
        recordists: Recordists of a data set.
        recordings: Mean number of recordings of a recordist; it is geometric, and at least 1.
        tail: Exponent of Zipf's law for the species; 0: all are equally frequent.
        repertoire: Species that a recordist records.
        skill: Mean logit of the true species over the others, whose deviation is 1.
        spread: Deviation of the skill between recordists.
    """

    species: int
    recordists: int
    recordings: float
    tail: float
    repertoire: int
    skill: float
    spread: float


DESIGNS = {
    "even species": Design(20, 60, 5, 0, 5, 2, 0.7),
    "long tail": Design(27, 100, 3.3, 1, 3, 2.5, 0.7),
    "long tail, strong model": Design(27, 100, 3.3, 1, 3, 5, 1),
    "15 recordists": Design(20, 15, 20, 0.7, 8, 2.5, 0.7),
    "a recordist for each recording": Design(24, 240, 1, 0.5, 1, 2.5, 0),
    "one to three recordings a species": Design(75, 52, 2.6, 0.3, 3, 3, 0.7),
    "large, long tail": Design(100, 600, 5, 1, 6, 3, 0.7),
}


@dataclass(frozen=True)
class DataSet:
    """Labels and groups of recordings, (recordings,) each, and the predictions of two models."""

    labels: Labels
    groups: Labels
    first: Predictions
    second: Predictions


class Population:
    """Species of a design: how frequent and how hard they are, and which one each is taken for.

    Args:
        design: How data sets are drawn.
        generator: Source of randomness.
    """

    def __init__(self, design: Design, generator: np.random.Generator) -> None:
        self.design = design
        frequency = np.arange(1.0, design.species + 1) ** -design.tail
        self.frequency = frequency / frequency.sum()
        self.ease = generator.normal(0, 0.7, design.species)
        self.rival = generator.permutation(design.species)

    def draw(self, generator: np.random.Generator) -> DataSet:
        """Returns a data set of new recordists."""
        design = self.design
        counts = generator.geometric(1 / design.recordings, design.recordists)
        groups = np.repeat(np.arange(design.recordists), counts)
        repertoires = generator.choice(design.species, (design.recordists, design.repertoire), p=self.frequency)
        labels = repertoires[groups, generator.integers(0, design.repertoire, len(groups))]
        skill = design.skill + self.ease[labels] + generator.normal(0, design.spread, design.recordists)[groups]
        shared = generator.normal(size=(len(labels), design.species))
        models = [self._predict(labels, skill - behind, shared, generator) for behind in (0.0, _SECOND_MODEL_BEHIND)]
        return DataSet(labels, groups, *models)

    def _predict(
        self, labels: Labels, skill: NDArray[np.float64], shared: NDArray[np.float64], generator: np.random.Generator
    ) -> Predictions:
        own = np.sqrt(1 - _SHARED_NOISE**2) * generator.normal(size=shared.shape)
        logits = _SHARED_NOISE * shared + own
        recordings = np.arange(len(labels))
        logits[recordings, self.rival[labels]] += 1
        logits[recordings, labels] += skill
        return Predictions(logits)
