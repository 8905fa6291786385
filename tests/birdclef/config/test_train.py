"""What goes together in a member, and what makes it another one."""

import pytest
from pydantic import ValidationError

from birdclef.config.augment import AugmentConfig, EmbeddingAugmentConfig
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


SHARED = [{}, {"noise_probability": 0.3}, {"mixup_alpha": 0.0}, {"background_probability": 0.1}]
"""Settings of augmentation that exist for log-mel and for embeddings."""


@pytest.mark.parametrize("augment", SHARED, ids=str)
@pytest.mark.parametrize("backbone", ["mean_pool", "attention_pool"])
def test_augmentation_of_a_pool_is_that_of_embeddings(backbone: str, augment: dict[str, float]) -> None:
    pool = {"model": {"backbone": backbone, "normalisation": "channel"}}
    config = TrainConfig.model_validate({**pool, "augment": augment})
    assert config.augment == EmbeddingAugmentConfig.model_validate(augment)
    stated = TrainConfig.model_validate({**pool, "augment": {"noise_share": 0.2, **augment}})  # 0.2 is the default
    assert config.identity() == stated.identity()
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("augment", SHARED, ids=str)
def test_augmentation_of_a_network_is_that_of_log_mel(augment: dict[str, float]) -> None:
    assert TrainConfig.model_validate({"augment": augment}).augment == AugmentConfig.model_validate(augment)


def test_member_without_augmentation_gets_that_of_its_backbone() -> None:
    assert TrainConfig().augment == AugmentConfig()
    assert TrainConfig.model_validate({"model": {"backbone": "mean_pool"}}).augment == EmbeddingAugmentConfig()


def test_only_a_wrong_model_is_told_before_the_kind_of_augmentation_is_known() -> None:
    wrong = {"model": {"backbone": "mean_pool", "dropout": 2}, "augment": {"noise_share": 0.1}}
    with pytest.raises(ValidationError) as refused:
        TrainConfig.model_validate(wrong)
    assert [error["loc"] for error in refused.value.errors()] == [("model", "dropout")]
