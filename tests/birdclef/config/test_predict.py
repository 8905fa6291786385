"""Views and their weights, and what makes predictions other ones."""

import pytest

from birdclef.config.predict import PredictConfig


def test_prediction_batch_size_is_no_part_of_the_identity() -> None:
    assert PredictConfig(batch_windows=1).identity() == PredictConfig(batch_windows=64).identity()
    assert PredictConfig(stride_seconds=1.0).identity() != PredictConfig(stride_seconds=2.0).identity()


def test_each_view_has_a_weight() -> None:
    views = {"shift_seconds": (-1.0, 0.0, 1.0), "gain_db": (0.0, -3.0)}
    assert PredictConfig(**views, view_weights=(1, 2, 3, 4, 5, 6)).view_weights == (1, 2, 3, 4, 5, 6)
    with pytest.raises(ValueError, match="view_weights has 2 values for 6 views"):
        PredictConfig(**views, view_weights=(1, 2))
