"""A warm-up leaves random numbers as they were, and happens once."""

import time

import torch

from birdclef.training.warm_up import warm_up


def test_warm_up_draws_no_random_numbers_of_the_training_and_happens_once() -> None:
    warm_up.cache_clear()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    warm_up("cpu")
    assert torch.equal(torch.rand(3), expected)
    started = time.perf_counter()
    warm_up("cpu")
    assert time.perf_counter() - started < 0.01
