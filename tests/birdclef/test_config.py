"""Configuration sections are frozen, complete, and refuse what cannot work."""

import pytest
from pydantic import ValidationError

from birdclef.config.augment import AugmentConfig
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.model import ModelConfig
from birdclef.config.objective import ObjectiveConfig
from birdclef.config.predict import PredictConfig
from birdclef.config.train import TrainConfig
from cache.config.section import ConfigSection

SECTIONS = (ModelConfig, AugmentConfig, ObjectiveConfig, TrainConfig, PredictConfig, EvaluateConfig)
SUBSECTIONS = {"model", "augment", "objective"}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_section_cannot_be_changed(section: type[ConfigSection]) -> None:
    built = section()
    field = next(iter(section.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(built, field, getattr(built, field))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_unknown_key_is_refused(section: type[ConfigSection]) -> None:
    with pytest.raises(ValidationError, match="no_such_key"):
        section.model_validate({"no_such_key": 1})


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_field_has_a_line_of_documentation(section: type[ConfigSection]) -> None:
    plain = {name: field for name, field in section.model_fields.items() if name not in SUBSECTIONS}
    assert [name for name, field in plain.items() if not field.description] == []


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


def test_prediction_batch_size_is_no_part_of_the_identity() -> None:
    assert PredictConfig(batch_windows=1).identity() == PredictConfig(batch_windows=64).identity()
    assert PredictConfig(stride_seconds=1.0).identity() != PredictConfig(stride_seconds=2.0).identity()


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (ModelConfig, {"dropout": 1.1}),
        (ModelConfig, {"normalisation": "imagenet"}),
        (AugmentConfig, {"gain_probability": -0.1}),
        (AugmentConfig, {"gain_db": -1}),
        (AugmentConfig, {"stretch_rate": [0.0, 1.1]}),
        (AugmentConfig, {"background_snr_db": [3.0]}),
        (ObjectiveConfig, {"temperature": 0}),
        (ObjectiveConfig, {"kind": "triplet"}),
        (TrainConfig, {"ema_decay": 1.0}),
        (TrainConfig, {"views": 0}),
        (TrainConfig, {"folds": [-1]}),
        (PredictConfig, {"aggregation": "median"}),
        (EvaluateConfig, {"confidence": 1.0}),
    ],
    ids=str,
)
def test_value_outside_its_range_is_refused(section: type[ConfigSection], values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        section.model_validate(values)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_dumped_section_loads_to_itself(section: type[ConfigSection]) -> None:
    assert section.model_validate(section().model_dump(mode="json")) == section()


def test_each_view_has_a_weight() -> None:
    views = {"shift_seconds": (-1.0, 0.0, 1.0), "gain_db": (0.0, -3.0)}
    assert PredictConfig(**views, view_weights=(1, 2, 3, 4, 5, 6)).view_weights == (1, 2, 3, 4, 5, 6)
    with pytest.raises(ValueError, match="view_weights has 2 values for 6 views"):
        PredictConfig(**views, view_weights=(1, 2))
