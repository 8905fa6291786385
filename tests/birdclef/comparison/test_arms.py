"""Budgets counted by hand."""

from birdclef.comparison.arms import REFERENCE, plan_trials, spend
from birdclef.config.objective import ObjectiveConfig
from birdclef.config.train import TrainConfig

CE = TrainConfig(epochs=12, views=2, seed=5, objective=ObjectiveConfig(kind="ce"))
SUPCON = TrainConfig(epochs=20, views=2, objective=ObjectiveConfig(kind="supcon", classifier_epochs=10))


def test_each_arm_is_trained_at_each_budget_with_each_seed() -> None:
    trials = plan_trials({REFERENCE: CE, "other": CE}, [6, 3, 6], 2, {})
    assert [(trial.arm, trial.epochs, trial.seed) for trial in trials] == [
        ("ce", 3, 5),
        ("ce", 3, 6),
        ("other", 3, 5),
        ("other", 3, 6),
        ("ce", 6, 5),
        ("ce", 6, 6),
        ("other", 6, 5),
        ("other", 6, 6),
    ]
    assert [(trial.config.epochs, trial.config.seed) for trial in trials[:2]] == [(3, 5), (3, 6)]


def test_without_budgets_half_and_all_of_the_epochs_are_spent() -> None:
    assert [trial.epochs for trial in plan_trials({REFERENCE: CE}, (), 1, {})] == [6, 12]
    one = CE.model_copy(update={"epochs": 1})
    assert [trial.epochs for trial in plan_trials({REFERENCE: one}, (), 1, {})] == [1]


def test_the_classifier_of_supcon_gets_its_share_of_the_budget() -> None:
    spent = spend(SUPCON, epochs=9, views=2)
    assert (spent.epochs, spent.objective.classifier_epochs) == (6, 3)
    least = spend(SUPCON, epochs=1, views=2)
    assert (least.epochs, least.objective.classifier_epochs) == (1, 1)


def test_more_views_of_a_recording_are_paid_with_epochs() -> None:
    assert spend(CE.model_copy(update={"views": 4}), epochs=12, views=2).epochs == 6
    assert spend(CE.model_copy(update={"views": 1}), epochs=12, views=2).epochs == 24
    assert spend(CE, epochs=12, views=2) == CE


def test_companions_are_trained_as_they_are_configured_at_every_budget() -> None:
    other = CE.model_copy(update={"epochs": 7, "views": 3, "seed": 40})
    trials = plan_trials({REFERENCE: CE}, [3, 6], 2, {"other": other})
    companions = [trial for trial in trials if trial.arm == "other"]
    assert [(trial.epochs, trial.seed) for trial in companions] == [(3, 5), (3, 6), (6, 5), (6, 6)]
    assert {(trial.config.epochs, trial.config.views) for trial in companions} == {(7, 3)}
    assert [trial.config.seed for trial in companions] == [5, 6, 5, 6]
