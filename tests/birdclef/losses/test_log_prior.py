"""Shares that every class must have."""

import pytest
import torch

from birdclef.losses.log_prior import check_log_prior


def test_shares_of_all_classes_pass_through() -> None:
    log_prior = torch.tensor([0.5, 0.3, 0.2]).log()
    assert check_log_prior(log_prior) is log_prior


def test_classes_without_a_share_are_named() -> None:
    with pytest.raises(ValueError, match=r"classes \[0, 2\]"):
        check_log_prior(torch.tensor([0.0, 1.0, float("nan")]).log())
