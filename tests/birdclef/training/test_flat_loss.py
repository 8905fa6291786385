"""The length of a training on losses whose course is known, and the rates against hand-computed values."""

import math

import pytest

from birdclef.config.train import TrainConfig
from birdclef.training.flat_loss import Budget, loss_still_falls
from birdclef.training.schedule import rate_factor

STEPS_PER_EPOCH = 50  # two epochs are one window of 100 steps


def budget(**settings: object) -> Budget:
    return Budget(TrainConfig.model_validate({"epochs": "auto", "max_epochs": 80, **settings}), STEPS_PER_EPOCH)


def run(given: Budget, losses: list[float]) -> int | None:
    """Returns the epoch, from 1, at whose end the number of epochs was decided."""
    return next((epoch for epoch, loss in enumerate(losses, 1) if given.end_epoch(loss)), None)


def test_training_goes_on_while_the_loss_falls_and_ends_a_third_later_than_it_is_flat() -> None:
    falling = [3.0 * 0.95**epoch for epoch in range(20)]  # about 10 % in each window
    given = budget()
    assert run(given, [*falling, *[falling[-1]] * 20]) == 23  # epochs 22 and 23 are as high as 20 and 21
    assert given.epochs == 23 + 8
    assert given.reason == "the loss is flat"


def test_a_loss_that_has_not_begun_to_fall_does_not_end_the_training() -> None:
    plateau = [3.4 * (1 - 0.001 * epoch) for epoch in range(30)]
    falling = [plateau[-1] * 0.9**epoch for epoch in range(15)]
    given = budget()
    assert run(given, [*plateau, *falling, *[falling[-1]] * 10]) == 30 + 15 + 3


def test_training_ends_with_the_largest_number_of_epochs() -> None:
    given = budget()
    assert run(given, [3.0] * 200) == 60
    assert given.epochs == 80
    assert given.reason == "max_epochs=80 is near, and the loss is not flat yet"


def test_short_epochs_go_on_to_the_largest_number_of_steps() -> None:
    given = budget(max_epochs=3, max_steps=1010)  # 20 epochs of 50 steps are not enough
    assert run(given, [3.0] * 200) == 15
    assert given.epochs == 21
    assert given.reason == "max_steps=1010 is near, and the loss is not flat yet"
    assert budget(max_epochs=30, max_steps=1010).epochs == 30


@pytest.mark.parametrize("most", [1, 2, 5, 9, 13])
def test_no_epoch_is_lost_where_the_largest_number_is_no_multiple_of_four(most: int) -> None:
    given = budget(max_epochs=most)
    assert run(given, [3.0] * most) is not None
    assert given.epochs == most


def test_a_loss_that_is_flat_during_the_warm_up_does_not_end_the_training() -> None:
    given = budget(warmup_share=0.1)  # 8 epochs
    losses = [4.0, 4.0, *[3.0] * 18]
    assert run(given, losses) == 8
    assert given.rate_factor(8 * STEPS_PER_EPOCH - 1) == 1.0


def test_a_flat_loss_may_still_vary() -> None:
    noisy = [1.0 + 0.3 * math.sin(epoch) for epoch in range(60)]
    given = budget(max_epochs=400)
    decided = run(given, [3.0 * 0.95**epoch + 1.0 for epoch in range(40)] + noisy)
    assert decided is not None
    assert decided < 60


def test_rate_stays_at_its_peak_until_the_loss_is_flat_and_then_falls() -> None:
    given = budget(warmup_share=0.1)
    steps = 80 * STEPS_PER_EPOCH
    assert [given.rate_factor(step) for step in (0, steps // 10 - 1, steps // 2)] == [10 / steps, 1.0, 1.0]
    flat = run(given, [*[3.0 * 0.9**epoch for epoch in range(16)], *[0.6] * 20])
    assert flat == 19  # epochs 18 and 19 lie 1.5 % below 16 and 17
    assert given.epochs == 19 + 7
    assert [given.rate_factor(int(epoch * STEPS_PER_EPOCH)) for epoch in (19, 22.5, 26)] == pytest.approx(
        [1.0, 0.505, 0.01]
    )


def test_a_resumed_training_has_the_same_length() -> None:
    losses = [3.0 * 0.9**epoch for epoch in range(16)] + [0.6] * 20
    given = budget()
    assert run(given, losses[:10]) is None
    resumed = budget()
    resumed.load_state_dict(given.state_dict())
    assert run(resumed, losses[10:]) == 9
    assert resumed.epochs == 19 + 7


def test_a_number_of_epochs_is_final() -> None:
    given = budget(epochs=12)
    assert run(given, [1.0] * 20) is None
    assert given.decided
    assert given.epochs == 12
    steps = 12 * STEPS_PER_EPOCH
    assert [given.rate_factor(step) for step in range(0, steps, 7)] == [
        rate_factor(step, steps, 0.05) for step in range(0, steps, 7)
    ]


@pytest.mark.parametrize(
    ("objective", "named"),
    [
        ({"kind": "supcon"}, "objective.kind=supcon"),
        ({"contrastive_schedule": "falling"}, "contrastive_schedule=falling"),
    ],
)
def test_what_needs_a_length_in_advance_is_refused(objective: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=rf"{named} needs a number of epochs.*Set epochs=100"):
        TrainConfig.model_validate({"epochs": "auto", "objective": objective})


FLAT_FROM_10 = [1.4, 0.7, 0.6, 0.5, 0.45, 0.42, 0.41, 0.40, 0.395, 0.39] + [0.37] * 20
"""Thirty epochs of five steps, as a head on embeddings learns."""


@pytest.mark.parametrize(
    ("losses", "settings", "falls"),
    [
        (FLAT_FROM_10, {"epochs": 30}, False),
        ([2.0 - 0.05 * epoch for epoch in range(30)], {"epochs": 30}, True),
        ([3.4 - 0.001 * epoch for epoch in range(30)], {"epochs": 30}, True),  # it has not begun to fall
        ([4.1, 3.7, 3.3, 2.8, 2.8, 2.8, 2.8, 2.8], {"epochs": "auto", "max_epochs": 8}, True),  # 40 steps tell nothing
        ([3.0 * 0.8 ** min(epoch, 9) for epoch in range(60)], {"epochs": "auto", "max_epochs": 300}, False),
        ([3.0, 1.0], {"epochs": 2}, True),
        ([3.45, 3.2, 3.0, 2.9, 2.85, 2.81], {"epochs": 6}, True),  # the rate has fallen, so its last epochs look flat
    ],
)
def test_loss_that_is_flat_at_the_end_does_not_fall(
    losses: list[float], settings: dict[str, object], falls: bool
) -> None:
    assert loss_still_falls(losses, 5, TrainConfig.model_validate(settings)) == falls


def test_epochs_of_the_classifier_say_nothing_of_the_encoder() -> None:
    config = TrainConfig.model_validate({"epochs": 30, "objective": {"kind": "supcon"}})
    assert not loss_still_falls([*FLAT_FROM_10, *(5.0 - 0.1 * epoch for epoch in range(30))], 5, config)
