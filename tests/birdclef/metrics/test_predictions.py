"""What is derived from probabilities, counted by plain loops."""

import numpy as np

from birdclef.metrics.predictions import Predictions

PROBABILITIES = np.array([[0.5, 0.5, 0.0], [0.2, 0.5, 1.0], [0.5, 0.1, 1.0], [0.9, 0.5, 1.0]])


def test_first_of_equally_probable_species_is_chosen() -> None:
    assert Predictions(PROBABILITIES).chosen.tolist() == [0, 2, 2, 2]


def test_ranks_and_equals_are_those_of_a_loop_over_recordings() -> None:
    found = Predictions(PROBABILITIES)
    for row in range(4):
        for species in range(3):
            value, column = PROBABILITIES[row, species], PROBABILITIES[:, species]
            assert found.last_rank[row, species] == sum(other >= value for other in column)
            assert found.equals[row, species] == sum(other == value for other in column)


def test_recordings_of_probability_1_are_counted_for_each_species() -> None:
    assert Predictions(PROBABILITIES).certain.tolist() == [0, 0, 3]
