"""Normalisation by hand."""

import torch

from birdclef.model.normalisation import normalise

CROPS = torch.tensor([[[[-50.0, -40.0, -70.0], [0.0, 10.0, 30.0]]]])


def test_band_median_is_tens_of_db_above_each_bands_median() -> None:
    assert normalise(CROPS, "band_median", -10.0, 3.0).tolist() == [[[[0.0, 1.0, -2.0], [-1.0, 0.0, 2.0]]]]


def test_other_normalisations_standardise_all_values_or_each_channel() -> None:
    assert normalise(CROPS, "dataset", -10.0, 20.0).tolist() == [[[[-2.0, -1.5, -3.0], [0.5, 1.0, 2.0]]]]
    mean, deviation = torch.tensor([[-50.0], [10.0]]), torch.tensor([[10.0], [20.0]])
    assert normalise(CROPS, "channel", mean, deviation).tolist() == [[[[0.0, 1.0, -2.0], [-0.5, 0.0, 1.0]]]]
