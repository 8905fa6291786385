"""What goes together in a member, and what makes it another one."""

import pytest
from pydantic import ValidationError

from birdclef.config.train import TrainConfig


@pytest.mark.parametrize("kind", ["supcon", "joint"])
def test_mixup_needs_an_objective_with_soft_labels(kind: str) -> None:
    with pytest.raises(ValidationError, match=r"mixup_alpha=0\.4 needs soft labels.*contrast='supcon' cannot carry"):
        TrainConfig.model_validate({"augment": {"mixup_alpha": 0.4}, "objective": {"kind": kind}})


@pytest.mark.parametrize("objective", [{"kind": "ce"}, {"kind": "joint", "contrast": "soft"}])
def test_mixup_goes_with_soft_labels(objective: dict[str, str]) -> None:
    config = TrainConfig.model_validate({"augment": {"mixup_alpha": 0.4}, "objective": objective})
    assert config.augment.mixup_alpha == 0.4


@pytest.mark.parametrize("kind", ["ce", "supcon", "joint"])
def test_every_objective_goes_without_mixup(kind: str) -> None:
    config = TrainConfig.model_validate({"augment": {"mixup_alpha": 0}, "objective": {"kind": kind}})
    assert config.objective.kind == kind


def test_place_of_computation_is_no_part_of_a_members_identity() -> None:
    here = TrainConfig(folds=(0,), residency="host", accelerator="cpu")
    there = TrainConfig(folds=None, residency="device", accelerator="gpu")
    assert here.identity() == there.identity()
    assert not {"folds", "residency", "accelerator"} & set(here.identity())


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"epochs": 31}, {"precision": "32"}, {"model": {"dropout": 0.5}}, {"augment": {"gain_db": 1}}],
    ids=str,
)
def test_whatever_changes_the_weights_is_part_of_the_identity(change: dict[str, object]) -> None:
    assert TrainConfig.model_validate(change).identity() != TrainConfig().identity()
