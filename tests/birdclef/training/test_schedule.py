"""The learning rate against hand-computed values."""

import pytest

from birdclef.training.schedule import rate_factor


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.1),  # first of ten warm-up steps
        (4, 0.5),
        (9, 1.0),  # last of them
        (10, 1.0),  # cosine of 0
        (25, 0.01 + 0.99 * (1 + 0.5**0.5) / 2),  # a quarter of the 60 steps that remain: cos 45° is half of √2
        (40, 0.505),  # half-way: cos 90° is 0
        (60, 0.01 + 0.99 * 0.066987298),  # five sixths: cos 150° is minus half of √3
        (70, 0.01),
        (1000, 0.01),  # stays there
    ],
)
def test_rate_by_hand(step: int, expected: float) -> None:
    assert rate_factor(step, 70, 1 / 7) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("steps", [10, 73, 1000])
@pytest.mark.parametrize("warmup_share", [0.0, 0.05, 0.3])
def test_rate_rises_and_then_falls(steps: int, warmup_share: float) -> None:
    rates = [rate_factor(step, steps, warmup_share) for step in range(steps + 1)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(1.0)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)
    assert min(rates) > 0


@pytest.mark.parametrize("steps", [1, 2])
def test_shortest_training_starts_at_the_peak(steps: int) -> None:
    assert rate_factor(0, steps, 0.05) == 1.0


def test_whole_training_can_be_warm_up() -> None:
    assert [rate_factor(step, 4, 1.0) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
